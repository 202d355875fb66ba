/* SPDX-License-Identifier: BSD-3-Clause
 * See net_one4.h. */
#include "net_one4.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_udp.h>

int up(void **state)
{
    (void)state;
    one_stack();
    one_port();
    sent("arp request 0a000001 for 0a000001 broadcast", NULL);
    pass(3 * SEC);
    sent("arp request 0a000001 for 0a000001 broadcast", NULL); /* RFC 5227 2.3: twice */
    return 0;
}

void arp(uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip)
{
    input(arp_frame(&bed, op, sha, sip, tip));
}

void meet_peer(void)
{
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(0));
    sent("arp reply 0a000001 for 0a000002", NULL);
}

/* ---- UDP sockets that remember ---- */
static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    assert_int_equal(ip_to_v4(&meta->from.ip), HOST_IP(1));
    mail_datagram(arg, m, len);
}

const struct udp_sock_ops mail = {on_datagram, mail_error};

struct udp_sock *open_socket(uint16_t number)
{
    return open_at(ANY4, number);
}

/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(28 + len)),
                              .next_proto_id = IPPROTO_UDP, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv4_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

int send_to_peer(struct udp_sock *s, size_t n)
{
    return send_to(s, HOST(1), n);
}
