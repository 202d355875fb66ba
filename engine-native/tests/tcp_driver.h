/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One stack whose peers are a program: packets in, packets out, socket calls, a clock. tcp_script.c drives it from text; any
 * other notation can be bound to it. Sequence numbers count from the SYN of each side. A failed check ends the cmocka test. */
#ifndef ZSTACK_TEST_TCP_DRIVER_H
#define ZSTACK_TEST_TCP_DRIVER_H

#include <rte_tcp.h>

#include "tcp_script.h"

#define DRIVER_PEERS 8u
#define DRIVER_PORT RTE_BE16(80) /* ours; a peer's is 40000 and its number */

struct driver {
    struct bed *bed;
    struct stack *st;
    struct net_port *port;
    struct capture cap; /* what was sent */
    struct tcp_listener *listener;
    struct sock sock; /* the one socket, by connect or accept */
    uint64_t now;     /* nanoseconds */
    uint32_t peer_iss;
    struct peer {
        uint32_t iss, ts_base; /* of ours to it */
        bool have_iss, have_ts;
    } peers[DRIVER_PEERS], *p; /* p: who speaks */
    bool hold;                 /* packets wait in the port's queue */
    int accept_result;         /* what accept says: 0, or negative errno */
    uint8_t cookie[8];         /* of Fast Open, last given by the stack */
    struct zs_opts opts;       /* of the listener, or the socket to come */
    uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN]; /* TCP_FASTOPEN_KEY of the listener */
    uint32_t nkeys;
};

void driver_start(struct driver *d, struct bed *b);
void driver_stop(struct driver *d); /* and checks that nothing is left in use */

/* ---- Packets ---- */
struct driver_segment {
    uint32_t seq, ack, len; /* payload is byte_at(0, seq - 1) and on */
    uint16_t window, urgent;
    uint8_t flags, ecn;     /* TCP's flags; the IP header's ECN field */
    bool has_ack, bad_checksum;
    uint8_t options[40];
    uint32_t options_len;   /* a multiple of 4 */
};
void driver_in(struct driver *d, const struct driver_segment *g);
/* An ICMP error about our segment that began at `at`; over IPv6 the one that means the same. mtu: of type 3, code 4. */
void driver_icmp(struct driver *d, unsigned type, unsigned code, uint32_t at, uint32_t mtu);
/* The next packet that was sent, as text (tcp_script.h); NULL: none. */
const char *driver_out(struct driver *d);
void driver_flush(struct driver *d); /* sends what is queued, unless held */

/* ---- The clock ---- */
void driver_clock(struct driver *d, uint64_t ns); /* so much time passes; timers fire when they are due */

/* ---- Socket calls: beside these sock_write(), sock_read(), sock_close(), sock_shutdown() on d->sock ---- */
void driver_listen(struct driver *d, uint32_t backlog);
void driver_connect(struct driver *d);
void driver_write_urgent(struct driver *d, uint64_t n); /* the last of n bytes is urgent */
struct zs_opts *driver_options(struct driver *d);       /* then tcp_poke() */
struct tcp_flow driver_flow(const struct driver *d);

#endif
