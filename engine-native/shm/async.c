/* SPDX-License-Identifier: BSD-3-Clause
 * Signals of O_ASYNC sockets (fcntl(2), F_SETOWN, F_SETSIG): whoever publishes something raises them, with its own permission to do
 * so, for the process that gets them may be in no call at all. Only the kernel may give a signal the codes POLL_IN and so on, so
 * that it travels as SI_SIGIO, and the receiver's library tells the program what it expects. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>

#include "ops.h"
#include "sys.h"

uint32_t zs_born(int32_t pid)
{
    char text[1024];
    snprintf(text, sizeof text, "/proc/%d/stat", pid);
    int fd = (int)zs_sys(SYS_openat, AT_FDCWD, text, O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? -1 : zs_sys(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0)
        zs_sys(SYS_close, fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name may have any character in it */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : (uint32_t)strtoull(at, NULL, 10) | 1u;
}

/* The number is still the process that F_SETOWN named, and not one that has it since: SIGIO ends a program that does not expect it. */
static bool same_process(struct zs_view *v, const struct zs_session *s, int32_t pid)
{
    uint32_t id = atomic_load_explicit(&s->owner, memory_order_relaxed);
    const struct zs_client *c = &v->arena->client[ZS_CLIENT_SLOT(id) % ZS_MAX_CLIENTS];
    if (id != ZS_CLIENT_ENGINE && atomic_load(&c->id) == id && atomic_load(&c->pid) == (uint32_t)pid)
        return true; /* attached: the engine knows its death */
    uint32_t born = atomic_load_explicit(&s->sig_born, memory_order_relaxed);
    return born != 0 && zs_born(pid) == born;
}

/* As send_sigio_to_task: a signal of the program's own choice that does not fit the queue any more becomes a plain SIGIO. */
static void raise_to(int32_t tgid, int32_t tid, uint32_t word, long band)
{
    int own = (int)ZS_ASYNC_SIG(word), sig = own != 0 ? own : SIGIO;
    siginfo_t info = {.si_signo = sig, .si_code = SI_SIGIO};
    info.si_band = own != 0 ? band : 0;
    info.si_fd = own != 0 ? (int)ZS_ASYNC_FD(word) : -1;
    long r = tid != 0 ? zs_sys(SYS_rt_tgsigqueueinfo, tgid, tid, sig, &info) : zs_sys(SYS_rt_sigqueueinfo, tgid, sig, &info);
    if (r == -EAGAIN)
        zs_sys(SYS_kill, tgid, SIGIO);
}

void zs_async_raise(struct zs_view *v, struct zs_session *s, long band)
{
    uint32_t word = atomic_load_explicit(&s->async, memory_order_relaxed);
    int32_t owner = atomic_load_explicit(&s->sig_owner, memory_order_relaxed);
    int32_t tgid = atomic_load_explicit(&s->sig_tgid, memory_order_relaxed);
    if (!(word & ZS_ASYNC_ON) || owner == 0)
        return;
    if (owner < 0) {
        uint32_t id = atomic_load(&s->owner);
        const struct zs_client *c = &v->arena->client[ZS_CLIENT_SLOT(id) % ZS_MAX_CLIENTS];
        if (id != ZS_CLIENT_ENGINE && zs_sys(SYS_getpgid, atomic_load(&c->pid)) == -owner)
            zs_sys(SYS_kill, owner, ZS_ASYNC_SIG(word) != 0 ? (int)ZS_ASYNC_SIG(word) : SIGIO);
        return;
    }
    if (same_process(v, s, tgid != 0 ? tgid : owner))
        raise_to(tgid != 0 ? tgid : owner, tgid != 0 ? owner : 0, word, band);
}

/* What has become of the socket, as sk_wake_async is told; 0: nothing that a signal tells, room for one (zs_notify_room). */
long zs_async_band(struct zs_view *v, const struct zs_session *s)
{
    if (s->kind != ZS_KIND_TCP)
        return POLLIN | POLLRDNORM;
    if (atomic_load_explicit(&s->error, memory_order_relaxed) != 0)
        return POLLERR;
    if (atomic_load_explicit(&s->rx_prod.fin, memory_order_relaxed) != 0) {
        const struct zs_session *peer = zs_session_peer(v, s);
        bool both = peer == NULL || atomic_load_explicit(&peer->rx_prod.fin, memory_order_relaxed) != 0;
        return both ? POLLHUP | POLLERR : POLLIN | POLLRDNORM;
    }
    bool unread = atomic_load_explicit(&s->rx_prod.tail, memory_order_relaxed) != atomic_load_explicit(&s->rx_cons.head, memory_order_relaxed);
    return unread ? POLLIN | POLLRDNORM : 0;
}
