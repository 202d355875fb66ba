/* SPDX-License-Identifier: BSD-3-Clause
 * The application's memory. What a call is given may not be there, and the answer is EFAULT then, as from the kernel. A byte of each page is
 * touched by three instructions of known place before the memory is used; when one of them faults, the handler lets it go on at a label that says so.
 *
 * For that the library keeps a handler of its own on SIGSEGV and SIGBUS once it has a socket. The application's disposition
 * is what it sees and what counts for every other fault. */
#include "preload.h"

#include <limits.h>
#include <ucontext.h>

/* int zs_touch_read(const void *), int zs_touch_write(void *): 0, or -1 when the byte is not there. */
__asm__(".text\n"
        ".globl zs_touch_read, zs_touch_write\n"
        ".hidden zs_touch_read, zs_touch_write\n"
        "zs_touch_read:\n"
        "    xorl %eax, %eax\n"
        "zs_touch_at1:\n"
        "    movb (%rdi), %dl\n"
        "    ret\n"
        "zs_touch_write:\n" /* what it held is written back: the caller is about to overwrite it */
        "    xorl %eax, %eax\n"
        "zs_touch_at2:\n"
        "    movb (%rdi), %dl\n"
        "zs_touch_at3:\n"
        "    movb %dl, (%rdi)\n"
        "    ret\n"
        "zs_touch_failed:\n"
        "    movl $-1, %eax\n"
        "    ret\n");
extern const char zs_touch_at1[] __attribute__((visibility("hidden")));
extern const char zs_touch_at2[] __attribute__((visibility("hidden")));
extern const char zs_touch_at3[] __attribute__((visibility("hidden")));
extern const char zs_touch_failed[] __attribute__((visibility("hidden")));

bool user_fault(void *context)
{
    ucontext_t *u = context;
    greg_t *rip = &u->uc_mcontext.gregs[REG_RIP];
    if (*rip != (greg_t)zs_touch_at1 && *rip != (greg_t)zs_touch_at2 && *rip != (greg_t)zs_touch_at3)
        return false;
    *rip = (greg_t)zs_touch_failed;
    return true;
}

bool user_there(uintptr_t p, size_t n, bool write)
{
    uintptr_t last = p + n - 1;
    if (n == 0)
        return true;
    if (last < p || last >= USER_END)
        return false;
    for (uintptr_t at = p;; at = (at | (USER_PAGE - 1)) + 1) {
        if (!user_touch(at, write))
            return false;
        if ((at | (USER_PAGE - 1)) >= last)
            return true;
    }
}

bool user_pieces(const struct iovec *iov, size_t cnt, size_t skip, size_t n, bool write)
{
    for (size_t i = 0; i < cnt && n > 0; i++) {
        size_t len = iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        len -= skip;
        len = len < n ? len : n;
        if (!user_there((uintptr_t)iov[i].iov_base + skip, len, write))
            return false;
        n -= len;
        skip = 0;
    }
    return true;
}
