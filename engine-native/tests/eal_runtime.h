/* SPDX-License-Identifier: BSD-3-Clause
 * EAL makes a directory for its runtime files and leaves it; what is not the engine removes it with this. */
#ifndef ZSTACK_TEST_EAL_RUNTIME_H
#define ZSTACK_TEST_EAL_RUNTIME_H

#include <dirent.h>
#include <rte_eal.h>
#include <stdio.h>
#include <unistd.h>

/* Once EAL is initialised. It needs the files no more. */
static inline void eal_runtime_remove(void)
{
    char path[1024];
    const char *at = rte_eal_get_runtime_dir();
    DIR *dir = opendir(at);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", at, e->d_name);
        unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(at);
}

/* For atexit(). */
static inline void eal_runtime_end(void)
{
    rte_eal_cleanup();
    eal_runtime_remove();
}

#endif
