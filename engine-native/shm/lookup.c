/* SPDX-License-Identifier: BSD-3-Clause
 * From an address to the session that serves it. The engine alone writes the port chains; readers may meet a session
 * that just left one, so every node is checked and the walk is bounded. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "ops.h"

#define CHAIN_MAX 4096

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool zs_addr_is_v4(const uint8_t ip[16])
{
    return memcmp(ip, v4_prefix, 12) == 0;
}

bool zs_addr_is_any(const uint8_t ip[16])
{
    static const uint8_t zero[16];
    return memcmp(ip, zero, 16) == 0 || (zs_addr_is_v4(ip) && memcmp(ip + 12, zero, 4) == 0);
}

static bool prefix_matches(const struct zs_wire_addr *a, const uint8_t ip[16])
{
    uint32_t bits = a->prefix_len > 128 ? 128 : a->prefix_len, bytes = bits / 8;
    uint8_t mask = (uint8_t)(0xff00u >> bits % 8);
    return memcmp(a->ip, ip, bytes) == 0 && (mask == 0 || ((a->ip[bytes] ^ ip[bytes]) & mask) == 0);
}

/* The entry of the longest prefix with that flag, copied: false, there is none. Routers may change the table meanwhile. */
static bool wire_match(struct zs_view *v, const uint8_t ip[16], uint8_t flag, struct zs_wire_addr *found)
{
    const struct zs_arena_header *h = &v->arena->header;
    bool v4 = zs_addr_is_v4(ip);
    for (int round = 0; round < 1000; round++) {
        uint32_t seq = atomic_load_explicit(&h->wire_seq, memory_order_acquire);
        uint32_t n = h->wire_count < ZS_MAX_WIRE_ADDRS ? h->wire_count : ZS_MAX_WIRE_ADDRS;
        bool any = false;
        if (seq & 1)
            continue;
        for (uint32_t i = 0; i < n && !any; i++) { /* the prefix ::/0 has IPv4's addresses in it, but does not mean them */
            const struct zs_wire_addr *a = &h->wire[i];
            any = (a->flags & flag) && (a->prefix_len >= 96 && zs_addr_is_v4(a->ip)) == v4 && prefix_matches(a, ip);
            if (any)
                *found = *a;
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&h->wire_seq, memory_order_relaxed) == seq)
            return any;
    }
    return false;
}

static bool is_group(const uint8_t ip[16])
{
    return zs_addr_is_v4(ip) ? ip[12] >= 224 && ip[12] < 240 : ip[0] == 0xff;
}

static bool is_limited_broadcast(const uint8_t ip[16])
{
    return zs_addr_is_v4(ip) && (ip[12] & ip[13] & ip[14] & ip[15]) == 255;
}

bool zs_addr_is_group(const uint8_t ip[16])
{
    return is_group(ip);
}

static bool is_link_local(const uint8_t ip[16])
{
    return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

uint32_t zs_wire_port_to(struct zs_view *v, const struct zs_addr *to)
{
    struct zs_wire_addr a;
    /* Link-local: which link is meant says the scope. */
    bool link = is_link_local(to->ip) || (to->ip[0] == 0xff && ZS_WIRE_SCOPE_PORT(to->scope_id) != 0);
    if (link)
        return ZS_WIRE_SCOPE_PORT(to->scope_id);
    return wire_match(v, to->ip, ZS_WIRE_ROUTE, &a) ? a.port : 0;
}

bool zs_addr_on_wire(struct zs_view *v, const struct zs_addr *to)
{
    return !is_group(to->ip) && !is_limited_broadcast(to->ip) && zs_wire_port_to(v, to) != 0;
}

bool zs_addr_is_engine(struct zs_view *v, const uint8_t ip[16])
{
    struct zs_wire_addr a;
    return wire_match(v, ip, ZS_WIRE_OWN, &a);
}

uint32_t zs_wire_port_with(struct zs_view *v, const uint8_t ip[16])
{
    struct zs_wire_addr a;
    return wire_match(v, ip, ZS_WIRE_OWN, &a) ? a.port : 0;
}

bool zs_wire_port_copy(const struct zs_view *v, uint32_t port, struct zs_wire_port *p)
{
    const struct zs_arena_header *h = &v->arena->header;
    if (port == 0 || port > h->wire_ports || port > ZS_MAX_WIRE_PORTS)
        return false;
    *p = h->wire_port[port - 1];
    p->name[sizeof p->name - 1] = 0;
    return true;
}

bool zs_wire_is_broadcast(const struct zs_view *v, uint32_t port, const uint8_t ip[16])
{
    struct zs_wire_port p;
    uint32_t a, own;
    if (is_limited_broadcast(ip))
        return true;
    if (!zs_addr_is_v4(ip) || !zs_wire_port_copy(v, port, &p) || p.prefix4 == 0 || p.prefix4 > 30)
        return false;
    memcpy(&a, ip + 12, sizeof a);
    memcpy(&own, p.addr4, sizeof own);
    uint32_t host = UINT32_MAX >> p.prefix4;
    return ((ntohl(a) ^ ntohl(own)) & ~host) == 0 && (ntohl(a) & host) == host;
}

bool zs_wire_source(const struct zs_view *v, uint32_t port, bool v6, uint8_t ip[16])
{
    const struct zs_arena_header *h = &v->arena->header;
    for (uint32_t i = 0; i < h->wire_count && i < ZS_MAX_WIRE_ADDRS; i++)
        if ((h->wire[i].flags & ZS_WIRE_OWN) && h->wire[i].port == port && zs_addr_is_v4(h->wire[i].ip) != v6) {
            memcpy(ip, h->wire[i].ip, 16);
            return true;
        }
    return false;
}

bool zs_addr_is_loopback(const uint8_t ip[16])
{
    return zs_addr_is_v4(ip) ? ip[12] == 127 : memcmp(ip, &in6addr_loopback, 16) == 0;
}

bool zs_addr_is_own(struct zs_view *v, const uint8_t ip[16])
{
    struct zs_arena_header *h = &v->arena->header;
    if (zs_addr_is_loopback(ip))
        return true;
    if (zs_addr_is_engine(v, ip))
        return true;
    for (int round = 0; round < 1000; round++) {
        uint32_t seq = atomic_load_explicit(&h->own_seq, memory_order_acquire);
        uint32_t n = atomic_load_explicit(&h->own_count, memory_order_relaxed);
        bool found = false;
        if (seq & 1)
            continue;
        for (uint32_t i = 0; i < n && i < ZS_MAX_OWN_ADDRS && !found; i++)
            found = memcmp(h->own[i], ip, 16) == 0;
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&h->own_seq, memory_order_relaxed) == seq)
            return found;
    }
    return false;
}

void zs_addr_source(const uint8_t to[16], uint8_t from[16])
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    memcpy(from, to, 16);
    if (zs_addr_is_v4(to) && to[12] == 127)
        memcpy(from + 12, loopback, 4);
}

/* How well a bound address fits a destination: 0 not at all, 1 IPv6 wildcard for IPv4, 2 wildcard, 3 exact. */
static int bound_score(const struct zs_session *s, const struct zs_addr *to)
{
    bool v4 = zs_addr_is_v4(to->ip);
    if (memcmp(s->local.ip, to->ip, 16) == 0)
        return 3;
    if (!zs_addr_is_any(s->local.ip))
        return 0;
    if (s->local.family == AF_INET6)
        return v4 ? ((atomic_load(&s->flags) & ZS_F_V6ONLY) ? 0 : 1) : 2;
    return v4 ? 2 : 0;
}

struct lookup {
    uint32_t kind, port; /* port of the engine that it came by, 0: none */
    const struct zs_addr *to, *from; /* from: UDP only */
};

static int score(const struct zs_session *s, const struct lookup *l)
{
    if (s->kind != l->kind || atomic_load(&s->state) != ZS_S_OPEN || s->local.port != l->to->port)
        return 0;
    if (s->port != 0 && s->port != l->port)
        return 0;
    int fit = bound_score(s, l->to);
    if (fit > 0 && s->port != 0)
        fit += 8; /* bound to the device goes before not (compute_score) */
    if (fit == 0 || l->from == NULL || !(atomic_load(&s->flags) & ZS_F_CONNECTED))
        return fit;
    bool from_peer = s->remote.port == l->from->port && memcmp(s->remote.ip, l->from->ip, 16) == 0;
    return from_peer ? fit + 4 : 0;
}

static int64_t lookup(struct zs_view *v, _Atomic uint32_t *head, const struct lookup *l, uint32_t hash)
{
    uint32_t next = atomic_load_explicit(head, memory_order_acquire);
    int best = 0;
    uint32_t found = ZS_NO_SESSION, equal = 0;
    for (uint32_t steps = 0; next != 0 && steps < CHAIN_MAX; steps++) {
        struct zs_session *s = zs_session_at(v, next - 1);
        if (s == NULL)
            break;
        int fit = score(s, l);
        if (fit > best) {
            best = fit;
            equal = 1;
            found = next - 1;
        } else if (fit == best && fit > 0 && (atomic_load(&s->flags) & ZS_F_REUSEPORT)) {
            /* Reservoir choice by hash: the k-th of the group replaces the choice with probability 1/k. */
            equal++;
            hash ^= hash >> 16;
            hash *= 0x85ebca6bu; /* mixed anew for each: neighbours must not choose alike */
            hash ^= hash >> 13;
            hash *= 0xc2b2ae35u;
            if ((uint32_t)(((uint64_t)hash * equal) >> 32) == 0)
                found = next - 1;
        }
        next = atomic_load_explicit(&s->port_next, memory_order_acquire);
    }
    return found == ZS_NO_SESSION ? -ECONNREFUSED : (int64_t)found;
}

int64_t zs_lookup_listener(struct zs_view *v, const struct zs_addr *to, uint32_t port, uint32_t hash)
{
    const struct lookup l = {ZS_KIND_TCP_LISTEN, port, to, NULL};
    return lookup(v, &v->arena->tcp_ports.head[ntohs(to->port)], &l, hash);
}

int64_t zs_lookup_udp(struct zs_view *v, const struct zs_addr *to, const struct zs_addr *from, uint32_t port, uint32_t hash)
{
    const struct lookup l = {ZS_KIND_UDP, port, to, from};
    return lookup(v, &v->arena->udp_ports.head[ntohs(to->port)], &l, hash);
}

uint32_t zs_lookup_hash(const struct zs_addr *to, const struct zs_addr *from)
{
    uint32_t h = (uint32_t)from->port << 16 | to->port;
    for (int i = 0; i < 4; i++) {
        uint32_t a, b;
        memcpy(&a, to->ip + 4 * i, 4);
        memcpy(&b, from->ip + 4 * i, 4);
        h = (h ^ a) * 0x85ebca6bu;
        h = (h ^ h >> 13 ^ b) * 0xc2b2ae35u;
    }
    return h ^ h >> 16;
}

void zs_lookup_udp_each(struct zs_view *v, const struct zs_addr *to, const struct zs_addr *from, uint32_t port,
                        void (*each)(void *arg, uint32_t session), void *arg)
{
    const struct lookup l = {ZS_KIND_UDP, port, to, from};
    uint32_t next = atomic_load_explicit(&v->arena->udp_ports.head[ntohs(to->port)], memory_order_acquire);
    for (uint32_t steps = 0; next != 0 && steps < CHAIN_MAX; steps++) {
        struct zs_session *s = zs_session_at(v, next - 1);
        if (s == NULL)
            break;
        if (score(s, &l) > 0)
            each(arg, next - 1);
        next = atomic_load_explicit(&s->port_next, memory_order_acquire);
    }
}
