/* SPDX-License-Identifier: BSD-3-Clause
 * Addresses as the shared-memory contract has them: see shm.h. */
#ifndef ZSTACK_ADDR_H
#define ZSTACK_ADDR_H

#include <stdint.h>

/* An IP endpoint. IPv4 is kept v4-mapped (::ffff:a.b.c.d), so that one comparison serves both families. */
struct zs_addr {
    uint8_t ip[16];    /* network order */
    uint16_t port;     /* network order */
    uint16_t family;   /* AF_INET or AF_INET6 as the socket's owner sees it; 0 unset */
    uint32_t scope_id; /* IPv6 zone, RFC 4007 */
};

#endif
