/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's abstract UNIX names. They belong to the network namespace and vanish with the process. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket that listens on \0zstack-<uid>-<name><suffix>, or a negative errno value. `padded`: filled up with NULs to the
 * size of sun_path, which is the name that Node 20 connects to, whatever its length (libuv before 1.48). */
int name_listen(struct engine *e, const char *suffix, int type, bool padded)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, ZS_CTL_NAME_PREFIX "%u-%s%s", e->uid, e->name,
                     suffix);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t len = padded ? (socklen_t)sizeof addr : (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    if (bind(fd, (struct sockaddr *)&addr, len) != 0 || listen(fd, 1024) != 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}
