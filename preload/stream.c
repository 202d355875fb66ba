/* SPDX-License-Identifier: BSD-3-Clause
 * Data into a TCP connection in shared memory, with the order of checks that tcp_sendmsg has; and what both directions need. */
#include "stream.h"
#include "capring.h"

/* Default capacity when SO_SNDBUF and SO_RCVBUF were left alone; Linux' autotuning ends in the same region. */
#define DEFAULT_CAP (UINT64_C(4) << 20)

static uint64_t ring_cap(const struct zsock *k)
{
    uint32_t snd = atomic_load_explicit(&k->s->opts.sndbuf, memory_order_relaxed);
    uint32_t rcv = atomic_load_explicit(&k->peer->opts.rcvbuf, memory_order_relaxed);
    if (snd == 0 && rcv == 0)
        return DEFAULT_CAP;
    /* What Linux would hold in flight: one buffer on each side (the values are doubled, socket(7)). */
    uint64_t cap = (snd != 0 ? snd / 2 : 1u << 20) + (rcv != 0 ? rcv / 2 : 1u << 20);
    return cap < DEFAULT_CAP ? cap : DEFAULT_CAP;
}

/* What fits into the ring that is there grows none: the options of both ends need not be looked at. */
static uint64_t cap_for(struct zsock *k, uint64_t n)
{
    return zs_tx_fits(&k->d->view, k->peer, &k->tx, n) ? DEFAULT_CAP : ring_cap(k);
}

void stream_fault(struct zsock *k)
{
    zs_log(ZS_LOG_WARN, "shared memory of a connection is inconsistent: it was reset");
    zs_session_fault(&k->d->view, k->index);
}

void stream_abandon(struct zsock *k)
{
    zs_session_reset(&k->d->view, k->index);
    if (zs_domain_engine_dead(k->d))
        zs_session_close(&k->d->view, zs_session_index(&k->d->view, k->peer), true);
}

/* A dead engine cannot tell us of a dead peer. */
void stream_check_peer(struct zsock *k)
{
    if (atomic_load(&k->d->alive) || k->peer == NULL)
        return;
    if (zs_proc.confined && k->d->ctl_fd < 0) /* it could not attach again; the engine may be well */
        return;
    if (atomic_load(&k->s->flags) & ZS_F_WIRE) {
        stream_abandon(k);
        return;
    }
    uint32_t owner = atomic_load(&k->peer->owner);
    if (owner == 0 || owner == ZS_CLIENT_ENGINE || (atomic_load(&k->peer->flags) & ZS_F_SHARED))
        return;
    uint32_t pid = atomic_load(&k->d->view.arena->client[ZS_CLIENT_SLOT(owner) % ZS_MAX_CLIENTS].pid);
    if (pid != 0 && !zs_proc.confined && zs_sys(SYS_kill, pid, 0) == -ESRCH)
        zs_session_close(&k->d->view, zs_session_index(&k->d->view, k->peer), true);
}

/* Nothing happened on the connection for a while: what it sends into needs no ring until it sends again. */
void stream_idle(struct zsock *k)
{
    if (atomic_load(&k->kind) != ZK_CONN || zs_tx_unread(k->peer) != 0)
        return;
    _Atomic uint32_t *held;
    if (!atomic_load_explicit(&k->left, memory_order_relaxed))
        held = sock_lock_tx(k);
    else if (!zs_lock(&k->d->view, held = &k->peer->rx_prod.lock, true))
        return; /* its holder may have been stopped */
    k->tx_own.size = 0;
    zs_tx_detach_idle(&k->d->view, k->peer);
    sock_unlock(k, held);
}

/* ---- Waiting ---- */

/* What the stack has not sent yet. It tells how far it is while TCP_NOTSENT_LOWAT is set; what is acknowledged was sent. */
uint64_t stream_unsent(const struct zsock *k)
{
    const struct zs_session *out = k->peer;
    uint64_t sent = atomic_load(&out->rx_cons.sent), head = atomic_load(&out->rx_cons.head);
    uint64_t tail = atomic_load(&out->rx_prod.tail);
    sent = sent > head ? sent : head;
    return tail > sent ? tail - sent : 0;
}

bool stream_may_fill(const struct zsock *k, unsigned wake)
{
    if (ZS_LIKELY(!(atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_WIRE)))
        return true;
    uint32_t low = atomic_load_explicit(&k->s->opts.notsent_lowat, memory_order_relaxed);
    return low == 0 || stream_unsent(k) << wake < low;
}

static bool tx_room(struct zsock *k)
{
    return stream_may_fill(k, 0) && zs_tx_room(&k->d->view, k->peer, &k->tx, ring_cap(k)) != 0;
}

static bool tx_ready(struct zsock *k)
{
    return (atomic_load(&k->s->flags) & ZS_F_PEER_CLOSED) || atomic_load(&k->s->error) != 0 || tx_room(k);
}

/* The first wait without progress only spins: the write that follows may grow the ring for a reader that stands still. */
static int wait_tx(struct zsock *k, uint64_t deadline, bool restartable, bool *spun)
{
    struct zs_spin spin = {.limit_us = zs_proc.conf.spin_us};
    bool spinning = spin.limit_us != 0 && zs_spin_begin(k->d);
    while (spinning && !tx_ready(k) && zs_thread.npending == 0 && zs_spin_round(k->d, &spin))
        ;
    if (spinning)
        zs_spin_end(k->d, &spin);
    int r = spin_signals(restartable);
    if (r < 0 || tx_ready(k))
        return r;
    if (!*spun) {
        *spun = true;
        return 0;
    }
    _Atomic uint32_t *want = &k->peer->rx_prod.want_space;
    uint32_t val = atomic_fetch_or(want, ZS_WANT_FUTEX) | ZS_WANT_FUTEX;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_rx_consume */
    if (tx_ready(k))
        return 0;
    r = wait_word(k->d, want, val, deadline, restartable);
    stream_check_peer(k);
    return r;
}

/* ---- Send ---- */

#define ROOM_TRIES 4u /* of a send that does not wait, where there is room after each */

/* What stops a send: 0 nothing, else negative errno; *swallow: the peer is gone, this write vanishes and brings its RST. */
static int send_check(struct zsock *k, bool *swallow)
{
    struct zs_session *s = k->s;
    *swallow = false;
    if (atomic_load_explicit(&s->error, memory_order_relaxed) != 0)
        return -(int)atomic_exchange(&s->error, 0);
    uint32_t state = atomic_load_explicit(&s->state, memory_order_relaxed);
    if (state == ZS_S_EMBRYO)
        return stream_syn_waits(k) ? 0 : k->connecting ? -EAGAIN : -ENOTCONN;
    if (atomic_load_explicit(&k->peer->rx_prod.fin, memory_order_relaxed) != 0)
        return -EPIPE;
    uint32_t flags = atomic_load_explicit(&s->flags, memory_order_relaxed);
    if (ZS_LIKELY(!(flags & ZS_F_PEER_CLOSED)))
        return 0;
    if (atomic_load(&s->rx_prod.fin) == ZS_RST || (atomic_fetch_or(&s->flags, ZS_F_RST_SENT) & ZS_F_RST_SENT))
        return -EPIPE;
    *swallow = true;
    return 0;
}

/* The write to a closed peer succeeds, and its RST comes back at once, as over Linux' loopback. */
static void rst_comes_back(struct zsock *k)
{
    uint32_t none = 0;
    atomic_store(&k->s->rx_prod.fin, ZS_RST);
    atomic_compare_exchange_strong(&k->s->error, &none, EPIPE);
    zs_notify(&k->d->view, k->s);
}

/* A write found no room: ask for an event, then look once more, since the reader may have read between. That there is an edge to come is
 * counted first: a thread in epoll_wait may be told of the room before this one goes on. */
static int ask_for_room(struct zsock *k)
{
    atomic_fetch_add(&k->out_seq, 1);
    atomic_fetch_or(&k->peer->rx_prod.want_space, ZS_WANT_EVENT);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_rx_consume */
    return tx_room(k) ? 0 : -EAGAIN;
}

/* What follows a piece of a send: bytes put, 0 come again, -EAGAIN full, other negative errno. */
static int64_t sent(struct zsock *k, int64_t put)
{
    if (put > 0)
        zs_notify(&k->d->view, k->peer);
    if (put == -EPROTO) {
        stream_fault(k);
        return -(int64_t)atomic_exchange(&k->s->error, 0);
    }
    return put == 0 ? ask_for_room(k) : put;
}

/* Where the bytes of a send come from: memory, a file that is read straight into the ring, or memory that is lent. */
struct source {
    const struct iovec *iov;
    size_t skip; /* the first bytes of iov that were sent before */
    int file; /* -1: iov */
    bool pipe; /* which is what the file is */
    off_t *off; /* file position to use and advance, NULL: the descriptor's own */
    bool end; /* the file ended */
    struct zs_ref *ref; /* lent, in one piece of at least that size; NULL: iov or file */
    uint32_t least;
    const uint8_t *urgent; /* the one byte to send, MSG_OOB */
    bool unchecked; /* whether the memory is there */
};

/* The mark is there before the byte, so that nobody reads past it unawares. */
static int64_t put_urgent(struct zsock *k, struct source *src)
{
    _Atomic uint64_t *mark = &k->peer->rx_prod.urgent;
    uint64_t before = atomic_load(mark), at = atomic_load(&k->peer->rx_prod.tail);
    zs_urgent_put(k->peer, ZS_URGENT(at, ZS_URGENT_KNOWN | *src->urgent));
    int64_t put = zs_tx_write(&k->d->view, k->peer, &k->tx, src->iov, 0, 1, ring_cap(k));
    if (put <= 0)
        atomic_store(mark, before);
    return put;
}

static long read_file(const struct source *src, void *to, size_t n)
{
    const struct iovec iov = {to, n};
    /* Somebody else may have read what was in a pipe. */
    long got = src->pipe ? zs_sys(SYS_preadv2, src->file, &iov, 1, -1L, -1L, RWF_NOWAIT) : -EOPNOTSUPP;
    if (got == -EOPNOTSUPP)
        got = src->off != NULL ? zs_sys(SYS_pread64, src->file, to, n, *src->off) : zs_sys(SYS_read, src->file, to, n);
    if (got > 0 && src->off != NULL)
        *src->off += got;
    return got;
}

/* sendfile(2) reads before it sends: at the end of the file there is nothing to fail. */
static bool file_ended(const struct source *src)
{
    uint8_t byte;
    long at = src->off != NULL ? *src->off : zs_sys(SYS_lseek, src->file, 0, SEEK_CUR);
    return zs_sys(SYS_pread64, src->file, &byte, 1, at) == 0;
}

static int64_t put_file(struct zsock *k, struct source *src, size_t n)
{
    uint8_t *span;
    int64_t room = zs_tx_span(&k->d->view, k->peer, &k->tx, n < 131072 ? n : 131072, ring_cap(k), &span);
    if (room <= 0)
        return room;
    long got = read_file(src, span, (size_t)room);
    if (got <= 0) {
        src->end = true;
        return got;
    }
    if (zs_capturing(&k->d->view))
        zs_capture_data(&k->d->view, k->peer, &(struct iovec){span, (size_t)got}, 0, (uint64_t)got);
    zs_tx_publish(k->peer, (uint64_t)got);
    return got;
}

/* There is room, but the range cannot be lent: -ENOBUFS, its bytes can be copied. */
static int64_t lent(struct zsock *k, int64_t put)
{
    int64_t r = sent(k, put == -EAGAIN ? 0 : put);
    return r == 0 ? -ENOBUFS : r;
}

static int64_t send_once(struct zsock *k, struct source *src, size_t skip, size_t n)
{
    struct zs_view *v = &k->d->view;
    _Atomic uint32_t *held = sock_lock_tx(k);
    k->tx_own.size = 0;
    int64_t put = atomic_load_explicit(&k->peer->rx_prod.fin, memory_order_relaxed) != 0 ? -EPIPE /* since send_check */
                  : !stream_may_fill(k, 0) ? 0
                  : src->urgent != NULL ? put_urgent(k, src)
                  : src->ref != NULL ? zs_tx_lend_hold(v, k->peer, &k->tx, src->ref, src->least, ring_cap(k))
                  : src->file < 0  ? zs_tx_write(v, k->peer, &k->tx, src->iov, skip, n, cap_for(k, n))
                                   : put_file(k, src, n);
    sock_unlock(k, held);
    if (src->ref != NULL)
        return lent(k, put);
    return src->end ? put : sent(k, put);
}

/* How much of a write to a closed peer is taken: a send buffer's worth, of a file what the kernel splices at a time. */
static size_t vanish(struct zsock *k, struct source *src, size_t n)
{
    const size_t splice = 65536;
    uint8_t unread[4096];
    size_t most = ring_cap(k), done = 0;
    rst_comes_back(k);
    n = n < most ? n : most;
    if (src->file < 0)
        return n;
    n = n < splice ? n : splice;
    while (done < n) {
        long got = read_file(src, unread, n - done < sizeof unread ? n - done : sizeof unread);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    src->end = done == 0;
    return done;
}

static void raise_sigpipe(int flags)
{
    if (!(flags & MSG_NOSIGNAL))
        zs_sys(SYS_tgkill, zs_sys(SYS_getpid), zs_sys(SYS_gettid), SIGPIPE);
}

static ssize_t send_all(struct zsock *k, struct source *src, size_t n, int flags)
{
    size_t done = 0;
    uint64_t deadline = 0;
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load_explicit(&k->nonblock, memory_order_relaxed);
    ssize_t r = 0;
    bool spun = false;
    unsigned again = 0;
    do {
        bool swallow;
        r = send_check(k, &swallow);
        if (r == -EPIPE && src->file >= 0 && file_ended(src)) {
            src->end = true;
            r = 0;
            break;
        }
        if (r == 0 && swallow) {
            done = vanish(k, src, n);
            break;
        }
        if (r == 0 && n == 0)
            break;
        if (r == 0 && src->unchecked) {
            src->unchecked = false;
            r = user_iov(src->iov, SIZE_MAX, 0, n, false) ? 0 : -EFAULT;
        }
        if (r == 0)
            r = (ssize_t)send_once(k, src, src->skip + done, n - done);
        if (src->end)
            break;
        if (r > 0) {
            done += (size_t)r;
            spun = false;
            if (src->ref != NULL)
                break;
            continue;
        }
        if (r != -EAGAIN && r != 0 && r != -ENOBUFS)
            break;
        if (r == 0 && !block && ++again < ROOM_TRIES)
            continue; /* read just now, and perhaps nothing is left to read, so that no event comes */
        if (!block || r == -ENOBUFS) {
            if (r != -EAGAIN)
                atomic_fetch_add(&k->out_seq, 1);
            if (r == 0)
                zs_notify(&k->d->view, k->s);
            break;
        }
        uint64_t timeout = atomic_load_explicit(&k->s->opts.sndtimeo_us, memory_order_relaxed);
        if (deadline == 0)
            deadline = stream_deadline(timeout);
        r = wait_tx(k, deadline, timeout == 0 && done == 0, &spun);
        if (r < 0)
            break;
    } while (done < n);
    if (done > 0 && done < n)
        atomic_fetch_add(&k->out_seq, 1);
    stream_count(&k->d->view.stats->bytes_out, done);
    if (done > 0)
        return (ssize_t)done;
    if (r == -EPIPE)
        raise_sigpipe(flags);
    return r < 0 ? r : n == 0 || src->end ? 0 : -EAGAIN;
}

/* MSG_MORE: the stack holds a segment that is not full back, as with a cork, until the next send. */
static void tell_more(struct zsock *k, bool more)
{
    _Atomic uint32_t *bits = &k->s->opts.bits;
    if (ZS_LIKELY(!(atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_WIRE)) ||
        !(atomic_load_explicit(bits, memory_order_relaxed) & ZS_O_MORE) == !more)
        return;
    if (more)
        atomic_fetch_or(bits, ZS_O_MORE);
    else
        atomic_fetch_and(bits, ~ZS_O_MORE);
}

/* The last byte of a send with MSG_OOB is urgent (tcp(7)). */
static ssize_t send_urgent(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    struct source before = {.iov = iov, .file = -1};
    ssize_t r = n > 1 ? send_all(k, &before, n - 1, flags) : 0;
    if (r < 0 || (size_t)r < n - 1)
        return r;
    while (iov->iov_len == 0 || iov->iov_len <= n - 1) {
        n -= iov->iov_len;
        iov++;
    }
    struct iovec last = {(uint8_t *)iov->iov_base + n - 1, 1};
    struct source src = {.iov = &last, .file = -1, .urgent = last.iov_base};
    ssize_t one = send_all(k, &src, 1, flags);
    if (one == 1)
        zs_urgent_signal(&k->d->view, k->peer);
    return one < 0 && r > 0 ? r : r + one;
}

/* The first write of a connection whose SYN waited for it. As in Linux, a blocking one returns when the connection is there. */
static ssize_t send_with_syn(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    struct source src = {.iov = iov, .file = -1, .unchecked = true};
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load_explicit(&k->nonblock, memory_order_relaxed);
    ssize_t r = send_all(k, &src, n, flags | MSG_DONTWAIT);
    if (r < 0)
        return r;
    int err = conn_fastopen_sent(k, block);
    if (err < 0)
        return err;
    if (!block || (size_t)r == n)
        return r;
    src.skip = (size_t)r;
    ssize_t rest = send_all(k, &src, n - (size_t)r, flags);
    return rest > 0 ? r + rest : r;
}

static ssize_t send_stream(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    struct source src = {.iov = iov, .file = -1, .unchecked = true};
    if (ZS_UNLIKELY(stream_syn_waits(k)))
        return send_with_syn(k, iov, n, flags);
    tell_more(k, flags & MSG_MORE);
    if (!(flags & MSG_OOB) || n == 0)
        return send_all(k, &src, n, flags);
    return user_iov(iov, SIZE_MAX, 0, n, false) ? send_urgent(k, iov, n, flags) : -EFAULT;
}

/* Where the bytes go when they fit as they are. What this process remembers counts while no other one writes (`alone`); then it need not
 * look at the end of the stream either, which only it sets. */
static uint8_t *place_for(struct zsock *k, const struct iovec *iov, size_t n, bool alone)
{
    struct zs_view *v = &k->d->view;
    uint8_t *place = alone ? zs_tx_place_own(v, &k->tx, &k->tx_own, n) : NULL;
    if (place == NULL && atomic_load_explicit(&k->peer->rx_prod.fin, memory_order_relaxed) == 0)
        place = zs_tx_place(v, k->peer, &k->tx, &k->tx_own, n);
    return place != NULL && user_iov(iov, SIZE_MAX, 0, n, false) ? place : NULL;
}

/* What send_all comes to nearly always: nothing is the matter with the connection, and there is room. */
static bool send_small(struct zsock *k, const struct iovec *iov, size_t n)
{
    const struct zs_session *s = k->s;
    struct zs_view *v = &k->d->view;
    struct zs_session *to = k->peer;
    if (n == 0 || atomic_load_explicit(&s->error, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&s->state, memory_order_relaxed) != ZS_S_OPEN ||
        (atomic_load_explicit(&s->flags, memory_order_relaxed) & (ZS_F_WIRE | ZS_F_PEER_CLOSED)))
        return false;
    _Atomic uint32_t *held = sock_lock_tx(k);
    bool alone = held != &to->rx_prod.lock;
    uint8_t *place = place_for(k, iov, n, alone);
    if (place != NULL) {
        stream_copy(place, iov, n, true);
        zs_tx_placed(to, &k->tx_own, n);
    }
    if (!alone)
        k->tx_own.size = 0;
    sock_unlock(k, held);
    if (place == NULL)
        return false;
    zs_notify(v, to);
    stream_count(&v->stats->bytes_out, n);
    return true;
}

ssize_t stream_send(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    const int plain = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE; /* MSG_MORE is for the wire */
    if (ZS_LIKELY(!(flags & ~plain)) && send_small(k, iov, n))
        return (ssize_t)n;
    ssize_t r = send_stream(k, iov, n, flags);
    if (ZS_UNLIKELY(flags & MSG_ZEROCOPY) && r > 0 && zerocopy_asked(k, flags))
        zerocopy_done(k);
    return r;
}

int64_t stream_lend(struct zsock *k, struct zs_ref *ref, uint32_t least, int flags)
{
    struct source src = {.file = -1, .ref = ref, .least = least};
    return send_all(k, &src, ref->len, flags | MSG_NOSIGNAL);
}

ssize_t stream_splice(struct zsock *k, int pipe, size_t n, int flags)
{
    struct source src = {.file = pipe, .pipe = true};
    return send_all(k, &src, n, flags);
}

/* off NULL: the file's own position, which advances (sendfile(2)). */
ssize_t stream_sendfile(struct zsock *k, int file, off_t *off, size_t n)
{
    struct source src = {.file = file, .off = off};
    if (file < 0)
        return -EBADF;
    if (off == NULL && zs_sys(SYS_lseek, file, 0, SEEK_CUR) == -ESPIPE)
        return -EINVAL; /* what has no position is no source (splice_direct_to_actor) */
    ssize_t r = send_all(k, &src, n, 0);
    return r == -ESPIPE || r == -EISDIR ? -EINVAL : r;
}
