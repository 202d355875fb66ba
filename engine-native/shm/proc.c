/* SPDX-License-Identifier: BSD-3-Clause
 * See proc.h. */
#define _GNU_SOURCE
#include "proc.h"
#include "sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

long zs_proc_read(int32_t pid, const char *name, off_t at, char *text, size_t size)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = (int)zs_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? -1 : zs_sys(SYS_pread64, fd, text, size - 1, at);
    if (fd >= 0)
        zs_sys(SYS_close, fd);
    text[n > 0 ? n : 0] = 0;
    return n;
}

uint64_t zs_start_time(int32_t pid)
{
    char text[1024];
    if (zs_proc_read(pid, "stat", 0, text, sizeof text) <= 0)
        return 0;
    /* The name, field 2, may hold anything: count from the last parenthesis. Start time is field 22. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}
