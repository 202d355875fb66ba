/* SPDX-License-Identifier: BSD-3-Clause
 * The ring by which a program tells the engine what it sends, while a capture runs. Part of the shared-memory contract: see shm.h. */
#ifndef ZSTACK_CAPTURED_H
#define ZSTACK_CAPTURED_H

#include <stdatomic.h>
#include <stdint.h>

#include <zstack/addr.h>

/* What goes between programs, for the engine's capture file; written while zs_arena_header.capture is not 0. A ring of records,
 * each of one piece: a record that does not fit before the ring's end is preceded by one of kind ZS_CAP_SKIP up to there. Writers
 * hold `lock` and publish by `tail`; the engine alone reads, and trusts nothing. */
enum zs_capture_kind { ZS_CAP_SKIP, ZS_CAP_CONNECT, ZS_CAP_DATA, ZS_CAP_FIN, ZS_CAP_RST, ZS_CAP_DATAGRAM };

#define ZS_CAP_ALIGN 64u
struct zs_capture_record {
    uint32_t size; /* with what follows, a multiple of ZS_CAP_ALIGN */
    uint32_t kind; /* enum zs_capture_kind */
    uint32_t session, gen; /* the end that did it */
    uint32_t peer, peer_gen;
    uint32_t listener; /* CONNECT, DATAGRAM: session of the endpoint that it goes to, which the engine knows the program of */
    uint32_t pid;      /* of who did it, 0: the engine, for one that died */
    uint64_t time_ns;  /* CLOCK_REALTIME */
    uint64_t pos;      /* position of the first byte in its direction */
    uint64_t taken;    /* what the other end has read of that direction */
    uint64_t got;      /* what this end has read of the other direction */
    uint32_t len;      /* bytes sent */
    uint32_t kept;     /* of them, these follow */
    uint32_t urgent;   /* urgent byte within them, from 1; 0 none */
    uint32_t pad;
    char name[16];     /* of the program */
    struct zs_addr from, to;
    uint8_t pad1[48];
};
#define ZS_CAP_PIECE 32768u /* bytes of the stream in one record at most; datagrams are not divided */
#define ZS_CAP_RECORD_MAX (sizeof(struct zs_capture_record) + 65536u)
#define ZS_CAP_RING (UINT64_C(16) << 20)

struct zs_capture {
    _Atomic uint32_t lock;    /* client id of who writes; broken by the engine after its death */
    _Atomic uint32_t stalled; /* a writer has waited in vain for the engine to read: do not wait again */
    _Atomic uint64_t dropped; /* records without room */
    uint8_t pad[48];
    _Atomic uint64_t tail; /* bytes ever written */
    uint8_t pad1[56];
    _Atomic uint64_t head; /* bytes ever read */
    uint8_t pad2[56];
    uint8_t data[ZS_CAP_RING];
};

#endif
