/* SPDX-License-Identifier: BSD-3-Clause
 * What the backends of the wire have in common: ports, their addresses, what is told of them. */
#define _GNU_SOURCE
#include "stack_ports.h"

#include "ipv6.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

bool stack_port_open(struct stack_port *p, const char *text, const struct port_threads *threads, struct rte_mempool *rx,
                     struct engine_failure *f)
{
    struct port_failure why = {0};
    char wrong[sizeof f->text - 64];
    if (port_spec_parse(text, &p->spec, wrong, sizeof wrong) != 0) {
        engine_fail(f, ENGINE_EXIT_USAGE, "ZS2011", "zstackd --help tells the form", "--port %s: %s", text, wrong);
        return false;
    }
    p->port = port_open(&p->spec, threads, rx, &why);
    if (p->port == NULL) {
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2121", why.hint, "%s", why.text);
        return false;
    }
    port_conf(p->port, 0, &p->conf);
    return true;
}

uint32_t stack_put_addr(struct zs_wire_addr *to, uint32_t at, uint32_t max, const struct ip_addr *ip, uint8_t prefix, uint8_t flags,
                        uint8_t port)
{
    if (at >= max)
        return at;
    to[at] = (struct zs_wire_addr){.prefix_len = prefix, .flags = flags, .port = port};
    memcpy(to[at].ip, ip->b, sizeof to[at].ip);
    return at + 1;
}

uint32_t stack_port_own(const struct stack_port *p, const struct ip_addr *addr6, uint8_t number, struct zs_wire_addr *to, uint32_t at,
                        uint32_t max)
{
    struct ip_addr v4 = ip_from_v4(p->conf.addr);
    if (p->conf.addr != 0)
        at = stack_put_addr(to, at, max, &v4, 128, ZS_WIRE_OWN, number);
    if (p->conf.has6 && !ip_is_any(addr6) && !ip6_is_link_local(addr6))
        at = stack_put_addr(to, at, max, addr6, 128, ZS_WIRE_OWN, number);
    return at;
}

void stack_port_tell(const struct stack_port *p, struct zs_wire_port *to)
{
    const struct net_port_conf *c = &p->conf;
    *to = (struct zs_wire_port){.kernel_if = port_kernel_if(p->port), .mtu = c->mtu, .prefix4 = c->prefix_len, .has6 = c->has6};
    snprintf(to->name, sizeof to->name, "%.31s", p->spec.device);
    memcpy(to->addr4, &c->addr, sizeof to->addr4);
}

static json_t *cidr(struct ip_addr ip, uint8_t prefix)
{
    char text[IP_TEXT + 4];
    ip6_unzone(&ip);
    ip_text(&ip, text);
    if (prefix != 0)
        sprintf(text + strlen(text), "/%u", prefix);
    return json_string(text);
}

static json_t *addresses(const struct net_port_conf *c, const struct ip_addr *link_local)
{
    json_t *list = json_array();
    if (c->addr != 0)
        json_array_append_new(list, cidr(ip_from_v4(c->addr), c->prefix_len));
    if (!c->has6)
        return list;
    json_array_append_new(list, cidr(c->addr6, c->prefix6_len));
    if (link_local != NULL && !ip_eq(&c->addr6, link_local))
        json_array_append_new(list, cidr(*link_local, 64));
    return list;
}

json_t *stack_port_describe(const struct stack_port *p, const struct net_port_conf *c, const struct ip_addr *link_local)
{
    struct port_stats s;
    char mac[RTE_ETHER_ADDR_FMT_SIZE];
    port_stats(p->port, &s);
    rte_ether_format_addr(mac, sizeof mac, &c->mac);
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:s, s:i, s:b, s:s, s:s, s:s, s:i, s:s}", "device", p->spec.device, "driver", s.driver,
                          "kind", s.kind, "ip", addresses(c, link_local), "mac", mac, "mtu", (int)c->mtu, "link",
                          s.link_up, "sleep", port_sleep_max_ns(p->port, 0) == UINT64_MAX ? "fd" : "timer", "copies",
                          s.copies != NULL ? s.copies : "", "tso", s.tso, "queues", (int)s.queues, "spread", s.spread);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"rx_packets", s.rx_packets}, {"rx_bytes", s.rx_bytes}, {"rx_missed", s.rx_missed}, {"rx_errors", s.rx_errors},
        {"rx_nombuf", s.rx_nombuf}, {"rx_long", s.rx_long}, {"tx_packets", s.tx_packets}, {"tx_bytes", s.tx_bytes},
        {"tx_errors", s.tx_errors}, {"tx_cut_lost", s.tx_cut_lost}, {"link_ups", port_link_ups(p->port)},
    };
    for (size_t k = 0; k < RTE_DIM(counters); k++)
        json_object_set_new(o, counters[k].name, json_integer((json_int_t)counters[k].value));
    if (c->gateway != 0)
        json_object_set_new(o, "gateway", cidr(ip_from_v4(c->gateway), 0));
    if (c->has6 && !ip_is_any(&c->gateway6))
        json_object_set_new(o, "gateway6", cidr(c->gateway6, 0));
    return o;
}

uint64_t stack_port_sleep(struct stack_port *p, uint32_t thread, uint64_t longest)
{
    uint64_t most = port_sleep_max_ns(p->port, thread);
    return port_sleep(p->port, thread) ? RTE_MIN(longest, most) : 0;
}

void stack_port_warn(struct stack_port *p, void (*log)(void *engine, bool warning, const char *line), void *engine)
{
    const char *warning = port_warning(p->port);
    if (warning != NULL)
        log(engine, true, warning);
}

void stack_port_capture(struct stack_port *p, uint32_t number, wire_frame_fn *frame, void *arg)
{
    port_tap(p->port, frame, arg, number);
}
