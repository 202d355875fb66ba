/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The session, a socket's block in shared memory: part of the contract that <zstack/shm.h> defines, which includes it. */
#ifndef ZSTACK_SESSION_H
#define ZSTACK_SESSION_H

#ifndef ZSTACK_SHM_H
#error "include <zstack/shm.h>"
#endif

enum zs_session_kind { ZS_KIND_NONE, ZS_KIND_TCP, ZS_KIND_TCP_LISTEN, ZS_KIND_UDP };

/* The life of a session. Only these steps: FREE -> EMBRYO (claimed by a client) -> QUEUED (server end, in an accept
 * queue, owned by the engine) -> OPEN -> CLOSED (this end closed, memory kept for the peer) -> FREEING -> FREE. */
enum zs_session_state { ZS_S_FREE, ZS_S_EMBRYO, ZS_S_QUEUED, ZS_S_OPEN, ZS_S_CLOSED, ZS_S_FREEING };

/* zs_session.flags */
#define ZS_F_SHARED (1u << 0)     /* descriptors for it may exist in several processes: lifetime is the cookie's */
#define ZS_F_SHUT_RD (1u << 1)    /* shutdown(SHUT_RD) here */
#define ZS_F_PEER_CLOSED (1u << 2) /* the other end is closed for good: nobody will read what is written */
#define ZS_F_RST_SENT (1u << 3)   /* a write after PEER_CLOSED was answered by (virtual) RST */
#define ZS_F_NOTIFY_ENGINE (1u << 4) /* listener: engine waits for room in the accept queue (deferred connects) */
#define ZS_F_V6ONLY (1u << 5)     /* listener/UDP: IPV6_V6ONLY */
#define ZS_F_REUSEPORT (1u << 6)
#define ZS_F_CONNECTED (1u << 7)  /* UDP: connected, receives from `remote` only */
#define ZS_F_NONBLOCK (1u << 9)   /* listener, UDP: O_NONBLOCK as the application set it; the placeholder always has it */
#define ZS_F_FAULT (1u << 8)      /* shared state was found inconsistent; the connection was reset */
#define ZS_F_WIRE (1u << 10)      /* TCP: the other end is a connection of the engine's stack */
#define ZS_F_HOLDS (1u << 11)     /* ZS_F_WIRE: what is lent to this end has a hold, so that it can be taken over */
#define ZS_F_NO_LEND (1u << 14)   /* this end, or who accepts here, may not map what is lent (a confined process): programs copy */
#define ZS_F_ZC_DONE (1u << 13)   /* completions of MSG_ZEROCOPY are to be fetched: zc_told is not zc_sent */
#define ZS_F_SYN_WAITS (1u << 12) /* ZS_F_WIRE: the SYN waits for what is written first, which goes with it (Fast Open) */

/* Subscriber word: 0 free, else the fields below. A hint: the waiter checks the session itself. */
#define ZS_SUB(waiter, slot, flags) \
    (UINT64_C(1) << 63 | (uint64_t)(flags) << 48 | (uint64_t)(waiter) << 24 | (uint64_t)(slot))
#define ZS_SUB_SLOT(w) ((uint32_t)((w) & 0xffffffu))
#define ZS_SUB_WAITER(w) ((uint32_t)(((w) >> 24) & 0xffffffu))
#define ZS_SUB_FLAGS(w) ((uint32_t)(((w) >> 48) & 0x7fffu))
#define ZS_SUB_EXCLUSIVE 1u /* EPOLLEXCLUSIVE: wake one of those */
#define ZS_SUBS_INLINE 6u
#define ZS_SUBS_BLOCK (4096u / 8u) /* overflow: a 4 KiB block of subscriber words */

/* Producer's half of a direction: written by the end that sends into it. A small message is sent with this line and the one that its
 * bytes are in: what else both ends need for it is here, too. */
struct zs_dir_prod {
    _Atomic uint64_t tail; /* position after the last published byte; release store publishes */
    _Atomic uint64_t newest; /* ZS_NEWEST(): data rings ever attached, and the last of them */
    _Atomic uint32_t fin;  /* no more data after tail: ZS_FIN or ZS_RST */
    _Atomic uint32_t want_space; /* ZS_WANT_*: who waits for room */
    _Atomic uint32_t lock; /* client id of the holder; used once several threads or processes may write */
    /* The reference ring for lent data (zero-copy sends): block of struct zs_ref and its producer index. */
    _Atomic uint32_t ref_ring;
    _Atomic uint32_t ref_tail;
    _Atomic uint32_t others; /* ZS_OTHERS_*: who waits stands in the session's fourth line, too. Set by the receiving end */
    _Atomic uint64_t urgent; /* ZS_URGENT(): the urgent byte of this direction, 0 none ever. Stored before the byte is published */
    _Atomic uint64_t urgent_skip; /* position + 1 of an earlier urgent byte that is not part of the stream any more */
    _Atomic uint64_t sub; /* the first subscriber, ZS_SUB(): by the receiving end, rarely */
};
/* Rings are numbered from 0, the newest is number count - 1; ref 0: it was given back to the arena, or there is none yet. */
#define ZS_NEWEST(count, ref) ((uint64_t)(count) << 32 | (ref))
#define ZS_NEWEST_COUNT(word) ((uint32_t)((word) >> 32))
#define ZS_NEWEST_REF(word) ((zs_block_ref)(word))
/* Urgent data (RFC 9293 3.8.5, RFC 6093): one byte, as every socket interface has it. Position of the byte in the stream + 1,
 * whether it is known yet, and the byte. A later one takes the place of an earlier one. */
#define ZS_URGENT_KNOWN 0x100u
#define ZS_URGENT(pos, known_byte) (((uint64_t)(pos) + 1u) << 9 | (known_byte))
#define ZS_URGENT_POS(word) (((word) >> 9) - 1u)
#define ZS_FIN 1u
#define ZS_RST 2u
#define ZS_OTHERS_SUBS 1u   /* in subs; stays */
#define ZS_OTHERS_ASLEEP 2u /* rx_wait is to be looked at: set after it, cleared before it by who wakes */
#define ZS_OTHERS_ASYNC 4u  /* O_ASYNC was set; stays */
#define ZS_WANT_EVENT 1u /* set the sender's subscribers' bits */
#define ZS_WANT_FUTEX 2u /* a thread sleeps on want_space */

/* Consumer's half: written by the end that receives. */
struct zs_dir_cons {
    _Atomic uint64_t head; /* position of the first unread byte; release store returns room */
    _Atomic uint32_t ring_seq; /* number of the data ring that holds head */
    _Atomic uint32_t lock; /* as in zs_dir_prod */
    _Atomic uint32_t ref_head;
    uint32_t pad0;
    _Atomic uint64_t urgent_read; /* the word of the urgent byte that recv(MSG_OOB) has taken */
    _Atomic uint64_t sent; /* wire, with TCP_NOTSENT_LOWAT: position after the last byte that was sent */
    /* This end's sends with MSG_ZEROCOPY: the next one's number, and the first that was not fetched yet. */
    _Atomic uint32_t zc_sent, zc_told;
    uint8_t pad[16];
};

/* The data rings of a direction. Ring number i is at [i % ZS_DIR_RINGS] and holds the positions from its base to the base of
 * ring i + 1; a producer that needs more room attaches a larger one and goes on there, the consumer frees each as it
 * leaves it. Whoever frees a ring takes its reference by exchanging it for 0; the producer takes it out of rx_prod.newest before. */
#define ZS_DIR_RINGS 4u
struct zs_dir_rings {
    _Atomic uint64_t base[ZS_DIR_RINGS];
    _Atomic uint32_t ring[ZS_DIR_RINGS]; /* zs_block_ref */
};

/* One lent range of the stream, an entry of the reference ring: one block of them, of which as many are used as are a power
 * of two, entry number i at [i & (entries - 1)]. A lent range takes positions, and room in the byte ring, as if it had been
 * copied; the bytes are in the segment. Entries are in the order of their positions. An entry is written before ref_tail,
 * ref_tail before tail; the consumer moves ref_head over an entry before head over the range's end. The block is exchanged
 * for another only while ref_head is ref_tail. */
struct zs_ref {
    uint64_t pos;     /* stream position of its first byte */
    uint32_t segment; /* ZS_SEGMENT_RX with the upper bits of the offset, or ZS_SEGMENT_BUFFERS() */
    uint32_t offset;  /* lower 32 bits */
    uint32_t len;
    uint32_t gen;     /* the entry's number */
    uint32_t loan;    /* index + 1 of its hold (struct zs_loan); 0: the bytes are free again once head is past them */
    uint32_t loan_gen;
};
#define ZS_SEGMENT_RX 1u    /* packets that the engine received (ZS_CTL_SEGMENT) */
#define ZS_SEGMENT_BUF 2u   /* buffers of a program, in a memory file of its own (ZS_CTL_BUFFERS_NEW) */
#define ZS_SEGMENT_BITS 8u
#define ZS_SEGMENT(type, offset) ((uint32_t)(type) | (uint32_t)((uint64_t)(offset) >> 32) << ZS_SEGMENT_BITS)
#define ZS_SEGMENT_TYPE(segment) ((segment) & ((1u << ZS_SEGMENT_BITS) - 1u))
#define ZS_SEGMENT_OFFSET(segment, offset) ((uint64_t)((segment) >> ZS_SEGMENT_BITS) << 32 | (offset))
/* A segment of buffers: its number, and which of those that had the number, 1 to ZS_SEGMENT_GEN_MAX and then from 1 on. Its
 * size is a power of two. */
#define ZS_SEGMENT_BUFFERS(index, gen) (ZS_SEGMENT_BUF | (uint32_t)(index) << 8 | (uint32_t)(gen) << 20)
#define ZS_SEGMENT_INDEX(segment) ((segment) >> 8 & (ZS_MAX_SEGMENTS - 1u))
#define ZS_SEGMENT_GEN(segment) ((segment) >> 20)
#define ZS_SEGMENT_GEN_MAX 4095u
#define ZS_BUFFERS_MIN (UINT64_C(64) << 10) /* bytes of a segment */
#define ZS_BUFFERS_MAX (UINT64_C(64) << 20)

/* Socket options both sides or several processes need. Times in microseconds, 0 for none. */
struct zs_opts {
    _Atomic uint32_t sndbuf, rcvbuf; /* bytes, as getsockopt reports them (doubled, socket(7)) */
    _Atomic uint64_t sndtimeo_us, rcvtimeo_us;
    _Atomic int32_t linger;          /* seconds; -1 off */
    _Atomic uint32_t rcvlowat;
    _Atomic uint32_t bits;           /* ZS_O_* */
    _Atomic uint32_t user_timeout;   /* milliseconds */
    _Atomic uint32_t notsent_lowat;  /* bytes */
    _Atomic int32_t linger2;         /* seconds in FIN-WAIT-2 without a socket; 0 the stack's, -1 none */
    _Atomic uint16_t keepidle, keepintvl; /* seconds */
    _Atomic uint16_t maxseg;         /* bytes; 0 the path's */
    _Atomic uint16_t congestion;     /* ZS_CC_* */
    _Atomic uint8_t keepcnt, syncnt; /* 0 the stack's */
    _Atomic uint8_t defer_accept;    /* listener: retransmissions of a SYN,ACK to wait for data, 0 none */
    uint8_t pad0;
    _Atomic uint16_t fastopen;       /* listener: connections opened by data on a SYN and not confirmed, at most; 0 none */
    uint8_t pad[2];
};
#define ZS_CC_DEFAULT 0u /* the stack's */
#define ZS_CC_RENO 1u
#define ZS_CC_CUBIC 2u
#define ZS_CC_HTCP 3u /* libfstack has it, as its default only */
#define ZS_O_NODELAY (1u << 0)
#define ZS_O_KEEPALIVE (1u << 1)
#define ZS_O_CORK (1u << 2)
#define ZS_O_OOBINLINE (1u << 3)
#define ZS_O_QUICKACK (1u << 4)
#define ZS_O_REUSEADDR (1u << 5)
#define ZS_O_BROADCAST (1u << 6)
#define ZS_O_DELACK (1u << 7)   /* TCP_QUICKACK was set to 0 */
#define ZS_O_MORE (1u << 8)     /* the last send had MSG_MORE */
#define ZS_O_FASTOPEN (1u << 9) /* connect: data goes with the SYN where the peer allows it (TCP_FASTOPEN_CONNECT, MSG_FASTOPEN) */
#define ZS_O_FASTOPEN_NO_COOKIE (1u << 10)
#define ZS_O_ZEROCOPY (1u << 11) /* SO_ZEROCOPY */
#define ZS_O_RECVERR (1u << 16)  /* UDP: IP_RECVERR, errors of IPv4 are queued */
#define ZS_O_RECVERR6 (1u << 17) /* UDP: IPV6_RECVERR */
#define ZS_O_PMTU_DONT (1u << 18)  /* UDP: IP_PMTUDISC_DONT, the path's MTU is no error */
#define ZS_O_PMTU6_DONT (1u << 19)
#define ZS_O_JOINED_ONLY (1u << 20)  /* UDP: IP_MULTICAST_ALL 0, only of groups that this socket joined */
#define ZS_O_JOINED_ONLY6 (1u << 21)

/* zs_session.async: signals are on, the signal (0: SIGIO), and the descriptor that it names. */
#define ZS_ASYNC_ON (1u << 31)
#define ZS_ASYNC(sig, fd) (ZS_ASYNC_ON | (uint32_t)(sig) << 24 | ((uint32_t)(fd) & 0xffffffu))
#define ZS_ASYNC_SIG(word) (((word) >> 24) & 0x7fu)
#define ZS_ASYNC_FD(word) ((word) & 0xffffffu)

/* Seven cache lines. CPUs fetch lines by aligned pairs, and a session may begin with either half of one: rx_prod and rx_cons, which
 * both ends write all the time, have a line between them, so that they are never of the same pair. */
struct zs_session {
    /* line 0: identity */
    _Atomic uint32_t owner; /* client id; 0 free */
    _Atomic uint32_t gen;   /* changes each time the slot is freed */
    _Atomic uint32_t state; /* enum zs_session_state */
    _Atomic uint32_t flags; /* ZS_F_* */
    uint32_t kind;          /* enum zs_session_kind */
    uint32_t peer;          /* index of the other end, ZS_NO_SESSION none */
    uint32_t peer_gen;
    _Atomic uint32_t error; /* pending SO_ERROR, errno value */
    uint32_t listener;      /* server end: listener slot it came through; listener: its own slot */
    uint32_t listener_gen;
    uint32_t eph_slot;      /* client end: ephemeral port claimed in that listener's bitmap, 0 none */
    _Atomic uint32_t port_next; /* next session + 1 in the port table's chain */
    _Atomic uint64_t cookie; /* SO_COOKIE of the placeholder once it may have left its process, else 0 */
    _Atomic uint32_t creator; /* client that allocated it (the connecting one) */
    _Atomic uint32_t pmtu; /* UDP: what the path to a connected socket's peer carries, bytes; 0 not known */
    /* line 1: endpoints */
    struct zs_addr local;
    struct zs_addr remote;
    uint64_t opened_ns; /* CLOCK_MONOTONIC */
    uint32_t port; /* bound to this port of the engine (SO_BINDTODEVICE), from 1; 0: to none */
    uint32_t pad1;
    /* line 2, 4: the direction that ends here */
    struct zs_dir_prod rx_prod; /* written by the peer */
    /* line 3: who waits but for the first subscriber. Read by the peer on each publish once rx_prod.others is set, written rarely. */
    _Atomic uint64_t subs[ZS_SUBS_INLINE];
    _Atomic uint32_t subs_block; /* overflow block reference */
    _Atomic uint32_t rx_wait;    /* futex: 1 while threads sleep for data, EOF or error */
    _Atomic uint32_t async;      /* O_ASYNC: ZS_ASYNC_*, 0 off */
    _Atomic uint32_t sig_born;   /* when sig_owner's process started, zs_born(); 0 not known */
    struct zs_dir_cons rx_cons; /* written by this end */
    /* line 5: options */
    struct zs_opts opts;
    /* line 6: the rings of the direction that ends here, written by the peer; and what is rarely written */
    struct zs_dir_rings rx_rings;
    union {
        _Atomic uint64_t rx_dropped; /* UDP: datagrams without room */
        _Atomic uint64_t pacing; /* TCP: an option that struct zs_opts has no room for, ZS_PACING() of SO_MAX_PACING_RATE */
    };
    _Atomic int32_t sig_owner;   /* F_SETOWN: who gets SIGURG and SIGIO. Process, thread, or below 0 process group; 0 nobody */
    _Atomic int32_t sig_tgid;    /* not 0: sig_owner is a thread of that process (F_OWNER_TID) */
};
#define ZS_NO_SESSION 0xffffffffu
/* Bytes per second, all ones for no limit: to and from a word that is 0 then, as in a new session. */
#define ZS_PACING(rate) (~(uint64_t)(rate))

#endif
