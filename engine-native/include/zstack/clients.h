/* SPDX-License-Identifier: BSD-3-Clause
 * What a program counts, and why each of its sockets is served where it is. Part of the shared-memory contract: see shm.h. */
#ifndef ZSTACK_CLIENTS_H
#define ZSTACK_CLIENTS_H

#include <stdatomic.h>
#include <stdint.h>

#define ZS_WHY_ENTRIES 1024u /* by descriptor modulo this */

/* Why a socket is where it is, for `zstack-run why`. */
struct zs_why {
    _Atomic uint32_t fd1;    /* descriptor + 1; 0 unused */
    uint8_t verdict;         /* enum zs_verdict */
    uint8_t reason;          /* enum zs_reason */
    uint8_t proto;           /* IPPROTO_TCP, IPPROTO_UDP */
    uint8_t pad;
    uint32_t session;        /* ZS_NO_SESSION when it has none */
    uint32_t session_gen;
};

struct zs_client {
    _Atomic uint32_t id; /* client id; 0 free */
    _Atomic uint32_t pid;
    char name[16];
    char run[32];
    _Atomic uint32_t spinners;
    uint8_t pad[4];
    /* counters */
    _Atomic uint64_t connects, accepts, closes, bytes_in, bytes_out, sleeps, wakeups, faults;
    _Atomic uint64_t udp_in, udp_out;
    /* zero-copy sockets: bytes, and segments that the program forgot to release */
    _Atomic uint64_t zc_out_lent, zc_out_copied, zc_in_lent, zc_in_copied, zc_forgotten;
    struct zs_why why[ZS_WHY_ENTRIES];
};

#define ZS_VERDICTS(X)                                            \
    X(UNDECIDED, "undecided", "neither connected nor listening")  \
    X(LOCAL, "local", "served by shared memory")                  \
    X(BOTH, "both", "served by shared memory and by the kernel")  \
    X(WIRE, "wire", "served by the engine's stack")               \
    X(KERNEL, "kernel", "left to the kernel")
#define ZS_REASONS(X)                                                                      \
    X(NONE, "NONE", "no decision yet")                                                     \
    X(PEER_LOCAL, "PEER_LOCAL", "the listener belongs to a program of this engine")        \
    X(LISTENER, "LISTENER", "programs of this engine connect through shared memory")       \
    X(WIRE_ROUTE, "WIRE_ROUTE", "a port of the engine leads to that address")              \
    X(NO_LISTENER, "NO_LISTENER", "no program of this engine listens at that address")     \
    X(NOT_HOST, "NOT_HOST", "the address is not one of this host and no engine route leads to it") \
    X(BY_CONFIG, "BY_CONFIG", "configuration leaves this protocol to the kernel")          \
    X(ENGINE_GONE, "ENGINE_GONE", "no engine answers")                                     \
    X(NO_MEMORY, "NO_MEMORY", "the engine's memory or tables are exhausted")               \
    X(OPTION, "OPTION", "a socket option or flag that only the kernel implements")         \
    X(DATAGRAM, "DATAGRAM", "each datagram goes where its destination is served")          \
    X(FOREIGN, "FOREIGN", "handed on to a program that the library cannot enter (static, or with another user's rights)") \
    X(OWN_WAITS, "OWN_WAITS", "the program waits by system calls of its own, which cannot be redirected") \
    X(OTHER_NETNS, "OTHER_NETNS", "the process left the engine's network namespace")

#define X(id, name, text) ZS_VERDICT_##id,
enum zs_verdict { ZS_VERDICTS(X) ZS_VERDICT_COUNT };
#undef X
#define X(id, name, text) ZS_REASON_##id,
enum zs_reason { ZS_REASONS(X) ZS_REASON_COUNT };
#undef X

#endif
