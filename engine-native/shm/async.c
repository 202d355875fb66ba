/* SPDX-License-Identifier: BSD-3-Clause
 * Signals of O_ASYNC sockets (fcntl(2), F_SETOWN, F_SETSIG): whoever publishes something raises them, with its own permission to do
 * so, for the process that gets them may be in no call at all. Only the kernel may give a signal the codes POLL_IN and so on, so
 * that it travels as SI_SIGIO, and the receiver's library tells the program what it expects. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops.h"
#include "proc.h"
#include "sys.h"

uint32_t zs_born(int32_t pid)
{
    uint64_t start = zs_start_time(pid);
    return start == 0 ? 0 : (uint32_t)start | 1u;
}

/* ---- Who may be signalled: what says so lies where every program of the domain may write ---- */

/* Device and inode of a mapping, as /proc/PID/maps has them: of the one that has `start`, or whether there is one like `id`. */
#define ID_MAX 48
static bool find_mapping(int32_t pid, const void *start, char id[ID_MAX])
{
    char text[4096];
    uint64_t from, to;
    for (off_t at = 0; zs_proc_read(pid, "maps", at, text, sizeof text) > 0;) {
        char *line = text, *end;
        for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            char dev[16];
            unsigned long long inode;
            *end = 0;
            if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %15s %llu", &from, &to, dev, &inode) != 4 || inode == 0)
                continue;
            char got[ID_MAX];
            snprintf(got, sizeof got, "%s %llu", dev, inode);
            if (start == NULL ? strcmp(got, id) == 0 : from <= (uintptr_t)start && (uintptr_t)start < to) {
                memcpy(id, got, sizeof got);
                return true;
            }
        }
        if (line == text)
            return false; /* no line is so long */
        at += line - text;
    }
    return false;
}

/* It has the arena mapped: it is of the domain. */
static bool of_domain(struct zs_view *v, int32_t pid)
{
    char id[ID_MAX];
    return find_mapping((int32_t)zs_sys(SYS_getpid), v->arena, id) && find_mapping(pid, NULL, id);
}

/* The signal has a handler there, or is blocked, ignored or waited for: sigtimedwait takes what it waits for from the blocked ones. */
static bool expected(int32_t tid, int sig)
{
    static const char *const masks[] = {"\nSigBlk:", "\nSigIgn:", "\nSigCgt:"};
    char text[4096];
    if (zs_proc_read(tid, "status", 0, text, sizeof text) <= 0)
        return false;
    for (int i = 0; i < 3; i++) {
        const char *at = strstr(text, masks[i]);
        if (at != NULL && (strtoull(at + 8, NULL, 16) >> (sig - 1)) & 1)
            return true;
    }
    return zs_proc_read(tid, "syscall", 0, text, sizeof text) > 0 && atoi(text) == SYS_rt_sigtimedwait;
}

/* A program without privileges is held back by the kernel. One of root's, or the engine, must not become the tool of another user's in
 * the same domain: it signals programs of the domain only, with signals that say no more than that a socket is ready, and none that a
 * program does not expect. */
static bool allowed(struct zs_view *v, int32_t tgid, int32_t tid, int sig)
{
    if (zs_sys(SYS_geteuid) != 0)
        return true;
    if (sig != SIGIO && sig != SIGURG && sig != SIGUSR1 && sig != SIGUSR2 && sig < 32)
        return false;
    uint32_t born = zs_born(tgid);
    if (born == 0)
        return false;
    if (v->async_pid != tgid || v->async_born != born) {
        if (!of_domain(v, tgid))
            return false;
        v->async_pid = tgid;
        v->async_born = born;
    }
    return expected(tid != 0 ? tid : tgid, sig);
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
static void raise_to(struct zs_view *v, int32_t tgid, int32_t tid, siginfo_t info)
{
    int sig = info.si_signo;
    if (!allowed(v, tgid, tid, sig))
        return;
    long r = tid != 0 ? zs_sys(SYS_rt_tgsigqueueinfo, tgid, tid, sig, &info) : zs_sys(SYS_rt_sigqueueinfo, tgid, sig, &info);
    if (r == -EAGAIN && allowed(v, tgid, 0, SIGIO))
        zs_sys(SYS_kill, tgid, SIGIO);
}

/* For whom F_SETOWN named. */
static void raise_for(struct zs_view *v, const struct zs_session *s, const siginfo_t *info)
{
    int32_t owner = atomic_load_explicit(&s->sig_owner, memory_order_relaxed);
    int32_t tgid = atomic_load_explicit(&s->sig_tgid, memory_order_relaxed);
    if (owner == 0 || v->confined) /* the calls would be the end of a confined process: it cannot signal */
        return;
    if (owner < 0) {
        /* A group: its members who hold the socket, which is as far as we can tell who is meant. */
        uint32_t id = atomic_load(&s->owner);
        int32_t pid = id != ZS_CLIENT_ENGINE ? (int32_t)atomic_load(&v->arena->client[ZS_CLIENT_SLOT(id) % ZS_MAX_CLIENTS].pid) : 0;
        if (pid > 0 && zs_sys(SYS_getpgid, pid) == -(long)owner)
            raise_to(v, pid, 0, *info);
        return;
    }
    if (same_process(v, s, tgid != 0 ? tgid : owner))
        raise_to(v, tgid != 0 ? tgid : owner, tgid != 0 ? owner : 0, *info);
}

void zs_async_raise(struct zs_view *v, struct zs_session *s, long band)
{
    uint32_t word = atomic_load_explicit(&s->async, memory_order_relaxed);
    if (!(word & ZS_ASYNC_ON))
        return;
    int own = (int)ZS_ASYNC_SIG(word);
    siginfo_t info = {.si_signo = own != 0 ? own : SIGIO, .si_code = SI_SIGIO};
    info.si_band = own != 0 ? band : 0;
    info.si_fd = own != 0 ? (int)ZS_ASYNC_FD(word) : -1;
    raise_for(v, s, &info);
}

void zs_urgent_signal(struct zs_view *v, const struct zs_session *s)
{
    siginfo_t info = {.si_signo = SIGURG, .si_code = SI_SIGIO};
    info.si_fd = -1; /* told as the kernel's (SEND_SIG_PRIV), as SIGIO without F_SETSIG */
    raise_for(v, s, &info);
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
