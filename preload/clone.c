/* SPDX-License-Identifier: BSD-3-Clause
 * clone(2) by a program itself, as a function or by its number. A new process with a memory of its own is a fork, one that runs on
 * ours until it execs is a vfork, everything else a thread. */
#include "preload.h"

#include <sys/syscall.h>

struct start {
    int (*fn)(void *);
    void *arg;
    int flags;
};

/* In the child: handlers of fork did not run. */
void clone_child_begins(uint64_t flags)
{
    if (flags & CLONE_FILES)
        zs_forked_same_files();
    else
        zs_after_fork_child();
    netns_child(flags);
}

static int in_fork(void *arg)
{
    struct start *s = arg;
    clone_child_begins((uint64_t)s->flags);
    return s->fn(s->arg);
}

static int in_vfork(void *arg)
{
    struct start *s = arg;
    zs_vfork_flag = 1; /* the thread's storage is its parent's, which clears it */
    return s->fn(s->arg);
}

int zsp_clone(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid)
{
    struct start s = {fn, arg, flags};
    if (!zs_proc.conf.enabled || zs_passthrough() || (flags & (CLONE_THREAD | CLONE_SETTLS)))
        return REAL(clone)(fn, stack, flags, arg, ptid, tls, ctid);
    if (!(flags & CLONE_VM)) {
        zs_before_fork();
        netns_before_clone((uint64_t)flags);
        int pid = REAL(clone)(fn != NULL ? in_fork : NULL, stack, flags, &s, ptid, tls, ctid);
        netns_parent();
        return pid;
    }
    if (!(flags & CLONE_VFORK))
        return REAL(clone)(fn, stack, flags, arg, ptid, tls, ctid);
    zs_before_fork();
    int pid = REAL(clone)(fn != NULL ? in_vfork : NULL, stack, flags, &s, ptid, tls, ctid);
    zs_vfork_flag = 0;
    return pid;
}

uint64_t clone_flags(long n, const long a[6])
{
    signals_guard();
    if (n == SYS_clone)
        return (uint64_t)a[0];
    if (n == SYS_clone3)
        return user_readable((void *)a[0], sizeof(uint64_t)) ? *(const uint64_t *)a[0] : CLONE_VM; /* struct clone_args: its first field */
    return n == SYS_vfork ? CLONE_VM | CLONE_VFORK : 0;
}

/* clone, clone3 and fork by syscall(2). The child goes on in the caller's frame, so that only what has a memory of its own is ours. */
long zsp_clone_syscall(long n, const long a[6])
{
    if (!zs_proc.conf.enabled || zs_passthrough())
        return REAL(syscall)(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    uint64_t flags = clone_flags(n, a);
    bool fork = !(flags & CLONE_VM);
    if (fork) {
        zs_before_fork();
        netns_before_clone(flags);
    }
    long r = REAL(syscall)(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (fork && r == 0)
        clone_child_begins(flags);
    else if (fork)
        netns_parent();
    return r;
}
