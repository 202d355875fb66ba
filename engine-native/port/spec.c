/* SPDX-License-Identifier: BSD-3-Clause
 * The text after --port: DEVICE[,KEY=VALUE...]. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "ip.h"

#define KEYS "ip, gateway, ip6, gateway6, ra, route, mtu, mac, bell, tso, gro, probe, redirects"

struct parser {
    struct port_spec *spec;
    char *why;
    size_t size;
};

static bool refuse(const struct parser *ps, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(const struct parser *ps, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ps->why, ps->size, format, args);
    va_end(args);
    return false;
}

static bool number(const char *text, unsigned long max, unsigned long *value)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    *value = strtoul(text, &end, 10);
    return *end == 0 && strlen(text) < 10 && *value <= max;
}

/* ADDR/LEN */
static bool prefix(const char *text, int family, void *addr, unsigned max, uint8_t *len)
{
    char copy[64];
    unsigned long n;
    if (strlen(text) >= sizeof copy)
        return false;
    strcpy(copy, text);
    char *slash = strchr(copy, '/');
    if (slash == NULL)
        return false;
    *slash = 0;
    if (!number(slash + 1, max, &n) || n == 0)
        return false;
    *len = (uint8_t)n;
    return inet_pton(family, copy, addr) == 1;
}

static uint32_t mask_of(uint8_t len)
{
    return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

/* A host's address in a network of that length. */
static bool is_host(rte_be32_t addr, uint8_t len)
{
    uint32_t a = rte_be_to_cpu_32(addr), host = a & ~mask_of(len);
    if (a == 0 || a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14)
        return false;
    return len >= 31 || (host != 0 && host != ~mask_of(len));
}

static bool key_ip(const struct parser *ps, const char *value)
{
    if (!prefix(value, AF_INET, &ps->spec->addr, 32, &ps->spec->prefix_len))
        return refuse(ps, "ip: expected A.B.C.D/LEN with LEN 1 to 32, got \"%s\"", value);
    if (!is_host(ps->spec->addr, ps->spec->prefix_len))
        return refuse(ps, "ip: expected the address of a host, got \"%s\"", value);
    return true;
}

static bool key_gateway(const struct parser *ps, const char *value)
{
    if (inet_pton(AF_INET, value, &ps->spec->gateway) != 1 || ps->spec->gateway == 0)
        return refuse(ps, "gateway: expected A.B.C.D, got \"%s\"", value);
    return true;
}

static bool key_ip6(const struct parser *ps, const char *value)
{
    if (!prefix(value, AF_INET6, ps->spec->ip6, 128, &ps->spec->prefix6) || ps->spec->ip6[0] == 0xff)
        return refuse(ps, "ip6: expected a unicast ADDR/LEN with LEN 1 to 128, got \"%s\"", value);
    ps->spec->has_ip6 = true;
    return true;
}

static bool key_gateway6(const struct parser *ps, const char *value)
{
    if (inet_pton(AF_INET6, value, ps->spec->gateway6) != 1 || ps->spec->gateway6[0] == 0xff)
        return refuse(ps, "gateway6: expected a unicast IPv6 address, got \"%s\"", value);
    ps->spec->has_gateway6 = true;
    return true;
}

static bool on_or_off(const struct parser *ps, const char *key, const char *value, bool *on)
{
    *on = strcmp(value, "on") == 0;
    return *on || strcmp(value, "off") == 0 || refuse(ps, "%s: expected on or off, got \"%s\"", key, value);
}

static bool key_ra(const struct parser *ps, const char *value)
{
    return on_or_off(ps, "ra", value, &ps->spec->ra);
}

static bool key_gro(const struct parser *ps, const char *value)
{
    return on_or_off(ps, "gro", value, &ps->spec->gro);
}

static bool key_probe(const struct parser *ps, const char *value)
{
    return on_or_off(ps, "probe", value, &ps->spec->probe);
}

static bool key_redirects(const struct parser *ps, const char *value)
{
    return on_or_off(ps, "redirects", value, &ps->spec->redirects);
}

static bool any_address(const char *text, struct ip_addr *a)
{
    rte_be32_t v4;
    if (inet_pton(AF_INET6, text, a->b) == 1)
        return !ip_is_v4(a);
    if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    *a = ip_from_v4(v4);
    return true;
}

/* PREFIX/LEN[@GATEWAY] */
static bool one_route(char *text, struct net_route *r)
{
    unsigned long len;
    char *at = strchr(text, '@'), *slash = strchr(text, '/');
    if (slash == NULL || (at != NULL && at < slash))
        return false;
    *slash = 0;
    if (at != NULL)
        *at = 0;
    if (!any_address(text, &r->prefix))
        return false;
    bool v4 = ip_is_v4(&r->prefix);
    if (!number(slash + 1, v4 ? 32 : 128, &len))
        return false;
    r->len = (uint8_t)(len + (v4 ? 96 : 0));
    r->hop = v4 ? ip_from_v4(0) : (struct ip_addr){.w = {0}};
    return at == NULL || (any_address(at + 1, &r->hop) && ip_is_v4(&r->hop) == v4 && !ip_is_any(&r->hop));
}

static bool key_route(const struct parser *ps, const char *value)
{
    char copy[512], *rest = copy;
    if (strlen(value) >= sizeof copy)
        return refuse(ps, "route: too long");
    strcpy(copy, value);
    for (char *one; (one = strsep(&rest, "+")) != NULL;) {
        if (ps->spec->nroutes == NET_PORT_ROUTES)
            return refuse(ps, "route: expected at most %u of them", NET_PORT_ROUTES);
        if (!one_route(one, &ps->spec->route[ps->spec->nroutes++]))
            return refuse(ps, "route: expected PREFIX/LEN[@GATEWAY], several with + between them, got \"%s\"", value);
    }
    return true;
}

static bool key_mtu(const struct parser *ps, const char *value)
{
    unsigned long mtu;
    if (!number(value, PORT_MTU_MAX, &mtu) || mtu < PORT_MTU_MIN)
        return refuse(ps, "mtu: expected %u to %u bytes, got \"%s\"", PORT_MTU_MIN, PORT_MTU_MAX, value);
    ps->spec->mtu = (uint16_t)mtu;
    return true;
}

static bool key_mac(const struct parser *ps, const char *value)
{
    if (strcmp(value, "device") == 0) {
        ps->spec->mac_from = PORT_MAC_DEVICE;
        return true;
    }
    if (strlen(value) != 17 || rte_ether_unformat_addr(value, &ps->spec->mac) != 0 ||
        !rte_is_valid_assigned_ether_addr(&ps->spec->mac))
        return refuse(ps, "mac: expected XX:XX:XX:XX:XX:XX of one station, or \"device\", got \"%s\"", value);
    ps->spec->mac_from = PORT_MAC_GIVEN;
    return true;
}

static bool key_bell(const struct parser *ps, const char *value)
{
    if (value[0] != '/' || strlen(value) >= sizeof ps->spec->bell)
        return refuse(ps, "bell: expected an absolute path of less than %zu characters, got \"%s\"",
                      sizeof ps->spec->bell, value);
    strcpy(ps->spec->bell, value);
    return true;
}

static bool key_tso(const struct parser *ps, const char *value)
{
    static const char *const words[] = {[PORT_AUTO] = "auto", [PORT_ON] = "on", [PORT_OFF] = "off"};
    for (size_t i = 0; i < RTE_DIM(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            ps->spec->tso = (enum port_switch)i;
            return true;
        }
    }
    return refuse(ps, "tso: expected on, off or auto, got \"%s\"", value);
}

static const struct {
    const char *name;
    bool (*parse)(const struct parser *ps, const char *value);
} keys[] = {
    {"ip", key_ip},   {"gateway", key_gateway}, {"ip6", key_ip6},   {"gateway6", key_gateway6},
    {"ra", key_ra}, {"route", key_route}, {"mtu", key_mtu}, {"mac", key_mac},         {"bell", key_bell},
    {"tso", key_tso}, {"gro", key_gro}, {"probe", key_probe}, {"redirects", key_redirects},
};

static bool pair(const struct parser *ps, char *text, unsigned *seen)
{
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return refuse(ps, "expected KEY=VALUE with one of the keys " KEYS ", got \"%s\"", text);
    *equals = 0;
    for (size_t i = 0; i < RTE_DIM(keys); i++) {
        if (strcmp(keys[i].name, text) != 0)
            continue;
        if (*seen & (1u << i))
            return refuse(ps, "%s: given twice", text);
        *seen |= 1u << i;
        return keys[i].parse(ps, equals + 1);
    }
    return refuse(ps, "expected one of the keys " KEYS ", got \"%s\"", text);
}

/* What only shows when all keys are known. */
static bool consistent(const struct parser *ps)
{
    const struct port_spec *s = ps->spec;
    uint32_t mask = mask_of(s->prefix_len);
    if (s->addr == 0 && !s->has_ip6)
        return refuse(ps, "%s: expected an address, ip=A.B.C.D/LEN", s->device);
    for (uint32_t i = 0; i < s->nroutes; i++)
        if (ip_is_v4(&s->route[i].prefix) ? s->addr == 0 : !s->has_ip6)
            return refuse(ps, "route: expected an address of the port of the same protocol, ip= or ip6=");
    if (s->gateway != 0 && s->addr == 0)
        return refuse(ps, "gateway: expected ip=A.B.C.D/LEN with it");
    if (s->gateway != 0 && (s->gateway == s->addr || !is_host(s->gateway, s->prefix_len) ||
                            (rte_be_to_cpu_32(s->gateway ^ s->addr) & mask) != 0))
        return refuse(ps, "gateway: expected another host of the network that ip= names, got \"%u.%u.%u.%u\"",
                      rte_be_to_cpu_32(s->gateway) >> 24, (rte_be_to_cpu_32(s->gateway) >> 16) & 255,
                      (rte_be_to_cpu_32(s->gateway) >> 8) & 255, rte_be_to_cpu_32(s->gateway) & 255);
    if (s->has_gateway6 && !s->has_ip6)
        return refuse(ps, "gateway6: expected ip6=ADDR/LEN with it");
    if (s->has_ip6 && s->mtu != 0 && s->mtu < PORT_MTU_MIN6)
        return refuse(ps, "mtu: expected at least %u with ip6, got \"%u\"", PORT_MTU_MIN6, s->mtu);
    return true;
}

int port_spec_parse(const char *text, struct port_spec *spec, char *why, size_t why_size)
{
    struct parser ps = {spec, why, why_size};
    unsigned seen = 0;
    *spec = (struct port_spec){.mac_from = PORT_MAC_OWN, .gro = true, .probe = true, .redirects = true};
    size_t n = strcspn(text, ",");
    if (n == 0 || n >= sizeof spec->device || memchr(text, '=', n) != NULL) {
        refuse(&ps, "expected DEVICE[,KEY=VALUE...] with the DPDK name of a device, got \"%s\"", text);
        return -1;
    }
    memcpy(spec->device, text, n);
    char *copy = strdup(text + n);
    if (copy == NULL) {
        refuse(&ps, "no memory");
        return -1;
    }
    char *rest = copy[0] == ',' ? copy + 1 : NULL;
    bool ok = true;
    for (char *key; ok && (key = strsep(&rest, ",")) != NULL;)
        ok = pair(&ps, key, &seen);
    free(copy);
    if (ok && spec->ra)
        spec->has_ip6 = true;
    return ok && consistent(&ps) ? 0 : -1;
}
