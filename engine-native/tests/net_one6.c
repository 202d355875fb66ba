/* SPDX-License-Identifier: BSD-3-Clause
 * See net_one6.h. */
#include "net_one6.h"

#include <netinet/in.h>
#include <rte_udp.h>

int conflicts;
struct rte_ether_addr conflict_mac;

static void on_conflict(void *arg, const struct net_port *p, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    (void)arg;
    (void)p;
    (void)addr;
    conflict_mac = *mac;
    conflicts++;
}

int begin(void **state)
{
    (void)state;
    conflicts = 0;
    one_stack();
    st->conf.conflict = on_conflict;
    one_port();
    return 0;
}

int up(void **state)
{
    begin(state);
    pass(3 * SEC);
    net_flush(st);
    capture_clear(&cap);
    return 0;
}

void meet_peer(void)
{
    input(solicitation(&bed));
    sent("nd advertisement 2001:db8::1 solicited override mac", NULL);
}

/* After a time in which nobody answered for it. */
void meet_peer_again(void)
{
    net_flush(st);
    capture_clear(&cap);
    meet_peer();
}

void nd(uint8_t type, uint32_t flags, const struct ip_addr *src, const struct ip_addr *dst, const struct ip_addr *target, int mac,
        uint8_t hops)
{
    uint8_t buf[32] = {type};
    flags = rte_cpu_to_be_32(flags);
    memcpy(buf + 4, &flags, 4);
    memcpy(buf + 8, target->b, 16);
    buf[24] = type == ICMP6_SOLICITATION ? ND_OPT_SOURCE : ND_OPT_TARGET;
    buf[25] = 1;
    memcpy(buf + 26, host_mac(mac).addr_bytes, 6);
    input(icmp6_frame_from(&bed, src, dst, buf, mac < 0 ? 24 : 32, hops));
}

int state_of(int host)
{
    struct ip_addr a = host6(host);
    return neigh_state(st, port, &a);
}

/* ---- UDP sockets that remember ---- */

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    (void)meta;
    mail_datagram(arg, m, len);
}

const struct udp_sock_ops mail = {on_datagram, mail_error};

struct udp_sock *open_socket(uint16_t number)
{
    return open_at(ANY6, number);
}

/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv6_hdr ip = {.payload_len = rte_cpu_to_be_16((uint16_t)(8 + len)), .proto = IPPROTO_UDP};
    memcpy(ip.src_addr, host6(1).b, 16);
    memcpy(ip.dst_addr, host6(0).b, 16);
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv6_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

int send_to_peer(struct udp_sock *s, size_t n)
{
    return send_to(s, host6(1), n);
}
