/* SPDX-License-Identifier: BSD-3-Clause
 * The uniqueness of our IPv6 addresses: duplicate address detection (RFC 4862 5.4) in the optimistic form (RFC 4429) with
 * nonces (RFC 7527): addresses are used at once, and until a second has passed without objection nothing we say replaces what
 * others know. What another host says is told, at most once a minute, and the address kept, as with IPv4 (acd.h); RFC
 * 4862 5.4.5 would take it from the interface. Who objects within that second had it first: nothing is defended then, and we ask again
 * after a minute. Later it is ours, and defended. */
#include "acd.h"
#include "ipv6.h"

#define DAD_LINK_LOCAL 1u
#define DAD_ADDR6 2u
#define NONCE_MASK ((UINT64_C(1) << 48) - 1)

static uint8_t bit_of(const struct net_port *port, const struct ip_addr *addr)
{
    return ip_eq(addr, &port->link_local) ? DAD_LINK_LOCAL : ip_eq(addr, &port->conf.addr6) ? DAD_ADDR6 : 0;
}

/* The bits of all that the port has. */
static uint8_t all_of(const struct net_port *port)
{
    return ip_eq(&port->conf.addr6, &port->link_local) ? DAD_LINK_LOCAL : DAD_LINK_LOCAL | DAD_ADDR6;
}

bool dad_is_unsure(const struct net_port *port, const struct ip_addr *addr)
{
    return port->dad_unsure & bit_of(port, addr);
}

/* For each address in `set`. */
static void ask(struct net_port *port, uint8_t set)
{
    struct stack *st = port->stack;
    port->dad_waiting = true;
    port->dad_contested &= (uint8_t)~set;
    wheel_arm(&st->wheel, &port->dad, st->now + DAD_WAIT_NS);
    if (!net_speaks(st))
        return;
    do
        port->dad_nonce = net_random(st) & NONCE_MASK;
    while (port->dad_nonce == 0);
    if (set & DAD_LINK_LOCAL)
        nd_probe(port, &port->link_local, port->dad_nonce);
    if (set & DAD_ADDR6)
        nd_probe(port, &port->conf.addr6, port->dad_nonce);
}

/* Others may replace what they knew (RFC 9131). */
static void announce(struct net_port *port, uint8_t set)
{
    if (!net_speaks(port->stack))
        return;
    if (set & DAD_LINK_LOCAL)
        nd_advertise(port, &port->link_local);
    if (set & DAD_ADDR6)
        nd_advertise(port, &port->conf.addr6);
}

static void due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, dad));
    struct stack *st = ctx;
    if (!port->dad_waiting) {
        ask(port, port->dad_unsure);
        return;
    }
    uint8_t sure = port->dad_unsure & (uint8_t)~port->dad_contested;
    port->dad_waiting = false;
    port->dad_unsure &= port->dad_contested;
    if (port->dad_unsure != 0)
        wheel_arm(&st->wheel, t, st->now + DAD_RETRY_NS + net_random(st) % NET_NS_PER_S);
    announce(port, sure);
}

void dad_prepare(struct net_port *port)
{
    port->dad.fire = due;
    port->dad_unsure = port->conf.probe ? all_of(port) : 0;
}

void dad_start(struct net_port *port)
{
    if (port->conf.probe)
        ask(port, port->dad_unsure);
    else
        announce(port, all_of(port));
}

void dad_new_address(struct net_port *port)
{
    if (port->conf.probe) {
        port->dad_unsure |= DAD_ADDR6;
        ask(port, DAD_ADDR6);
    } else {
        announce(port, DAD_ADDR6);
    }
}

void dad_forget_address(struct net_port *port)
{
    port->dad_unsure &= (uint8_t)~DAD_ADDR6;
    port->dad_contested &= (uint8_t)~DAD_ADDR6;
}

static void tell(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    NET_COUNT(port->stack, ND_CONFLICT);
    acd_tell(port, addr, mac, &port->conflict6_told);
}

void dad_claimed(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    struct stack *st = port->stack;
    uint8_t bit = bit_of(port, addr);
    if (!net_speaks(st))
        return;
    tell(port, addr, mac);
    if (port->dad_unsure & bit) {
        port->dad_contested |= bit;
        return;
    }
    /* But not in a shouting match (as RFC 5227 2.4 (c)). */
    if (port->defended6 != 0 && st->now - port->defended6 < ACD_DEFEND_INTERVAL_NS)
        return;
    port->defended6 = st->now;
    nd_advertise(port, addr);
}

bool dad_asked(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac, uint64_t nonce)
{
    uint8_t bit = bit_of(port, addr);
    if (nonce != 0 && nonce == port->dad_nonce) { /* RFC 7527 4.2 */
        NET_COUNT(port->stack, ND_LOOPED);
        return false;
    }
    if (net_speaks(port->stack) && (port->dad_unsure & bit)) {
        tell(port, addr, mac);
        port->dad_contested |= bit;
    }
    return true;
}
