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

static bool wire_match(struct zs_view *v, const uint8_t ip[16], uint8_t flag)
{
    const struct zs_arena_header *h = &v->arena->header;
    uint32_t n = h->wire_count < ZS_MAX_WIRE_ADDRS ? h->wire_count : ZS_MAX_WIRE_ADDRS;
    bool v4 = zs_addr_is_v4(ip);
    for (uint32_t i = 0; i < n; i++) { /* the prefix ::/0 has IPv4's addresses in it, but does not mean them */
        const struct zs_wire_addr *a = &h->wire[i];
        if ((a->flags & flag) && (a->prefix_len >= 96 && zs_addr_is_v4(a->ip)) == v4 && prefix_matches(a, ip))
            return true;
    }
    return false;
}

bool zs_addr_on_wire(struct zs_view *v, const struct zs_addr *to)
{
    const uint8_t *ip = to->ip;
    if (zs_addr_is_v4(ip) ? ip[12] >= 224 : ip[0] == 0xff)
        return false; /* multicast and limited broadcast are the kernel's */
    if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) /* link-local: which link is meant says the scope */
        return ZS_WIRE_SCOPE_PORT(to->scope_id) != 0;
    return wire_match(v, ip, ZS_WIRE_ROUTE);
}

bool zs_addr_is_engine(struct zs_view *v, const uint8_t ip[16])
{
    return wire_match(v, ip, ZS_WIRE_OWN);
}

bool zs_addr_is_own(struct zs_view *v, const uint8_t ip[16])
{
    struct zs_arena_header *h = &v->arena->header;
    if (zs_addr_is_v4(ip) ? ip[12] == 127 : memcmp(ip, &in6addr_loopback, 16) == 0)
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
    uint32_t kind;
    const struct zs_addr *to, *from; /* from: UDP only */
};

static int score(const struct zs_session *s, const struct lookup *l)
{
    if (s->kind != l->kind || atomic_load(&s->state) != ZS_S_OPEN || s->local.port != l->to->port)
        return 0;
    int fit = bound_score(s, l->to);
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

int64_t zs_lookup_listener(struct zs_view *v, const struct zs_addr *to, uint32_t hash)
{
    const struct lookup l = {ZS_KIND_TCP_LISTEN, to, NULL};
    return lookup(v, &v->arena->tcp_ports.head[ntohs(to->port)], &l, hash);
}

int64_t zs_lookup_udp(struct zs_view *v, const struct zs_addr *to, const struct zs_addr *from, uint32_t hash)
{
    const struct lookup l = {ZS_KIND_UDP, to, from};
    return lookup(v, &v->arena->udp_ports.head[ntohs(to->port)], &l, hash);
}
