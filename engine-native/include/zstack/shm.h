/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The shared-memory contract of Z-stack: the one definition of what the engine and the applications of a trust domain
 * (one uid, one network namespace) share. The engine creates one memfd, the arena, sealed against resizing; every
 * process of the domain maps it whole. Offsets are compile-time constants, never read from the arena, so that what
 * another process wrote cannot move them. No pointers. What another party wrote is copied once, validated, then used.
 * The buffers of zero-copy sockets are not in it: each program has them in memory of its own (ZS_SEGMENT_BUFFERS), which others
 * map for reading, when the engine lets them.
 *
 * Conventions
 *  - "client" is an attached process; a client id is (generation << 16 | slot), never 0. ZS_CLIENT_ENGINE is the engine.
 *  - "free" is all zero, so that a fresh memfd needs no initialisation.
 *  - Hint bitmaps say where to look; the owner word, claimed by compare-and-swap, decides. A crash between the two
 *    leaves only a wrong hint.
 *  - Positions in a stream are free-running 64-bit byte counts; the ring index is position & (size - 1).
 */
#ifndef ZSTACK_SHM_H
#define ZSTACK_SHM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <zstack/addr.h>
#include <zstack/captured.h>
#include <zstack/clients.h>

#define ZS_SHM_MAGIC 0x5a535443u /* "ZSTC" */
#define ZS_LAYOUT_VERSION 17u
#define ZS_CACHE_LINE 64

#define ZS_CLIENT_NONE 0u
#define ZS_CLIENT_ENGINE 0xffffffffu
#define ZS_CLIENT_SLOT(id) ((id) & 0xffffu)

/* ---- Sizes of the tables ------------------------------------------------------------------------------------------ */

#define ZS_MAX_CLIENTS 4096u
#define ZS_MAX_SESSIONS 262144u
#define ZS_MAX_WAITERS 8192u
#define ZS_MAX_LISTENERS 8192u
#define ZS_MAX_OWN_ADDRS 256u
#define ZS_MAX_WIRE_ADDRS 64u
#define ZS_MAX_LOANS 65536u
#define ZS_MAX_SEGMENTS 4096u
#define ZS_WAITER_SLOTS 262144u /* sockets in one epoll set */
#define ZS_MAX_ANNOUNCED 64u
#define ZS_BACKLOG_MAX 4096u    /* Linux' default net.core.somaxconn */

/* ---- Hint bitmaps ------------------------------------------------------------------------------------------------- */

/* A set bit means "probably in use". summary bit set: that leaf word is full. */
#define ZS_HINT_WORDS(n) (((n) + 63) / 64)
#define ZS_HINTMAP(n)                                      \
    struct {                                               \
        _Atomic uint64_t summary[ZS_HINT_WORDS(ZS_HINT_WORDS(n))]; \
        _Atomic uint64_t leaf[ZS_HINT_WORDS(n)];           \
    }

/* ---- Blocks of ring memory ---------------------------------------------------------------------------------------- */

/* Size classes; each has a virtual range of its own in the (sparse) arena. */
#define ZS_NCLASS 6u
#define ZS_CLASS_SHIFT(c) (12u + 2u * (c)) /* 4K 16K 64K 256K 1M 4M */
#define ZS_CLASS_SIZE(c) (UINT64_C(1) << ZS_CLASS_SHIFT(c))
#define ZS_CLASS_RANGE (UINT64_C(2) << 30) /* bytes of virtual space per class */
#define ZS_CLASS_COUNT(c) ((uint32_t)(ZS_CLASS_RANGE >> ZS_CLASS_SHIFT(c)))
#define ZS_BLOCKS_MAX ZS_CLASS_COUNT(0)

/* A block reference: 0 is none; else (class + 1) << 28 | index. */
typedef uint32_t zs_block_ref;
#define ZS_BLOCK(c, i) ((zs_block_ref)((((c) + 1u) << 28) | (i)))
#define ZS_BLOCK_CLASS(r) (((r) >> 28) - 1u)
#define ZS_BLOCK_INDEX(r) ((r) & 0x0fffffffu)

/* The first ring of a connection whose messages are small is none of these: each session has memory for it, so that many connections
 * do with few pages. It costs nothing until it is used, and does not count against the limit. */
#define ZS_RING_SMALL 256u /* bytes */
#define ZS_SMALL(session) ZS_BLOCK(ZS_NCLASS, session)

struct zs_block_class {
    /* Owner words: 0 free, else client id << 32 | session index. */
    _Atomic uint64_t owner[ZS_BLOCKS_MAX];
    ZS_HINTMAP(ZS_BLOCKS_MAX) hint;
};

#include <zstack/session.h>

/* ---- Loans -------------------------------------------------------------------------------------------------------- */

/* A hold on lent memory. Each is ended by one party: whoever moves `holder` from what entitles it to ZS_HOLD_DONE. The lender's
 * record, the root, counts the holds on its memory, its own included; memory that is lent on (a proxy) gets a further record
 * that names the same root. At 0 the memory is its owner's again, who frees the root; all others are freed when they end.
 *
 * Counted up before a hold exists and down after it ended: a process that dies in between leaves the count too high, never too
 * low, and the engine mends it. */
struct zs_loan {
    _Atomic uint32_t owner;  /* client id that made the record; 0 free */
    _Atomic uint32_t gen;    /* changes each time it is freed */
    _Atomic uint64_t holder; /* ZS_HOLD_*; 0: being made */
    _Atomic uint64_t holds;  /* root: low half holds, high half changes of it */
    uint32_t root, root_gen;
    uint32_t segment;        /* ZS_SEGMENT_BUFFERS() that the memory is part of; 0: received packets */
    uint32_t waiter, waiter_gen, slot; /* root: set that bit when nobody holds it any more; waiter ZS_MAX_WAITERS: nobody's */
    uint64_t pad[2];
};
/* The reference ring of a session; a client. */
#define ZS_HOLD_SESSION(index, gen) (UINT64_C(1) << 63 | (uint64_t)(index) << 32 | (gen))
#define ZS_HOLD_CLIENT(id) (UINT64_C(1) << 62 | (id))
#define ZS_HOLD_DONE (UINT64_C(1) << 61)
#define ZS_HOLD_IS_SESSION(h) (((h) >> 63) != 0)
#define ZS_HOLD_IS_CLIENT(h) (((h) >> 62) == 1)
#define ZS_HOLD_INDEX(h) ((uint32_t)((h) >> 32) & 0x1fffffffu)

/* ---- Listeners ---------------------------------------------------------------------------------------------------- */

/* Accept queue: lock-free array queue; a slot is filled and emptied by one compare-and-swap, head and tail are advanced
 * by whoever sees them lag, so a process that dies in between blocks nobody.
 * Slot word: lap (20 bits) << 44 | (session + 1) (20 bits) << 24 | low 24 bits of the session's generation.
 * An empty slot of lap L is L << 44. */
#define ZS_AQ_EMPTY(lap) ((uint64_t)((lap) & 0xfffffu) << 44)
#define ZS_AQ_WORD(lap, session, gen) \
    (ZS_AQ_EMPTY(lap) | (uint64_t)((session) + 1u) << 24 | ((gen) & 0xffffffu))
#define ZS_AQ_SESSION(w) ((uint32_t)(((w) >> 24) & 0xfffffu) - 1u)
#define ZS_AQ_GEN(w) ((uint32_t)((w) & 0xffffffu))
#define ZS_AQ_IS_EMPTY(w) ((((w) >> 24) & 0xfffffu) == 0)
#define ZS_AQ_LAP(w) ((uint32_t)((w) >> 44))

#define ZS_FASTOPEN_KEYS 2u
#define ZS_FASTOPEN_KEY_LEN 16u

struct zs_listener {
    _Atomic uint32_t owner;   /* ZS_CLIENT_ENGINE while in use */
    _Atomic uint32_t gen;
    uint32_t session;         /* its session */
    _Atomic uint32_t backlog; /* as listen(2), capped; Linux admits backlog + 1 */
    /* TCP_FASTOPEN_KEY: the first makes cookies, all of them are good. 0: the stack's own. Written by the program while the stack
     * reads it: what half a new key makes is a cookie that is replaced when it comes back. */
    _Atomic uint32_t fastopen_keys;
    uint8_t pad[4];
    _Atomic uint64_t fastopen_key[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN / 8];
    uint8_t pad0[8];
    _Atomic uint64_t tail;
    uint8_t pad1[56];
    _Atomic uint64_t head;
    uint8_t pad2[56];
    _Atomic uint64_t slot[ZS_BACKLOG_MAX * 2];
    _Atomic uint64_t eph[65536 / 64]; /* source ports of live connections through this listener */
};

/* ---- Waiters ------------------------------------------------------------------------------------------------------ */

/* Hints of a waiter: where to look. Those of now are entries of a queue, so that a message costs one line that both sides write and
 * not the three of the bitmap's levels; many hints at a time share that line. What finds no room there, since its reader is busy,
 * sets its bit.
 *
 * A hint is queued by one compare-and-swap of the entry at `recent_tail`, from one of the lap before; tail is then advanced by
 * whoever sees it lag, so that a producer killed or stopped in between blocks nobody. An entry may be there twice. The reader
 * tells how far it is every quarter of the queue only. */
#define ZS_HINTS 1024u
#define ZS_HINT_SLOT_BITS 18u
#define ZS_HINT_SLOT(e) ((e) & ((1u << ZS_HINT_SLOT_BITS) - 1u))
#define ZS_HINT_LAP(position) (((position) / ZS_HINTS + 1u) << ZS_HINT_SLOT_BITS) /* never 0 in the first one: a free queue is 0 */
#define ZS_HINT_IS_OF(e, lap) ((((e) ^ (lap)) >> ZS_HINT_SLOT_BITS) == 0)

struct zs_waiter {
    _Atomic uint32_t owner; /* client id; 0 free */
    _Atomic uint32_t gen;
    uint8_t pad[56];
    _Atomic uint32_t asleep; /* threads asleep on it; producers ring the doorbell when not 0 */
    _Atomic uint32_t recent_taken; /* recent_head as it was told last */
    uint8_t pad1[56];
    _Atomic uint64_t top;    /* bit i: summary[i] may be non-zero */
    uint8_t pad2[56];
    _Atomic uint32_t recent_tail; /* hints queued: written by producers */
    uint8_t pad3[124];            /* no pair of lines that both sides write: see struct zs_session */
    _Atomic uint32_t recent_head; /* hints taken: the reader's */
    uint8_t pad4[124];
    _Atomic uint32_t recent[ZS_HINTS]; /* slot and lap */
    _Atomic uint64_t summary[ZS_WAITER_SLOTS / 4096];
    _Atomic uint64_t leaf[ZS_WAITER_SLOTS / 64];
};
_Static_assert(ZS_WAITER_SLOTS <= 1u << ZS_HINT_SLOT_BITS, "a slot fits an entry");

/* ---- UDP records -------------------------------------------------------------------------------------------------- */

/* Before each datagram in a UDP session's ring; records start at multiples of 8 and may wrap. */
struct zs_udp_record {
    uint32_t len;   /* payload bytes */
    uint32_t ifindex; /* received by; of the engine's ports: ZS_WIRE_SCOPE and the port. To the wire: so, or 0 by route */
    uint64_t time_ns; /* CLOCK_REALTIME at delivery, for SO_TIMESTAMP */
    struct zs_addr from;
    struct zs_addr to;
    uint8_t ttl, tos; /* or hop limit and traffic class. To the wire: ttl 0 is the default */
    uint8_t pmtu;     /* to the wire: IP_PMTUDISC_* */
    uint8_t flags;    /* ZS_UDP_* */
    uint32_t pad;
};
#define ZS_UDP_LOOP 1u /* to the wire, for a group: also to the members at this host */

/* An error about a datagram, as IP_RECVERR has it: the payload of a record whose `from` is who says so (port 0), and whose `to`
 * is where the datagram went. What is quoted of that follows. */
struct zs_udp_error {
    uint32_t err; /* errno value */
    uint8_t origin, type, code, pad; /* SO_EE_ORIGIN_*; of the ICMP message */
    uint32_t info, pad1; /* EMSGSIZE: MTU */
};
#define ZS_UDP_QUOTE_MAX 1232u /* bytes */
#define ZS_UDP_RECORD_SPACE(len) ((sizeof(struct zs_udp_record) + (uint64_t)(len) + 7u) & ~UINT64_C(7))
#define ZS_UDP_MAX_PAYLOAD 65507u /* 65535 - 20 - 8 */

/* ---- The arena ---------------------------------------------------------------------------------------------------- */

/* An address or a route of the engine's ports; a hint, the engine decides. */
struct zs_wire_addr {
    uint8_t ip[16];     /* v4-mapped for IPv4 */
    uint8_t prefix_len; /* bits of ip[] that count, 0 to 128; an IPv4 prefix has 96 added */
    uint8_t flags;      /* ZS_WIRE_* */
    uint8_t port;       /* number of the port, from 1 */
    uint8_t pad[5];
};
#define ZS_WIRE_OWN 1u   /* an address of the engine itself */
#define ZS_WIRE_ROUTE 2u /* the prefix is reached through a port of the engine */

/* scope_id of a link-local IPv6 address on port number n of the engine, from 1: this + n. No interface of the kernel has such
 * a number, and the kernel's are not the engine's. */
#define ZS_WIRE_SCOPE 0x5a530000u
#define ZS_WIRE_SCOPE_PORT(scope) (((scope) & 0xffff0000u) == ZS_WIRE_SCOPE ? (scope) & 0xffffu : 0)

/* A port of the engine. Constant. */
#define ZS_MAX_WIRE_PORTS 8u
struct zs_wire_port {
    char name[32];      /* DPDK's name of the device, 0-terminated */
    uint32_t kernel_if; /* the interface of this namespace whose packets the port takes (af_packet, af_xdp); 0 none */
    uint32_t mtu;
    uint8_t addr4[4];   /* 0.0.0.0: no IPv4 */
    uint8_t prefix4;
    uint8_t has6;
    uint8_t pad[2];
};

struct zs_arena_header {
    uint32_t magic;
    uint32_t layout_version;
    uint64_t layout_size; /* sizeof(struct zs_arena) */
    uint64_t epoch;       /* random number of this engine instance */
    uint32_t engine_pid;
    uint32_t ncpu;        /* CPUs the engine may run on */
    uint64_t mem_limit;   /* bytes of ring memory */
    uint8_t pad[ZS_CACHE_LINE - 40];
    _Atomic uint64_t mem_used; /* bytes of claimed blocks */
    _Atomic uint64_t mem_peak;
    _Atomic uint32_t spinners; /* threads that spin in a wait now */
    _Atomic uint32_t eph_next; /* next ephemeral port to try */
    uint16_t eph_low, eph_high; /* net.ipv4.ip_local_port_range */
    uint8_t pad1[ZS_CACHE_LINE - 28];
    /* The host's own addresses, v4-mapped; even sequence = stable. */
    _Atomic uint32_t own_seq;
    _Atomic uint32_t own_count;
    uint8_t own[ZS_MAX_OWN_ADDRS][16];
    _Atomic uint32_t wire_seq; /* even = stable: routers may change addresses and routes */
    uint32_t wire_count;
    struct zs_wire_addr wire[ZS_MAX_WIRE_ADDRS]; /* longest prefix first */
    uint32_t wire_ports, pad2;
    struct zs_wire_port wire_port[ZS_MAX_WIRE_PORTS];
    uint64_t rx_size; /* bytes of the segment of received packets (ZS_CTL_SEGMENT), 0: there is none */
    /* A process that may not fetch a doorbell any more (seccomp, RLIMIT_NOFILE) sets the waiter's bit, then `ring_any`, and
     * rings the engine, which rings the waiter. */
    _Atomic uint32_t ring_any, pad3;
    _Atomic uint64_t ring_asked[ZS_MAX_WAITERS / 64];
    /* Not 0: traffic between programs goes to the capture ring, too, this many bytes of each packet. */
    _Atomic uint32_t capture, pad4;
    /* Segments of buffers by their number: ZS_SEGMENT_BUFFERS() of the one that is there, 0 none. A hint: programs ask the engine
     * before they let go of a mapping. */
    _Atomic uint32_t buffers[ZS_MAX_SEGMENTS];
    /* Calls of listen(2) and connect(2) that are about to reach the kernel: client id << 32 | ZS_ABOUT_TO_* << 16 | port; 0 free. The
     * engine frees those of the dead. */
    _Atomic uint64_t announced[ZS_MAX_ANNOUNCED];
};
#define ZS_ABOUT_TO_LISTEN 1u
#define ZS_ABOUT_TO_CONNECT 2u

struct zs_port_table {
    _Atomic uint32_t head[65536]; /* first session + 1, by port in host order */
};

/* The whole arena; every offset below is part of the layout. */
struct zs_arena {
    struct zs_arena_header header;
    uint8_t pad[32768 - sizeof(struct zs_arena_header)];
    struct zs_port_table tcp_ports;
    struct zs_port_table udp_ports;
    ZS_HINTMAP(ZS_MAX_SESSIONS) session_hint;
    ZS_HINTMAP(ZS_MAX_WAITERS) waiter_hint;
    ZS_HINTMAP(ZS_MAX_LOANS) loan_hint;
    struct zs_block_class block[ZS_NCLASS];
    _Alignas(4096) struct zs_loan loan[ZS_MAX_LOANS];
    _Alignas(4096) struct zs_client client[ZS_MAX_CLIENTS];
    _Alignas(4096) struct zs_session session[ZS_MAX_SESSIONS];
    _Alignas(4096) uint8_t small[ZS_MAX_SESSIONS][ZS_RING_SMALL];
    _Alignas(4096) struct zs_waiter waiter[ZS_MAX_WAITERS];
    _Alignas(4096) struct zs_listener listener[ZS_MAX_LISTENERS];
    _Alignas(4096) struct zs_capture capture;
    _Alignas(1 << 22) uint8_t data[ZS_NCLASS][ZS_CLASS_RANGE];
};

_Static_assert(sizeof(struct zs_addr) == 24, "zs_addr");
_Static_assert(sizeof(struct zs_dir_prod) == 64, "zs_dir_prod is a cache line");
_Static_assert(sizeof(struct zs_dir_cons) == 64, "zs_dir_cons is a cache line");
_Static_assert(sizeof(struct zs_ref) == 32, "two entries in a cache line");
_Static_assert(sizeof(struct zs_loan) == 64, "zs_loan is a cache line");
_Static_assert(sizeof(struct zs_opts) <= 64, "zs_opts fits a cache line");
_Static_assert(ZS_NCLASS + 1u < 16u && ZS_MAX_SESSIONS <= 0x10000000u, "ZS_SMALL is a block reference");
_Static_assert(sizeof(struct zs_session) == 448, "zs_session is seven cache lines");
_Static_assert(offsetof(struct zs_session, local) == 64, "line 1");
_Static_assert(offsetof(struct zs_session, rx_prod) == 128, "line 2");
_Static_assert(offsetof(struct zs_session, subs) == 192, "line 3");
_Static_assert(offsetof(struct zs_session, rx_cons) == 256, "line 4");
_Static_assert(offsetof(struct zs_session, opts) == 320, "line 5");
_Static_assert(offsetof(struct zs_session, rx_rings) == 384, "line 6");
_Static_assert(sizeof(struct zs_udp_record) == 72, "zs_udp_record");
_Static_assert(sizeof(struct zs_udp_error) == 16, "zs_udp_error");
_Static_assert(sizeof(struct zs_capture_record) == 192 && ZS_CAP_RING % ZS_CAP_ALIGN == 0, "zs_capture_record");
_Static_assert(sizeof(struct zs_wire_port) == 48, "zs_wire_port");
_Static_assert(sizeof(struct zs_why) == 16, "zs_why");
_Static_assert(sizeof(struct zs_wire_addr) == 24, "zs_wire_addr");
_Static_assert(sizeof(struct zs_arena_header) <= 32768, "header");
_Static_assert(ZS_MAX_SEGMENTS == 1u << 12 && ZS_SEGMENT_GEN_MAX == (1u << 12) - 1u, "ZS_SEGMENT_BUFFERS");
_Static_assert(ZS_MAX_SESSIONS < (1u << 20) - 1u, "a session fits an accept queue word");

/* Address of a block, or NULL when the reference is not one: safe on any value another party wrote. */
static inline uint8_t *zs_block_ptr(struct zs_arena *arena, zs_block_ref ref)
{
    uint32_t c = ZS_BLOCK_CLASS(ref), i = ZS_BLOCK_INDEX(ref);
    if (c >= ZS_NCLASS || i >= ZS_CLASS_COUNT(c))
        return NULL;
    return arena->data[c] + ((uint64_t)i << ZS_CLASS_SHIFT(c));
}

/* The same for what a ring may be: a block, or a session's ZS_SMALL(). */
static inline uint8_t *zs_ring_ptr(struct zs_arena *arena, zs_block_ref ref)
{
    if (ZS_BLOCK_CLASS(ref) == ZS_NCLASS)
        return ZS_BLOCK_INDEX(ref) < ZS_MAX_SESSIONS ? arena->small[ZS_BLOCK_INDEX(ref)] : NULL;
    return zs_block_ptr(arena, ref);
}

static inline uint64_t zs_ring_size(zs_block_ref ref)
{
    return ZS_BLOCK_CLASS(ref) == ZS_NCLASS ? ZS_RING_SMALL : ZS_CLASS_SIZE(ZS_BLOCK_CLASS(ref));
}

#endif
