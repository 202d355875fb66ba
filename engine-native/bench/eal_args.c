/* SPDX-License-Identifier: BSD-3-Clause
 * Preloaded into F-Stack's own programs by `zstack-run bench --fstack-adapter`: arguments for EAL from ZSTACK_BENCH_EAL, separated by
 * spaces, behind those that the program gives. F-Stack's configuration cannot name a device on an interface, and its adapter
 * probes PCI. For programs with DPDK as shared libraries. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 64

int rte_eal_init(int argc, char **argv);

int rte_eal_init(int argc, char **argv)
{
    static char *all[ARGS_MAX + 1]; /* DPDK keeps pointers to them */
    int (*next)(int, char **), n = 0;
    const char *text = getenv("ZSTACK_BENCH_EAL");
    char *copy = text == NULL ? NULL : strdup(text), *rest = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "rte_eal_init");
    if (next == NULL)
        return -1;
    for (; n < argc && n < ARGS_MAX; n++)
        all[n] = argv[n];
    for (char *t = copy == NULL ? NULL : strtok_r(copy, " ", &rest); t != NULL && n < ARGS_MAX; t = strtok_r(NULL, " ", &rest))
        all[n++] = t;
    return next(n, all);
}
