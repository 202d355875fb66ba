/* SPDX-License-Identifier: BSD-3-Clause
 * ARP: see arp.h. */
#include "arp.h"

#include <rte_arp.h>

#include "acd.h"
#include "ipv4.h"
#include "route.h"

/* ---- Packets ---- */

static void send_arp_from(struct net_port *port, rte_be32_t sender, uint16_t op, const struct rte_ether_addr *eth_dst,
                          const struct rte_ether_addr *target_mac, rte_be32_t target)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_append(m, sizeof *eth + sizeof(struct rte_arp_hdr));
    struct rte_arp_hdr *arp = (void *)(eth + 1);
    *eth = (struct rte_ether_hdr){*eth_dst, port->conf.mac, RTE_BE16(RTE_ETHER_TYPE_ARP)};
    arp->arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
    arp->arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
    arp->arp_hlen = RTE_ETHER_ADDR_LEN;
    arp->arp_plen = sizeof(rte_be32_t);
    arp->arp_opcode = rte_cpu_to_be_16(op);
    arp->arp_data = (struct rte_arp_ipv4){port->conf.mac, sender, *target_mac, target};
    port_send(port, m);
}

static void send_arp(struct net_port *port, uint16_t op, const struct rte_ether_addr *eth_dst,
                     const struct rte_ether_addr *target_mac, rte_be32_t target)
{
    send_arp_from(port, port->conf.addr, op, eth_dst, target_mac, target);
}

static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
static const struct rte_ether_addr unknown = {{0}};

void arp_announce(struct net_port *port)
{
    NET_COUNT(port->stack, ARP_ANNOUNCED);
    send_arp(port, RTE_ARP_OP_REQUEST, &broadcast, &unknown, port->conf.addr);
}

void arp_probe(struct net_port *port)
{
    NET_COUNT(port->stack, ARP_PROBES_TX);
    send_arp_from(port, 0, RTE_ARP_OP_REQUEST, &broadcast, &unknown, port->conf.addr);
}

void arp_ask(struct net_port *port, rte_be32_t addr, const struct rte_ether_addr *to)
{
    NET_COUNT(port->stack, ARP_REQUESTS_TX);
    send_arp(port, RTE_ARP_OP_REQUEST, to != NULL ? to : &broadcast, &unknown, addr);
}

/* ---- In ---- */

void arp_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    if (port->conf.addr == 0) { /* a port without IPv4 */
        net_drop(st, m, NET_ETH_TYPE);
        return;
    }
    NET_COUNT(st, ARP_RX);
    const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
    bool bad = rte_pktmbuf_data_len(m) < sizeof *arp || arp->arp_hardware != RTE_BE16(RTE_ARP_HRD_ETHER) ||
               arp->arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) || arp->arp_hlen != RTE_ETHER_ADDR_LEN ||
               arp->arp_plen != sizeof(rte_be32_t) ||
               (arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) && arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REPLY)) ||
               !rte_is_unicast_ether_addr(&arp->arp_data.arp_sha) || rte_is_zero_ether_addr(&arp->arp_data.arp_sha);
    if (bad) {
        net_drop(st, m, NET_ARP_BAD);
        return;
    }
    struct rte_arp_ipv4 data = arp->arp_data;
    uint16_t op = rte_be_to_cpu_16(arp->arp_opcode);
    rte_pktmbuf_free(m);
    if (acd_heard(port, op, &data) || data.arp_sip == port->conf.addr)
        return;
    /* An answer to a probe for our address (RFC 5227 2.1.1, sender address 0) is all that a sender gets who is not on the link,
     * by the port's prefix or by a route; nothing is learned from it. */
    struct ip_addr sender = ip_from_v4(data.arp_sip);
    const struct route *r = route_find(st, &sender, port);
    bool neighbour = r != NULL && ip_is_any(&r->hop) && data.arp_sip != 0 && !ip4_is_broadcast(port, data.arp_sip);
    struct neigh *e = neighbour ? neigh_find(st, port, &sender) : NULL;
    bool for_us = data.arp_tip == port->conf.addr;
    /* RFC 826's merge flag: refresh what we know; learn from what is for us. A reply nobody asked for creates nothing. */
    if (e == NULL && neighbour && for_us && op == RTE_ARP_OP_REQUEST)
        e = neigh_met(port, &sender);
    if (e != NULL)
        neigh_confirmed(st, e, &data.arp_sha);
    if (for_us && op == RTE_ARP_OP_REQUEST && (neighbour || data.arp_sip == 0) && net_speaks(st)) {
        NET_COUNT(st, ARP_REPLIES_TX);
        send_arp(port, RTE_ARP_OP_REPLY, &data.arp_sha, &data.arp_sha, data.arp_sip);
    }
}
