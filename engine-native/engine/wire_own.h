/* SPDX-License-Identifier: BSD-3-Clause
 * What the engine keeps of a session of its own on the wire; part of what a connection costs (stack_bench, tcp_idle_test). */
#ifndef ZSTACK_WIRE_OWN_H
#define ZSTACK_WIRE_OWN_H

#include <stdatomic.h>
#include <stdint.h>

enum wire_kind { WIRE_CONN, WIRE_UDP, WIRE_UDP_ERRORS };

struct wire_port;

struct wire_own {
    enum wire_kind kind;
    uint32_t own, gen;
    uint32_t worker;          /* whose it is, see wire_own_word */
    void *handle;             /* WIRE_CONN: the stack's connection; NULL: gone, or none yet */
    struct wire_port *port[]; /* WIRE_UDP only, 2: where it sends from, IPv4 and IPv6 */
};

/* The table's entry: the record, which is aligned to 16 bytes, with the number of its worker in the lowest bits, so that who comes
 * by an old hint knows without a look at the record that it is another's. 0: none. */
typedef _Atomic uintptr_t wire_own_word;
#define WIRE_OWN_WORD(o) ((uintptr_t)(o) | (o)->worker)
#define WIRE_OWN_WORKER(word) ((uint32_t)((word) & 15u))
#define WIRE_OWN_RECORD(word) ((struct wire_own *)((word) & ~(uintptr_t)15u))

#endif
