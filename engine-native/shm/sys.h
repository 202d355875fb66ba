/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Raw system calls. This code runs inside applications whose libc names are interposed by the very library it is part
 * of, in signal handlers and in vfork children: it must neither re-enter the interposition nor touch errno.
 * Returns are the kernel's: negative errno on failure. */
#ifndef ZSTACK_SYS_H
#define ZSTACK_SYS_H

#include <sys/syscall.h>

static inline long zs_sys6(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
#else
#error "Z-stack's interposition is written for x86-64 Linux"
#endif
}
#define ZS_SYS_PICK(_1, _2, _3, _4, _5, _6, _7, count, ...) count
#define ZS_SYS_COUNT(...) ZS_SYS_PICK(__VA_ARGS__, 7, 6, 5, 4, 3, 2, 1)
#define ZS_SYS_CAT2(a, b) a##b
#define ZS_SYS_CAT(a, b) ZS_SYS_CAT2(a, b)
#define ZS_SYS_1(n) zs_sys6(n, 0, 0, 0, 0, 0, 0)
#define ZS_SYS_2(n, a) zs_sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define ZS_SYS_3(n, a, b) zs_sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define ZS_SYS_4(n, a, b, c) zs_sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define ZS_SYS_5(n, a, b, c, d) zs_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define ZS_SYS_6(n, a, b, c, d, e) zs_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define ZS_SYS_7(n, a, b, c, d, e, f) zs_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* zs_sys(number, up to six arguments) */
#define zs_sys(...) ZS_SYS_CAT(ZS_SYS_, ZS_SYS_COUNT(__VA_ARGS__))(__VA_ARGS__)

#endif
