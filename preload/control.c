/* SPDX-License-Identifier: BSD-3-Clause
 * ioctl and fcntl on sockets. */
#include "preload.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

/* What the peer's receive buffer has no room for stays with the sender (tcp(7), SIOCOUTQ); all of what the remote host has
 * not acknowledged over the wire. Nobody's window grows that does not read. */
static uint64_t not_acknowledged(const struct zsock *k)
{
    const uint64_t window = 65536;
    uint64_t unread = zs_tx_unread(k->peer);
    uint32_t rcvbuf = atomic_load_explicit(&k->peer->opts.rcvbuf, memory_order_relaxed);
    uint64_t taken = rcvbuf != 0 ? rcvbuf / 2 : window;
    if (atomic_load(&k->s->flags) & ZS_F_WIRE)
        return unread;
    return unread > taken ? unread - taken : 0;
}

static long ioctl_sock(struct zsock *k, int fd, unsigned long req, long arg)
{
    bool conn = atomic_load(&k->kind) == ZK_CONN;
    int *out = (int *)arg;
    if (req == FIONBIO) {
        if (!user_readable(out, sizeof *out))
            return -EFAULT;
        long fl = zsp_fcntl_sock(k, fd, F_GETFL, 0);
        return fl < 0 ? fl : zsp_fcntl_sock(k, fd, F_SETFL, *out ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
    }
    bool gives = (req == FIONREAD && (conn || atomic_load(&k->kind) == ZK_UDP)) ||
                 ((req == SIOCOUTQ || req == SIOCOUTQNSD || req == SIOCATMARK) && conn);
    if (gives && !user_writable(out, sizeof *out))
        return -EFAULT;
    if (req == FIONREAD && conn) {
        uint64_t n = urgent_before_mark(k->s, zs_rx_avail(k->s));
        *out = n > INT32_MAX ? INT32_MAX : (int)n;
        return 0;
    }
    if (req == FIONREAD && atomic_load(&k->kind) == ZK_UDP && dgram_next_len(k) != 0) {
        bool kernel_first = k->dg.settling && zs_sys(SYS_ioctl, fd, req, out) == 0 && *out != 0;
        if (!kernel_first)
            *out = (int)dgram_next_len(k);
        return 0;
    }
    if (req == SIOCOUTQ && conn) {
        *out = (int)not_acknowledged(k);
        return 0;
    }
    if (req == SIOCOUTQNSD && conn) {
        *out = (int)stream_unsent(k);
        return 0;
    }
    if (req == SIOCATMARK && conn) {
        *out = urgent_at_mark(k->s);
        return 0;
    }
    if (req == FIOSETOWN || req == SIOCSPGRP) {
        long r = zs_sys(SYS_ioctl, fd, req, arg);
        if (r == 0)
            async_owner(k, F_OWNER_PID, *out);
        return r;
    }
    if (req == FIOASYNC) {
        long r = zs_sys(SYS_ioctl, fd, req, arg);
        if (r == 0)
            async_switch(k, fd, *out != 0);
        return r;
    }
    return zs_sys(SYS_ioctl, fd, req, arg);
}

long zsp_fcntl_sock(struct zsock *k, int fd, int cmd, long arg)
{
    bool both = sock_accelerated(k) && atomic_load(&k->kind) != ZK_CONN; /* the placeholder is always non-blocking */
    if (cmd == F_SETFL) {
        long r = zs_sys(SYS_fcntl, fd, F_SETFL, both ? arg | O_NONBLOCK : arg);
        if (r == 0) {
            atomic_store(&k->nonblock, (arg & O_NONBLOCK) != 0);
            async_switch(k, fd, arg & O_ASYNC);
        }
        if (r == 0 && both && (arg & O_NONBLOCK))
            atomic_fetch_or(&k->s->flags, ZS_F_NONBLOCK);
        else if (r == 0 && both)
            atomic_fetch_and(&k->s->flags, ~ZS_F_NONBLOCK);
        return r;
    }
    long r = zs_sys(SYS_fcntl, fd, cmd, arg);
    if (r == 0 && cmd == F_SETOWN)
        async_owner(k, F_OWNER_PID, (int)arg);
    if (r == 0 && cmd == F_SETOWN_EX) {
        const struct f_owner_ex *own = (const struct f_owner_ex *)arg;
        async_owner(k, own->type, own->type == F_OWNER_PGRP ? -own->pid : own->pid);
    }
    if (r == 0 && cmd == F_SETSIG)
        async_signal(k, (int)arg);
    if (cmd == F_GETFL && r >= 0 && both && !atomic_load(&k->nonblock))
        r &= ~O_NONBLOCK;
    return r;
}

int zsp_ioctl_arg(int fd, unsigned long req, long arg)
{
    struct call c;
    struct zsock *k = call_begin(&c, "ioctl", fd);
    if (k == NULL)
        return REAL(ioctl)(fd, req, arg);
    return (int)call_end(&c, fd, ioctl_sock(k, fd, req, arg));
}

int zsp_sockatmark(int fd)
{
    int mark = 0;
    return zsp_ioctl_arg(fd, SIOCATMARK, (long)&mark) < 0 ? -1 : mark;
}
