/* SPDX-License-Identifier: BSD-3-Clause
 * O_ASYNC, F_SETOWN and F_SETSIG (fcntl(2)). The placeholder keeps them, for what the kernel answers and, on listeners and UDP sockets,
 * for what comes through the kernel; the session has them for who publishes something in shared memory (shm/async.c). */
#include "preload.h"
#include "proc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

void async_apply(struct zsock *k)
{
    if (k->s == NULL)
        return;
    atomic_store(&k->s->sig_tgid, k->async.tgid);
    atomic_store(&k->s->sig_born, k->async.born);
    atomic_store(&k->s->sig_owner, k->async.owner);
    if (k->async.word != 0)
        atomic_fetch_or(&k->s->rx_prod.others, ZS_OTHERS_ASYNC);
    atomic_store(&k->s->async, k->async.word);
}

/* Another process may have changed what the session says since. */
static void refresh(struct zsock *k)
{
    if (k->s == NULL)
        return;
    k->async.owner = atomic_load(&k->s->sig_owner);
    k->async.tgid = atomic_load(&k->s->sig_tgid);
    k->async.born = atomic_load(&k->s->sig_born);
    k->async.word = atomic_load(&k->s->async);
    if (k->async.word != 0)
        k->async.sig = (uint8_t)ZS_ASYNC_SIG(k->async.word);
}

/* The process of a thread, as /proc has it; 0: not known. */
static int process_of(int tid)
{
    char text[1024];
    if (tid == zs_sys(SYS_gettid))
        return (int)zs_sys(SYS_getpid);
    zs_proc_read(tid, "status", 0, text, sizeof text);
    const char *tgid = strstr(text, "\nTgid:");
    return tgid != NULL ? atoi(tgid + 6) : 0;
}

void async_owner(struct zsock *k, int type, int pid)
{
    refresh(k);
    k->async.owner = pid;
    k->async.tgid = type == F_OWNER_TID && pid > 0 ? process_of(pid) : 0;
    k->async.born = pid > 0 ? zs_born(k->async.tgid != 0 ? k->async.tgid : pid) : 0;
    async_apply(k);
}

void async_switch(struct zsock *k, int fd, bool on)
{
    refresh(k);
    if (on == ((k->async.word & ZS_ASYNC_ON) != 0))
        return;
    k->async.word = on ? ZS_ASYNC(k->async.sig, fd) : 0;
    async_apply(k);
}

void async_signal(struct zsock *k, int sig)
{
    refresh(k);
    k->async.sig = (uint8_t)sig;
    if (k->async.word & ZS_ASYNC_ON)
        k->async.word = ZS_ASYNC(sig, ZS_ASYNC_FD(k->async.word));
    async_apply(k);
}

void async_translate(siginfo_t *info)
{
    if (info->si_code != SI_SIGIO)
        return;
    long band = info->si_band;
    if (info->si_fd < 0) { /* without F_SETSIG: SEND_SIG_PRIV */
        *info = (siginfo_t){.si_signo = info->si_signo, .si_code = SI_KERNEL};
        return;
    }
    info->si_code = band & POLLHUP ? POLL_HUP : band & POLLERR ? POLL_ERR : band & POLLIN ? POLL_IN : POLL_OUT;
}

int zsp_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *t)
{
    int r = REAL(sigtimedwait)(set, info, t);
    if (r > 0 && info != NULL)
        async_translate(info);
    return r;
}

int zsp_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    int r = REAL(sigwaitinfo)(set, info);
    if (r > 0 && info != NULL)
        async_translate(info);
    return r;
}
