/* SPDX-License-Identifier: BSD-3-Clause
 * What the engine keeps of a session of its own on the wire; part of what a connection costs (stack_bench, tcp_idle_test). */
#ifndef ZSTACK_WIRE_OWN_H
#define ZSTACK_WIRE_OWN_H

#include <stdint.h>

enum wire_kind { WIRE_CONN, WIRE_UDP, WIRE_UDP_ERRORS };

struct wire_port;

struct wire_own {
    enum wire_kind kind;
    uint32_t own, gen;
    void *handle;             /* WIRE_CONN: the stack's connection; NULL: gone, or none yet */
    struct wire_port *port[]; /* WIRE_UDP only, 2: where it sends from, IPv4 and IPv6 */
};

#endif
