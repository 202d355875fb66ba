/* SPDX-License-Identifier: BSD-3-Clause
 * Address conflict detection: see acd.h. */
#include "acd.h"

#include "arp.h"

static const char *const state_names[] = {
#define X(id, name) name,
    ACD_STATES(X)
#undef X
};

static void set_state(struct net_port *port, enum acd_state state, uint32_t left)
{
    char text[IP_TEXT];
    const struct ip_addr ours = ip_from_v4(port->conf.addr);
    if (port->stack->conf.trace != NULL)
        net_trace(port->stack, "address %s: %s => %s", ip_text(&ours, text), state_names[port->acd_state], state_names[state]);
    port->acd_state = (uint8_t)state;
    port->acd_left = (uint8_t)left;
}

static void arm(struct net_port *port, uint64_t after)
{
    struct stack *st = port->stack;
    wheel_arm(&st->wheel, &port->acd, st->now + after);
}

static void next_probe(struct net_port *port)
{
    arp_probe(port);
    uint64_t random = net_random(port->stack) % (ACD_PROBE_MAX_NS - ACD_PROBE_MIN_NS);
    arm(port, --port->acd_left > 0 ? ACD_PROBE_MIN_NS + random : ACD_ANNOUNCE_WAIT_NS);
}

static void next_announcement(struct net_port *port)
{
    arp_announce(port);
    if (--port->acd_left > 0)
        arm(port, ACD_ANNOUNCE_INTERVAL_NS);
    else
        set_state(port, ACD_OURS, 0);
}

static void due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, acd));
    (void)ctx;
    if (port->acd_state == ACD_CONTESTED)
        set_state(port, ACD_PROBING, ACD_PROBE_NUM);
    else if (port->acd_state == ACD_PROBING && port->acd_left == 0)
        set_state(port, ACD_ANNOUNCING, ACD_ANNOUNCE_NUM);
    if (port->acd_state == ACD_PROBING)
        next_probe(port);
    else
        next_announcement(port);
}

void acd_start(struct net_port *port)
{
    port->acd.fire = due;
    if (port->conf.probe)
        set_state(port, ACD_PROBING, ACD_PROBE_NUM);
    else
        set_state(port, ACD_ANNOUNCING, ACD_ANNOUNCE_NUM);
    due(port->stack, &port->acd);
}

void acd_tell(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac, uint64_t *told)
{
    struct stack *st = port->stack;
    if (st->conf.conflict == NULL || (*told != 0 && st->now - *told < ACD_RATE_LIMIT_INTERVAL_NS))
        return;
    *told = st->now;
    st->conf.conflict(st->conf.owner, port, addr, mac);
}

static void conflict(struct net_port *port, const struct rte_ether_addr *mac)
{
    struct stack *st = port->stack;
    const struct ip_addr ours = ip_from_v4(port->conf.addr);
    NET_COUNT(st, ARP_CONFLICT);
    acd_tell(port, &ours, mac, &port->conflict_told);
    if (port->acd_state == ACD_PROBING) {
        set_state(port, ACD_CONTESTED, 0);
        arm(port, ACD_RATE_LIMIT_INTERVAL_NS + net_random(st) % NET_NS_PER_S);
    }
    if (port->acd_state == ACD_CONTESTED || (port->defended != 0 && st->now - port->defended < ACD_DEFEND_INTERVAL_NS))
        return;
    port->defended = st->now;
    arp_announce(port);
}

bool acd_heard(struct net_port *port, uint16_t op, const struct rte_arp_ipv4 *data)
{
    bool claims = data->arp_sip == port->conf.addr;
    /* Somebody who is about to take it, while we are (2.1.1). He is answered as everybody who asks for an address in use. */
    bool probes = op == RTE_ARP_OP_REQUEST && data->arp_sip == 0 && data->arp_tip == port->conf.addr && port->acd_state == ACD_PROBING;
    bool others = !rte_is_same_ether_addr(&data->arp_sha, &port->conf.mac); /* else our own, come back */
    if ((claims || probes) && others && net_speaks(port->stack))
        conflict(port, &data->arp_sha);
    return claims || !others;
}
