/* SPDX-License-Identifier: BSD-3-Clause
 * Calls a function of the C library for a case in TypeScript, and keeps its errno: between two calls of ffi-napi the JavaScript engine
 * makes system calls of its own, which set it, too. */
#include <dlfcn.h>
#include <errno.h>

/* A function of the global symbol scope, where a preloaded library comes before libc; 0: there is none. */
void *conformance_symbol(const char *name);
void *conformance_symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* What f gives for up to six integer arguments; *error is its errno. */
long conformance_call(long (*f)(long, ...), int *error, long a, long b, long c, long d, long e, long g);
long conformance_call(long (*f)(long, ...), int *error, long a, long b, long c, long d, long e, long g)
{
    errno = 0;
    long r = f(a, b, c, d, e, g);
    *error = errno;
    return r;
}
