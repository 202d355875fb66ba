/* SPDX-License-Identifier: BSD-3-Clause
 * What packetdrill opens. It does so with RTLD_DEEPBIND, which gives EAL's `optarg` and `optind` the C library's places while getopt()
 * uses the copies in the program, so that EAL would read no options. Hence the stack is an object of its own beside this one, opened
 * without. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interface.h"

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *table)
{
    Dl_info self;
    char path[PATH_MAX] = "";
    void (*init)(const char *, struct packetdrill_interface *) = NULL;
    if (dladdr(&packetdrill_interface_init, &self) != 0 && self.dli_fname != NULL)
        snprintf(path, sizeof path, "%.*szstack_packetdrill_stack.so", (int)(strrchr(self.dli_fname, '/') == NULL ? 0
                 : strrchr(self.dli_fname, '/') + 1 - self.dli_fname), self.dli_fname);
    void *stack = dlopen(path, RTLD_NOW);
    if (stack != NULL)
        *(void **)&init = dlsym(stack, "packetdrill_interface_init");
    if (init == NULL) {
        fprintf(stderr, "zstack_packetdrill: %s\n", dlerror());
        exit(1);
    }
    init(flags, table);
}
