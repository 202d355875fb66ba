/* SPDX-License-Identifier: BSD-3-Clause
 * The exported names, generated from calls.def, the real functions, and syscall(2). The hooks themselves are ordinary
 * functions (zsp_*) that tests can link without LD_PRELOAD. */
#include "preload.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define EXPORT __attribute__((visibility("default")))

struct zs_real zs_real;

void zs_real_resolve(void)
{
    /* A symbol that this C library lacks stays NULL and is never called: its hook is not reachable either. */
#define CALL(ret, name, params, args) zs_real.name = (ret(*) params)dlsym(RTLD_NEXT, #name);
#define VCALL(ret, name, params) zs_real.name = (ret(*) params)dlsym(RTLD_NEXT, #name);
#include "calls.def"
}

void *zsp_checked(void *buf, size_t n, size_t len)
{
    if (n > len) {
        static const char text[] = "*** buffer overflow detected ***: terminated\n";
        zs_sys(SYS_write, 2, text, sizeof text - 1);
        abort();
    }
    return buf;
}

#define CALL(ret, name, params, args) \
    EXPORT ret name params            \
    {                                 \
        return zsp_##name args;       \
    }
#define HOOK CALL
#include "calls.def"

#define ALIAS(ret, alias, params, call) \
    EXPORT ret alias params;            \
    EXPORT ret alias params             \
    {                                   \
        return zsp_##call;              \
    }
#include "calls.def"

/* ---- Variable arguments: as the C library, each takes the one argument that any request has ---- */

EXPORT int fcntl(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    return zsp_fcntl_arg(fd, cmd, arg);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    return zsp_fcntl_arg(fd, cmd, arg);
}

EXPORT int __fcntl(int fd, int cmd, ...);
EXPORT int __fcntl(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    return zsp_fcntl_arg(fd, cmd, arg);
}

EXPORT int ioctl(int fd, unsigned long req, ...)
{
    va_list ap;
    va_start(ap, req);
    long arg = va_arg(ap, long);
    va_end(ap);
    return zsp_ioctl_arg(fd, req, arg);
}

EXPORT int prctl(int op, ...)
{
    va_list ap;
    long a[4];
    va_start(ap, op);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    return zsp_prctl_args(op, a);
}

EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    va_list ap;
    void *more[3]; /* ptid, tls, ctid, of which the C library takes those that flags ask for */
    va_start(ap, arg);
    for (int i = 0; i < 3; i++)
        more[i] = va_arg(ap, void *);
    va_end(ap);
    return zsp_clone(fn, stack, flags, arg, more[0], more[1], more[2]);
}

EXPORT int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...) __attribute__((alias("clone"), copy(clone)));

EXPORT void closefrom(int first)
{
    zsp_closefrom(first);
}

/* ---- dprintf: the C library writes through a name of its own ---- */

EXPORT int vdprintf(int fd, const char *format, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    for (int done = 0; n >= 0 && done < n;) {
        ssize_t r = zsp_write(fd, text + done, (size_t)(n - done));
        if (r < 0)
            n = -1;
        done += (int)r;
    }
    free(text);
    return n;
}

EXPORT int dprintf(int fd, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vdprintf(fd, format, ap);
    va_end(ap);
    return n;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list args);
EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
    (void)flag;
    return vdprintf(fd, format, args);
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...);
EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    va_list ap;
    (void)flag;
    va_start(ap, format);
    int n = vdprintf(fd, format, ap);
    va_end(ap);
    return n;
}

/* ---- syscall(2) ---- */

/* A call of the library that gives a negative errno, as syscall(2) gives it. */
static long result(long r)
{
    if (r >= 0)
        return r;
    errno = (int)-r;
    return -1;
}

/* pselect6(2) has where the mask is, and its size, in memory. */
static int zsp_pselect6(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *const *at)
{
    signals_guard();
    if (at == NULL || user_readable(at, 2 * sizeof *at))
        return zsp_pselect(n, r, w, e, t, at == NULL ? NULL : *at);
    errno = EFAULT;
    return -1;
}

long zsp_syscall_args(long n, const long a[6])
{
    switch (n) {
#define SYSC(number, call) \
    case number:           \
        return zsp_##call;
#include "calls.def"
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
        return zsp_clone_syscall(n, a);
    case SYS_io_uring_setup:
        return result(zsp_io_uring_setup((unsigned)a[0], (void *)a[1]));
    case SYS_io_uring_register:
        return result(zsp_io_uring_register((unsigned)a[0], (unsigned)a[1], (void *)a[2], (unsigned)a[3]));
    }
    return REAL(syscall)(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT long syscall(long n, ...)
{
    va_list ap;
    long a[6];
    va_start(ap, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    return zsp_syscall_args(n, a);
}
