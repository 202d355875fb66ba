/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Operations on the shared-memory contract that clients and the engine have in common. A "view" is one party's handle
 * on a mapped arena: who it is and how it rings a doorbell. Nothing here blocks, allocates private memory or makes a
 * system call except through the view's callbacks and futex wake-ups. Errors are negative errno values.
 */
#ifndef ZSTACK_SHM_OPS_H
#define ZSTACK_SHM_OPS_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <zstack/shm.h>

/* A segment of buffers as this process has it mapped. The range of addresses stays that number's; what was there and is no more
 * reads as zeros. */
struct zs_mapped {
    _Atomic uint32_t segment; /* ZS_SEGMENT_BUFFERS(), 0: none */
    bool own;                 /* writable */
    bool sparse;              /* to be mapped by zs_map_sparse */
    uint64_t size;
    uint8_t *base;            /* ZS_BUFFERS_MAX bytes of addresses; NULL: none yet */
};

struct zs_ref;
struct zs_view {
    struct zs_arena *arena;
    uint32_t client;    /* own client id, or ZS_CLIENT_ENGINE */
    uint64_t mem_limit; /* private copy of header.mem_limit, taken at attach */
    uint32_t cursor;    /* where the last search in a hint bitmap began; spreads parties over the tables */
    /* Rings the doorbell of a waiter that is asleep. `gen` is the waiter's generation as just read. */
    void (*ring)(struct zs_view *view, uint32_t waiter, uint32_t gen);
    struct zs_client *stats; /* own counters, NULL for the engine */
    /* The segment of received packets, mapped for reading, to resolve references. NULL, 0: none; a reference is a fault. */
    const uint8_t *rx_seg;
    uint64_t rx_size;
    /* Segments of buffers, ZS_MAX_SEGMENTS of them. NULL: a reference into one is a fault. */
    struct zs_mapped *mapped;
    /* Maps the segment of a reference that was met in the ring of `session` for the first time. 0; -ENOBUFS: not now;
     * -EPROTO: it cannot be. NULL: all are mapped that there are. */
    int (*map)(struct zs_view *view, const struct zs_ref *ref, uint32_t session);
    int32_t async_pid;   /* the last program that was found to be of this domain, for signals (async.c) */
    uint32_t async_born; /* zs_born() of it */
    bool locked;   /* the program locks all that it maps (mlockall with MCL_FUTURE) */
    bool confined; /* a seccomp filter of this process lets only calls on existing descriptors and futexes through */
};

/* ---- Hint bitmaps (hint.c) ---- */
/* Claims a likely free index below n: sets its bit and returns it; -ENOSPC when all bits are set. The caller then claims the owner
 * word and on failure simply asks again. */
int64_t zs_hint_claim(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t n, uint32_t start);
void zs_hint_clear(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t i);
/* Next set bit at or after i, or n when there is none. */
uint32_t zs_hint_next(_Atomic uint64_t *leaf, uint32_t n, uint32_t i);

/* ---- Blocks (block.c) ---- */
/* A block of at least `size` bytes for `session`; 0 when the limit is reached or the class is exhausted. Contents undefined. */
zs_block_ref zs_block_alloc(struct zs_view *v, uint64_t size, uint32_t session);
/* Frees a block that `session` holds; anything else (a stale or forged reference) is ignored. */
void zs_block_free(struct zs_view *v, zs_block_ref ref, uint32_t session);
/* True when ref is a block held by session. */
bool zs_block_held(const struct zs_view *v, zs_block_ref ref, uint32_t session);
/* Frees every block held by `session` (audit after a death or an inconsistency). Returns how many. */
uint32_t zs_block_free_all(struct zs_view *v, uint32_t session);

/* ---- Sessions (session.c) ---- */
/* Claims a free session, state EMBRYO, owner = view's client; -ENOBUFS when none is free. */
int64_t zs_session_alloc(struct zs_view *v, uint32_t kind);
/* Returns the slot: blocks freed, generation advanced, subscribers cleared, owner 0. The caller made sure that nobody uses it. */
void zs_session_free(struct zs_view *v, uint32_t index);
/* Makes two EMBRYO sessions the two ends of a connection and marks both OPEN (client end) and EMBRYO (server end). */
void zs_session_pair(struct zs_view *v, uint32_t client_end, uint32_t server_end);
/* Closes this end of a TCP connection as close(2) does: unread data or `abort` -> RST to the peer, else FIN; wakes the
 * peer; frees both ends when the other is closed too. Idempotent; safe to repeat after a crash in the middle. */
void zs_session_close(struct zs_view *v, uint32_t index, bool abort);
/* Sends FIN (shutdown SHUT_WR): no more data in the direction towards the peer. */
void zs_session_fin(struct zs_view *v, uint32_t index);
/* Completes the freeing of a pair that a client left in state FREEING when it died. Only for the engine, some time
 * after that death, when no live client can be in the middle of it. */
void zs_session_finish_free(struct zs_view *v, uint32_t index);
/* Resets the connection on both ends: ECONNRESET, both woken. Neither is closed: each still belongs to its owner. */
void zs_session_reset(struct zs_view *v, uint32_t index);
/* The same for inconsistent shared state, marked by ZS_F_FAULT and counted. */
void zs_session_fault(struct zs_view *v, uint32_t index);
/* The other end, or NULL if it is gone or not a session. */
struct zs_session *zs_session_peer(struct zs_view *v, const struct zs_session *s);
static inline struct zs_session *zs_session_at(const struct zs_view *v, uint32_t index)
{
    return index < ZS_MAX_SESSIONS ? &v->arena->session[index] : NULL;
}
static inline uint32_t zs_session_index(const struct zs_view *v, const struct zs_session *s)
{
    return (uint32_t)(s - v->arena->session);
}

/* ---- Locks (lock.c) ---- */
/* Robust lock words: hold the client id. The engine breaks locks of dead owners. Returns false after about a
 * millisecond without success when `bounded`, else keeps trying. */
bool zs_lock(struct zs_view *v, _Atomic uint32_t *word, bool bounded);
void zs_unlock(struct zs_view *v, _Atomic uint32_t *word);

/* ---- Readiness (notify.c) ---- */
/* Something became readable (data, EOF, error, a connection to accept) or writable on `s`: sets its subscribers' bits
 * and wakes those asleep, and threads in rx_wait. Call after publishing. */
/* An urgent byte of the direction that ends in rx, before it is published: ZS_URGENT(). As in tcp_check_urg, an earlier one at
 * which the reader stands leaves the stream. */
void zs_urgent_put(struct zs_session *rx, uint64_t word);
/* SIGURG to whoever F_SETOWN named for the socket: an urgent byte came. */
void zs_urgent_signal(struct zs_view *v, const struct zs_session *s);
void zs_notify(struct zs_view *v, struct zs_session *s);
void zs_notify_room(struct zs_view *v, struct zs_session *s); /* it became writable */
void zs_notify_own(struct zs_view *v, struct zs_session *s);  /* what the socket's own process did: no signal comes of it */
/* Adds a subscriber; -ENOBUFS when no room. Removes one. */
int zs_subscribe(struct zs_view *v, struct zs_session *s, uint32_t waiter, uint32_t slot, uint32_t flags);
void zs_unsubscribe(struct zs_view *v, struct zs_session *s, uint32_t waiter, uint32_t slot);
/* Removes every subscriber that names `waiter` (the waiter is going away). */
void zs_unsubscribe_all(struct zs_view *v, struct zs_session *s, uint32_t waiter);
int64_t zs_waiter_alloc(struct zs_view *v, uint32_t owner);
void zs_waiter_free(struct zs_view *v, uint32_t waiter);
/* ---- Waiters (waiter.c) ---- */
/* Hints at a slot, with a full barrier after it: then `asleep` is to be looked at. */
void zs_waiter_hint(struct zs_waiter *w, uint32_t slot);
/* Takes up to `max` slots that were hinted at, some of them twice; fewer than max: there are no more. By one thread at a time. */
uint32_t zs_waiter_harvest(struct zs_waiter *w, uint32_t *slots, uint32_t max);
/* Whether there is something to harvest: two lines that only a producer's hint takes from this CPU's cache. */
static inline bool zs_waiter_hinted(const struct zs_waiter *w)
{
    uint32_t head = atomic_load_explicit(&w->recent_head, memory_order_relaxed);
    uint32_t entry = atomic_load_explicit(&w->recent[head % ZS_HINTS], memory_order_relaxed);
    return ZS_HINT_IS_OF(entry, ZS_HINT_LAP(head)) || atomic_load_explicit(&w->top, memory_order_relaxed) != 0;
}
/* The line that the next hint will be written to is fetched for writing. */
static inline void zs_waiter_fetch(const struct zs_waiter *w)
{
    uint32_t tail = atomic_load_explicit(&w->recent_tail, memory_order_relaxed);
    __asm__ volatile("prefetchw %0" : : "m"(w->recent[tail % ZS_HINTS]));
}
/* Before a sleep, by who harvests: false when the queue's words make no sense, as after a stray write. Then every slot is hinted at. */
bool zs_waiter_settle(struct zs_waiter *w);
int zs_futex_wake(_Atomic uint32_t *word, int count);

/* ---- Signals of O_ASYNC sockets (async.c) ---- */
/* Raises what F_SETOWN and F_SETSIG ask for; band: POLL* bits as si_band has them. */
void zs_async_raise(struct zs_view *v, struct zs_session *s, long band);
long zs_async_band(struct zs_view *v, const struct zs_session *s);
#define ZS_ASYNC_OUT (POLLOUT | POLLWRNORM | POLLWRBAND)
/* When a process started, in a form that tells processes of one number apart; 0: there is none, or /proc does not tell. */
uint32_t zs_born(int32_t pid);

/* Sets one bit of a waiter and wakes it when it sleeps. Nothing happens when its generation is another. */
void zs_waiter_signal(struct zs_view *v, uint32_t waiter, uint32_t gen, uint32_t slot);

/* ---- Loans (loan.c) ---- see struct zs_loan */
/* A root for memory of a segment of buffers (0: received packets), not held by anybody yet: its index, or -ENOBUFS. */
int64_t zs_loan_new(struct zs_view *v, uint32_t segment);
/* Another hold on the memory of `loan`, which this client holds. -ENOBUFS; -ESTALE: not held. */
int64_t zs_loan_again(struct zs_view *v, uint32_t loan, uint32_t gen);
/* Ends the hold of `holder`: a ZS_HOLD_* word, or 0 for one that was not given to anybody. False: it is not its any more. */
bool zs_loan_end(struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t holder);
/* The hold goes from a session's reference ring to this client. */
bool zs_loan_take(struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t session);
bool zs_loan_held(const struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t holder);
/* A root that nobody holds any more, or that is gone: its memory is free. */
bool zs_loan_over(const struct zs_view *v, uint32_t loan, uint32_t gen);
/* The slot is free again; for a root that is over, by its owner. */
void zs_loan_free(struct zs_view *v, uint32_t loan);
/* Tells a root's owner that it is over, as the last to end a hold does. */
void zs_loan_tell(struct zs_view *v, uint32_t loan);

/* ---- Segments of buffers (mapped.c) ---- the callers see to it that each is changed by one thread at a time */
/* Maps `size` bytes of shared memory, at `at` (MAP_FIXED) unless that is NULL, without filling them, also for a program that locks
 * what it maps: mmap would make every page of it. NULL: no room. */
void *zs_map_sparse(void *at, uint64_t size, int prot, int fd);
#define ZS_MAPPED_SPACE ((int64_t)(ZS_BUFFERS_MAX + (UINT64_C(2) << 20))) /* addresses that the first one takes */
/* Maps one in place of what was there: 0, -ENOMEM. own: for writing. */
int zs_mapped_put(struct zs_mapped *m, uint32_t segment, int fd, uint64_t size, bool own);
/* It is no more, or no longer wanted. */
void zs_mapped_drop(struct zs_mapped *m);

/* ---- Byte rings (ring.c) ---- see ring.h */

/* ---- Datagrams (dgram.c) ---- */
/* Puts one record and its payload (cnt pieces, rec->len bytes, at most ZS_DGRAM_PIECES) into the ring of a UDP session. False: no
 * room, or the socket is closed; counted in rx_dropped. The caller notifies. */
#define ZS_DGRAM_PIECES 64u
bool zs_dgram_put(struct zs_view *v, struct zs_session *to, struct zs_udp_record *rec, const struct iovec *iov, size_t cnt);

/* ---- Accept queues (accept_queue.c) ---- */
int64_t zs_listener_alloc(struct zs_view *v, uint32_t session, uint32_t backlog);
void zs_listener_free(struct zs_view *v, uint32_t listener);
/* TCP_FASTOPEN_KEY of a listener: n keys, one after another, 0 to ZS_FASTOPEN_KEYS. Nothing if it is not that one any more. */
void zs_listener_set_keys(struct zs_view *v, uint32_t listener, uint32_t gen, const uint8_t *keys, uint32_t n);
/* How many; they are copied to `keys`. */
uint32_t zs_listener_keys(struct zs_view *v, uint32_t listener, uint8_t keys[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN]);
/* 0, -EAGAIN full (backlog), -ECONNREFUSED generation changed. */
int zs_accept_push(struct zs_view *v, uint32_t listener, uint32_t gen, uint32_t session, uint32_t session_gen);
/* As that, of one that was let in before: the backlog, which others may have filled since, is not asked again. */
int zs_accept_push_admitted(struct zs_view *v, uint32_t listener, uint32_t gen, uint32_t session, uint32_t session_gen);
/* Session index taken from the queue, or -EAGAIN. Entries whose session is stale are skipped. */
int64_t zs_accept_pop(struct zs_view *v, uint32_t listener);
uint32_t zs_accept_count(struct zs_view *v, uint32_t listener);
/* True when `session` is in the queue. */
bool zs_accept_contains(struct zs_view *v, uint32_t listener, uint32_t session);
/* Claims the source port `port` (host order) for a connection through this listener. */
bool zs_eph_claim(struct zs_view *v, uint32_t listener, uint16_t port);
void zs_eph_release(struct zs_view *v, uint32_t listener, uint32_t gen, uint16_t port);

/* ---- listen and connect at the same time (announce.c) ---- */
/* This process is about to do that (ZS_ABOUT_TO_*) with the kernel's socket of `port` (host order), until zs_announce_end() of the
 * result. -ENOSPC: too many are at it, and nobody learns of this one. */
int zs_announce(struct zs_view *v, uint32_t what, uint16_t port);
void zs_announce_end(struct zs_view *v, int announced); /* negative: nothing */
/* Whether somebody is about to. To be asked after the own announcement, and before the port table is looked at. */
bool zs_announced(const struct zs_view *v, uint32_t what, uint16_t port);

/* ---- Lookup (lookup.c) ---- */
/* The listener session that a connection to `to` reaches; -ECONNREFUSED none. `port`: of the engine, by which it came, 0: from this
 * host; sockets bound to a port (SO_BINDTODEVICE) are found by that alone. `hash` spreads SO_REUSEPORT groups. */
int64_t zs_lookup_listener(struct zs_view *v, const struct zs_addr *to, uint32_t port, uint32_t hash);
/* The UDP session that a datagram from `from` to `to` reaches; connected sockets first. -ECONNREFUSED none. */
int64_t zs_lookup_udp(struct zs_view *v, const struct zs_addr *to, const struct zs_addr *from, uint32_t port, uint32_t hash);
/* Every UDP session that a datagram to a group or a broadcast reaches. */
void zs_lookup_udp_each(struct zs_view *v, const struct zs_addr *to, const struct zs_addr *from, uint32_t port,
                        void (*each)(void *arg, uint32_t session), void *arg);
uint32_t zs_lookup_hash(const struct zs_addr *to, const struct zs_addr *from); /* of a flow, for the above */
/* True for the address of another host that a port of the engine leads to. */
bool zs_addr_on_wire(struct zs_view *v, const struct zs_addr *to);
/* The port of the engine that leads to an address, a group's too, from 1; 0: none. */
uint32_t zs_wire_port_to(struct zs_view *v, const struct zs_addr *to);
/* The port that has this address; 0: none. */
uint32_t zs_wire_port_with(struct zs_view *v, const uint8_t ip[16]);
bool zs_wire_port_copy(const struct zs_view *v, uint32_t port, struct zs_wire_port *p); /* false: there is no such port */
/* The limited broadcast address, or that of the port's network. */
bool zs_wire_is_broadcast(const struct zs_view *v, uint32_t port, const uint8_t ip[16]);
/* The address that packets have which leave by a port; false: it has none of that protocol. */
bool zs_wire_source(const struct zs_view *v, uint32_t port, bool v6, uint8_t ip[16]);
bool zs_addr_is_group(const uint8_t ip[16]); /* multicast */
/* True for an address of the engine's ports. */
bool zs_addr_is_engine(struct zs_view *v, const uint8_t ip[16]);
bool zs_addr_is_loopback(const uint8_t ip[16]);
/* True for loopback addresses, the host's own and the engine's. */
bool zs_addr_is_own(struct zs_view *v, const uint8_t ip[16]);
bool zs_addr_is_any(const uint8_t ip[16]);
/* The source that an unbound socket on this host has towards `to`, as the kernel's routes give it. */
void zs_addr_source(const uint8_t to[16], uint8_t from[16]);
bool zs_addr_is_v4(const uint8_t ip[16]);

#endif
