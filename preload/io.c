/* SPDX-License-Identifier: BSD-3-Clause
 * The data calls: each finds the socket, brings its arguments into one form and calls the stream or the datagram side. */
#include "preload.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* SIZE_MAX: the vector is not there. */
static size_t iov_bytes(const struct iovec *iov, size_t cnt, bool *bad)
{
    size_t n = 0;
    *bad = cnt > IOV_MAX;
    if (!*bad && !user_readable(iov, cnt * sizeof *iov))
        return SIZE_MAX;
    for (size_t i = 0; !*bad && i < cnt; i++) {
        if (iov[i].iov_len > (size_t)SSIZE_MAX - n)
            *bad = true;
        else
            n += iov[i].iov_len;
    }
    return n;
}

/* Receives n bytes, all of iov, which is there; msg (UDP, recvmsg) carries name, control and flags, or is NULL. */
static ssize_t recv_bytes(struct zsock *k, int fd, const struct iovec *iov, size_t cnt, size_t n, struct msghdr *msg, int flags)
{
    switch (atomic_load(&k->kind)) {
    case ZK_CONN:;
        if (flags & MSG_ERRQUEUE) {
            struct msghdr own = {0};
            return zerocopy_recv(k, msg != NULL ? msg : &own);
        }
        if (msg != NULL) {
            msg->msg_namelen = 0;
            msg->msg_controllen = 0;
            msg->msg_flags = flags & MSG_CMSG_CLOEXEC;
        }
        ssize_t got = stream_recv(k, iov, n, flags);
        if (msg != NULL && (flags & MSG_OOB) && got >= 0)
            msg->msg_flags |= MSG_OOB;
        return got;
    case ZK_UDP: {
        struct msghdr own = {.msg_iov = (struct iovec *)iov, .msg_iovlen = cnt};
        return dgram_recv(k, fd, msg != NULL ? msg : &own, flags);
    }
    default: { /* TCP that is not connected: the kernel's error */
        int soft = k->soft_error;
        k->soft_error = 0;
        if (soft != 0)
            return -soft;
        struct msghdr own = {.msg_iov = (struct iovec *)iov, .msg_iovlen = cnt};
        return zs_sys(SYS_recvmsg, fd, msg != NULL ? msg : &own, flags | MSG_DONTWAIT);
    }
    }
}

static ssize_t do_recv(struct zsock *k, int fd, const struct iovec *iov, size_t cnt, struct msghdr *msg, int flags)
{
    bool bad;
    size_t n = iov_bytes(iov, cnt, &bad);
    if (bad || n == SIZE_MAX)
        return !bad ? -EFAULT : cnt > IOV_MAX && msg != NULL ? -EMSGSIZE : -EINVAL;
    return recv_bytes(k, fd, iov, cnt, n, msg, flags);
}

static ssize_t send_bytes(struct zsock *k, int fd, const struct iovec *iov, size_t cnt, size_t n, const struct msghdr *msg, int flags)
{
    struct msghdr own = {.msg_iov = (struct iovec *)iov, .msg_iovlen = cnt};
    switch (atomic_load(&k->kind)) {
    case ZK_CONN:
        return stream_send(k, iov, n, flags);
    case ZK_UDP:
        return dgram_send(k, fd, msg != NULL ? msg : &own, flags);
    default:
        return zs_sys(SYS_sendmsg, fd, msg != NULL ? msg : &own, flags);
    }
}

static ssize_t do_send(struct zsock *k, int fd, const struct iovec *iov, size_t cnt, const struct msghdr *msg, int flags)
{
    bool bad;
    size_t n = iov_bytes(iov, cnt, &bad);
    if (bad || n == SIZE_MAX)
        return !bad ? -EFAULT : cnt > IOV_MAX && msg != NULL ? -EMSGSIZE : -EINVAL;
    return send_bytes(k, fd, iov, cnt, n, msg, flags);
}

#define SEND_BY_KERNEL ((ssize_t)-SSIZE_MAX) /* no errno */
/* MSG_FASTOPEN connects first. 0: go on, 1: the socket is the kernel's now, negative errno. */
static int fast_open(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    if (ZS_LIKELY(!(flags & MSG_FASTOPEN)) || atomic_load(&k->kind) == ZK_UDP)
        return 0;
    return conn_fastopen(k, fd, msg->msg_name, msg->msg_namelen, flags);
}

/* The headers as the kernel checks them (copy_msghdr_from_user). */
static ssize_t recv_message(struct zsock *k, int fd, struct msghdr *msg, int flags)
{
    if (!user_writable(msg, sizeof *msg))
        return -EFAULT;
    if (msg->msg_name != NULL && (int)msg->msg_namelen < 0)
        return -EINVAL;
    return do_recv(k, fd, msg->msg_iov, msg->msg_iovlen, msg, flags);
}

static ssize_t send_message(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    if (!user_readable(msg, sizeof *msg))
        return -EFAULT;
    if (msg->msg_name != NULL && (int)msg->msg_namelen < 0)
        return -EINVAL;
    socklen_t name = msg->msg_namelen < sizeof(struct sockaddr_storage) ? msg->msg_namelen : sizeof(struct sockaddr_storage);
    if (msg->msg_name != NULL && !user_readable(msg->msg_name, name))
        return -EFAULT;
    int r = fast_open(k, fd, msg, flags);
    return r == 1 ? SEND_BY_KERNEL : r < 0 ? r : do_send(k, fd, msg->msg_iov, msg->msg_iovlen, msg, flags);
}

/* ---- Receive ---- */

/* As call_begin; NULL also for a UDP socket whose datagrams come from the kernel alone: the real call has its ways to wait. */
static inline struct zsock *recv_begin(struct call *c, const char *name, int fd, int flags)
{
    struct zsock *k = call_begin(c, name, fd);
    c->waits = NULL;
    if (ZS_LIKELY(k == NULL || k->s != NULL) || atomic_load(&k->kind) != ZK_UDP)
        return k;
    bool waits = !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock);
    if (dgram_receives(k, fd, waits) || (waits && c->held && (dgram_looks(k, fd) || !dgram_waits(k, &k->dg.waits))))
        return k;
    if (waits && c->held) {
        c->waits = k;
        c->generation = atomic_load(&zs_proc.generation);
        c->held = false; /* recv_real() gives it back, or the thread's end */
        zs_thread.counted = true;
        if (ZS_UNLIKELY(!zs_thread.registered))
            thread_register();
    }
    call_pass(c);
    return NULL;
}

/* After the real call; r is its result. */
static inline ssize_t recv_real(const struct call *c, ssize_t r)
{
    if (ZS_UNLIKELY(c->waits != NULL)) {
        int err = errno;
        zs_thread.cur = NULL;
        zs_thread.counted = false;
        if (c->generation == atomic_load(&zs_proc.generation)) /* else a child that a handler began: nobody is counted there */
            atomic_fetch_sub(&c->waits->dg.waits, 1);
        zsock_drop(c->waits);
        errno = err;
    }
    return r;
}

/* read and kin, unlike recv, never look at the queue for no bytes (sock_read_iter). */
static ssize_t read_vector(struct zsock *k, int fd, const struct iovec *iov, size_t cnt, int flags)
{
    bool bad;
    return iov_bytes(iov, cnt, &bad) == 0 && !bad ? 0 : do_recv(k, fd, iov, cnt, NULL, flags);
}

ssize_t zsp_read(int fd, void *buf, size_t n)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "read", fd, 0);
    if (k == NULL)
        return recv_real(&c, REAL(read)(fd, buf, n));
    struct iovec iov = {buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    return call_end(&c, fd, n == 0 ? 0 : recv_bytes(k, fd, &iov, 1, iov.iov_len, NULL, 0));
}

ssize_t zsp_readv(int fd, const struct iovec *iov, int cnt)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "readv", fd, 0);
    if (k == NULL)
        return recv_real(&c, REAL(readv)(fd, iov, cnt));
    return call_end(&c, fd, cnt < 0 ? -EINVAL : read_vector(k, fd, iov, (size_t)cnt, 0));
}

ssize_t zsp_preadv2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "preadv2", fd, 0);
    if (k == NULL)
        return recv_real(&c, REAL(preadv2)(fd, iov, cnt, off, flags));
    if (off != -1 || cnt < 0)
        return call_end(&c, fd, cnt < 0 || off < 0 ? -EINVAL : -ESPIPE);
    return call_end(&c, fd, read_vector(k, fd, iov, (size_t)cnt, flags & 0x8 /* RWF_NOWAIT */ ? MSG_DONTWAIT : 0));
}

ssize_t zsp_recv(int fd, void *buf, size_t n, int flags)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "recv", fd, flags);
    if (k == NULL)
        return recv_real(&c, REAL(recv)(fd, buf, n, flags));
    struct iovec iov = {buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    return call_end(&c, fd, recv_bytes(k, fd, &iov, 1, iov.iov_len, NULL, flags));
}

/* The address of a received datagram as recvfrom hands it over, after which an error is too late for the data. */
static ssize_t name_give(const struct sockaddr_storage *name, socklen_t n, struct sockaddr *to, socklen_t *len, ssize_t r)
{
    if (!user_writable(len, sizeof *len))
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    socklen_t cut = *len < n ? *len : n;
    if (!user_writable(to, cut))
        return -EFAULT;
    memcpy(to, name, cut);
    *len = n;
    return r;
}

ssize_t zsp_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "recvfrom", fd, flags);
    if (k == NULL)
        return recv_real(&c, REAL(recvfrom)(fd, buf, n, flags, from, len));
    struct iovec iov = {buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct sockaddr_storage name;
    if (from != NULL)
        msg.msg_name = &name, msg.msg_namelen = sizeof name;
    ssize_t r = recv_bytes(k, fd, &iov, 1, iov.iov_len, &msg, flags);
    if (r >= 0 && from != NULL)
        r = name_give(&name, msg.msg_namelen, from, len, r);
    return call_end(&c, fd, r);
}

ssize_t zsp_recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "recvmsg", fd, flags);
    if (k == NULL) {
        ssize_t r = recv_real(&c, REAL(recvmsg)(fd, msg, flags));
        if (r >= 0 && msg->msg_controllen > 0 && zs_proc.conf.enabled)
            scm_received(msg);
        return r;
    }
    return call_end(&c, fd, recv_message(k, fd, msg, flags));
}

int zsp_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *t)
{
    struct call c;
    struct zsock *k = recv_begin(&c, "recvmmsg", fd, flags);
    if (k == NULL) {
        int r = (int)recv_real(&c, REAL(recvmmsg)(fd, v, n, flags, t));
        for (int i = 0; i < r && zs_proc.conf.enabled; i++)
            if (v[i].msg_hdr.msg_controllen > 0)
                scm_received(&v[i].msg_hdr);
        return r;
    }
    /* As Linux: the timeout is looked at only between messages (recvmmsg(2), BUGS). */
    if (t != NULL && (!user_readable(t, sizeof *t) || t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000))
        return (int)call_end(&c, fd, user_readable(t, sizeof *t) ? -EINVAL : -EFAULT);
    uint64_t limit = t != NULL ? zs_now_ns() + (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec : 0;
    unsigned got = 0;
    ssize_t r = 0;
    n = n < IOV_MAX ? n : IOV_MAX; /* UIO_MAXIOV, as the kernel */
    while (got < n) {
        r = user_writable(&v[got], sizeof v[got]) ? recv_message(k, fd, &v[got].msg_hdr, flags & ~MSG_WAITFORONE) : -EFAULT;
        if (r < 0)
            break;
        v[got++].msg_len = (unsigned)r;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (limit != 0 && zs_now_ns() >= limit)
            break;
    }
    if (t != NULL && got > 0 && user_writable(t, sizeof *t)) { /* what is left of it */
        uint64_t now = zs_now_ns(), left = limit > now ? limit - now : 0;
        *t = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    }
    return (int)call_end(&c, fd, got > 0 ? (long)got : r);
}

/* ---- Send ---- */

ssize_t zsp_write(int fd, const void *buf, size_t n)
{
    struct call c;
    struct zsock *k = call_begin(&c, "write", fd);
    if (k == NULL)
        return REAL(write)(fd, buf, n);
    struct iovec iov = {(void *)buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    return call_end(&c, fd, send_bytes(k, fd, &iov, 1, iov.iov_len, NULL, 0));
}

ssize_t zsp_writev(int fd, const struct iovec *iov, int cnt)
{
    struct call c;
    struct zsock *k = call_begin(&c, "writev", fd);
    if (k == NULL)
        return REAL(writev)(fd, iov, cnt);
    return call_end(&c, fd, cnt < 0 ? -EINVAL : do_send(k, fd, iov, (size_t)cnt, NULL, 0));
}

ssize_t zsp_pwritev2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "pwritev2", fd);
    if (k == NULL)
        return REAL(pwritev2)(fd, iov, cnt, off, flags);
    if (off != -1 || cnt < 0)
        return call_end(&c, fd, cnt < 0 || off < 0 ? -EINVAL : -ESPIPE);
    return call_end(&c, fd, do_send(k, fd, iov, (size_t)cnt, NULL, flags & 0x8 /* RWF_NOWAIT */ ? MSG_DONTWAIT : 0));
}

ssize_t zsp_send(int fd, const void *buf, size_t n, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "send", fd);
    if (k == NULL)
        return REAL(send)(fd, buf, n, flags);
    struct iovec iov = {(void *)buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    const struct msghdr nowhere = {0};
    int r = fast_open(k, fd, &nowhere, flags); /* without an address it never becomes the kernel's */
    return call_end(&c, fd, r < 0 ? r : send_bytes(k, fd, &iov, 1, iov.iov_len, NULL, flags));
}

ssize_t zsp_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
    struct call c;
    struct zsock *k = call_begin(&c, "sendto", fd);
    if (k == NULL)
        return REAL(sendto)(fd, buf, n, flags, to, len);
    struct iovec iov = {(void *)buf, n < SSIZE_MAX ? n : SSIZE_MAX};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = (void *)to, .msg_namelen = len};
    if (to != NULL && (len > sizeof(struct sockaddr_storage) || !user_readable(to, len)))
        return call_end(&c, fd, len > sizeof(struct sockaddr_storage) ? -EINVAL : -EFAULT);
    int r = fast_open(k, fd, &msg, flags);
    if (r == 1) {
        call_pass(&c);
        return REAL(sendto)(fd, buf, n, flags, to, len);
    }
    return call_end(&c, fd, r < 0 ? r : send_bytes(k, fd, &iov, 1, iov.iov_len, &msg, flags));
}

ssize_t zsp_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "sendmsg", fd);
    if (k == NULL) {
        scm_sent(msg);
        return REAL(sendmsg)(fd, msg, flags);
    }
    ssize_t r = send_message(k, fd, msg, flags);
    if (r == SEND_BY_KERNEL) {
        call_pass(&c);
        return REAL(sendmsg)(fd, msg, flags);
    }
    return call_end(&c, fd, r);
}

int zsp_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "sendmmsg", fd);
    if (k == NULL) {
        for (unsigned i = 0; i < n && i < IOV_MAX && signals_guarded(); i++) /* the kernel takes no more than that */
            scm_sent(&v[i].msg_hdr);
        return REAL(sendmmsg)(fd, v, n, flags);
    }
    unsigned sent = 0;
    ssize_t r = 0;
    n = n < IOV_MAX ? n : IOV_MAX;
    while (sent < n) {
        r = user_writable(&v[sent], sizeof v[sent]) ? send_message(k, fd, &v[sent].msg_hdr, flags) : -EFAULT;
        if (r < 0)
            break;
        v[sent++].msg_len = (unsigned)r;
    }
    if (r == SEND_BY_KERNEL) {
        call_pass(&c);
        return REAL(sendmmsg)(fd, v, n, flags);
    }
    return (int)call_end(&c, fd, sent > 0 ? (long)sent : r);
}

/* ---- Files to sockets ---- */

ssize_t zsp_sendfile(int out, int in, off_t *off, size_t n)
{
    struct call c;
    struct zsock *k = call_begin(&c, "sendfile", out);
    if (k == NULL)
        return fd_sock(fdtab_raw(in)) != NULL && !zs_passthrough() && atomic_load(&fd_sock(fdtab_raw(in))->kind) == ZK_CONN
                   ? (errno = EINVAL, -1)
                   : REAL(sendfile)(out, in, off, n);
    if (atomic_load(&k->kind) != ZK_CONN)
        return call_end(&c, out, zs_sys(SYS_sendfile, out, in, off, n));
    if (off != NULL && (!user_writable(off, sizeof *off) || *off < 0))
        return call_end(&c, out, user_readable(off, sizeof *off) ? -EINVAL : -EFAULT);
    return call_end(&c, out, stream_sendfile(k, in, off, n));
}

/* splice between a pipe and an accelerated socket, through a buffer. From a socket no more is taken than the pipe holds. */
static ssize_t splice_from_conn(struct zsock *k, int pipe, size_t n, unsigned flags)
{
    uint8_t buf[16384];
    long room = zs_sys(SYS_fcntl, pipe, F_GETPIPE_SZ), mode = zs_sys(SYS_fcntl, pipe, F_GETFL);
    int used = 0;
    zs_sys(SYS_ioctl, pipe, FIONREAD, &used);
    if (room < 0 || (mode & O_ACCMODE) == O_RDONLY)
        return mode < 0 || (mode & O_ACCMODE) == O_RDONLY ? -EBADF : -EINVAL;
    size_t want = n < sizeof buf ? n : sizeof buf;
    /* A pipe counts in pages: leave one for the partial page that a write may start in. */
    long spare = room - used - 4096;
    if (spare <= 0) { /* what poll calls writable takes a page whole (pipe(7), PIPE_BUF) */
        struct pollfd p = {.fd = pipe, .events = POLLOUT};
        bool now = zs_sys(SYS_poll, &p, 1, 0) == 1;
        int r = now ? 0 : flags & SPLICE_F_NONBLOCK ? -EAGAIN : wait_fd(pipe, POLLOUT, 0, false);
        if (r < 0)
            return r;
        spare = 4096;
    }
    if ((size_t)spare < want)
        want = (size_t)spare;
    struct iovec iov = {buf, want};
    ssize_t got = stream_recv(k, &iov, want, 0); /* SPLICE_F_NONBLOCK is about the pipe (tcp_splice_read) */
    return got <= 0 ? got : zs_sys(SYS_write, pipe, buf, (size_t)got);
}

/* How many of n bytes a pipe has; waits for some where `now` does not say otherwise. 0: it has ended. */
static ssize_t pipe_has(int pipe, size_t n, bool now)
{
    for (;;) {
        struct pollfd p = {.fd = pipe, .events = POLLIN};
        int has = 0;
        zs_sys(SYS_ioctl, pipe, FIONREAD, &has);
        if (has > 0)
            return (size_t)has < n ? has : (ssize_t)n;
        if (zs_sys(SYS_poll, &p, 1, 0) == 1 && (p.revents & (POLLIN | POLLHUP)) == POLLHUP)
            return 0;
        int r = now ? -EAGAIN : wait_fd(pipe, POLLIN, 0, false);
        if (r < 0)
            return r;
    }
}

/* From the pipe into the ring: what finds no room stays in the pipe. */
static ssize_t splice_to_conn(struct zsock *k, int pipe, size_t n, unsigned flags)
{
    long mode = zs_sys(SYS_fcntl, pipe, F_GETFL);
    if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (zs_sys(SYS_fcntl, pipe, F_GETPIPE_SZ) < 0)
        return -EINVAL;
    ssize_t has = pipe_has(pipe, n, (flags & SPLICE_F_NONBLOCK) || (mode & O_NONBLOCK));
    return has <= 0 ? has : stream_splice(k, pipe, (size_t)has, flags & SPLICE_F_NONBLOCK ? MSG_DONTWAIT : 0);
}

ssize_t zsp_splice(int in, loff_t *offin, int out, loff_t *offout, size_t n, unsigned flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "splice", in);
    int fd = in;
    bool from = k != NULL;
    if (k == NULL)
        k = call_begin(&c, "splice", fd = out);
    if (k == NULL)
        return REAL(splice)(in, offin, out, offout, n, flags);
    const unsigned known = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
    if (atomic_load(&k->kind) != ZK_CONN || offin != NULL || offout != NULL || n == 0 || (flags & ~known))
        return call_end(&c, fd, zs_sys(SYS_splice, in, offin, out, offout, n, flags));
    return call_end(&c, fd, from ? splice_from_conn(k, out, n, flags) : splice_to_conn(k, in, n, flags));
}
