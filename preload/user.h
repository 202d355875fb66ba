/* SPDX-License-Identifier: BSD-3-Clause
 * The application's memory: whether it is there (user.c). Part of preload.h. */
#ifndef ZSTACK_PRELOAD_USER_H
#define ZSTACK_PRELOAD_USER_H

#define USER_END UINT64_C(0x7ffffffff000) /* TASK_SIZE_MAX of 4-level page tables */
#define USER_PAGE 4096u
int zs_touch_read(const void *p) __attribute__((visibility("hidden")));
int zs_touch_write(void *p) __attribute__((visibility("hidden")));
bool user_there(uintptr_t p, size_t n, bool write);
bool user_pieces(const struct iovec *iov, size_t cnt, size_t skip, size_t n, bool write);
static inline bool user_touch(uintptr_t p, bool write)
{
    return (write ? zs_touch_write((void *)p) : zs_touch_read((const void *)p)) == 0;
}
/* Some bytes of one page, as nearly always. */
static inline bool user_in_page(uintptr_t p, size_t n)
{
    return n - 1 < USER_PAGE - (p & (USER_PAGE - 1)) && p < USER_END - USER_PAGE;
}

/* Whether it is there; what is not is -EFAULT. Writable memory is touched: only for what is about to be overwritten. */
static inline bool user_readable(const void *p, size_t n)
{
    return user_in_page((uintptr_t)p, n) ? user_touch((uintptr_t)p, false) : user_there((uintptr_t)p, n, false);
}
static inline bool user_writable(void *p, size_t n)
{
    return user_in_page((uintptr_t)p, n) ? user_touch((uintptr_t)p, true) : user_there((uintptr_t)p, n, true);
}
/* n bytes of the vector from byte `skip` on. */
static inline bool user_iov(const struct iovec *iov, size_t cnt, size_t skip, size_t n, bool write)
{
    if (ZS_LIKELY(cnt != 0 && skip == 0 && n <= iov->iov_len && user_in_page((uintptr_t)iov->iov_base, n)))
        return user_touch((uintptr_t)iov->iov_base, write);
    return user_pieces(iov, cnt, skip, n, write);
}
bool user_fault(void *context); /* a handler's: the fault was one of ours, go on */

#endif
