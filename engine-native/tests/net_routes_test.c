/* SPDX-License-Identifier: BSD-3-Clause
 * Routes of every origin: configured, static, advertised by routers; lifetimes, autoconfiguration, bounds. And the table of
 * neighbours when it is full. */
#include "net_one6.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>

#include "neigh.h"
#include "route.h"

static struct ip_addr a6(const char *text)
{
    struct ip_addr a;
    assert_int_equal(inet_pton(AF_INET6, text, a.b), 1);
    return a;
}

/* A stack whose port has what `more` says; IPv6 without an address of its own, unless it is IPv4. */
static void start(bool v6, const struct net_port_conf *more)
{
    bed.ip6 = v6;
    now = SEC;
    cap.describe = NULL;
    struct net_port_conf conf = *more;
    conf.ops = &capture_ops;
    conf.dev = &cap;
    conf.name = "wire";
    conf.mac = host_mac(0);
    conf.mtu = 1500;
    conf.has6 = conf.probe = v6;
    st = bed_stack(&bed, "routes", now);
    port = stack_add_port(st, &conf, now);
    assert_non_null(port);
}

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    (void)arg;
    describe_frame(f, line, size);
}

static int nothing(void **state)
{
    (void)state;
    return 0;
}

static void quiet(void)
{
    net_flush(st);
    capture_clear(&cap);
}

static void begin_ra(bool on)
{
    const struct net_port_conf conf = {.ra = on};
    start(true, &conf);
    cap.describe = describe;
}

/* ---- An advertisement, in parts ---- */

static uint8_t ra[512];
static uint16_t ra_len;

static void ra_new(uint16_t lifetime)
{
    memset(ra, 0, sizeof ra);
    ra[0] = ICMP6_ROUTER_ADVERTISEMENT;
    ra[4] = 64;
    ra[6] = (uint8_t)(lifetime >> 8);
    ra[7] = (uint8_t)lifetime;
    ra_len = 16;
}

static void put32(uint8_t *to, uint32_t v)
{
    v = rte_cpu_to_be_32(v);
    memcpy(to, &v, 4);
}

static void ra_prefix(const char *prefix, uint8_t len, uint8_t flags, uint32_t valid, uint32_t preferred)
{
    uint8_t *o = ra + ra_len;
    struct ip_addr p = a6(prefix);
    memcpy(o, (uint8_t[]){3, 4, len, flags}, 4);
    put32(o + 4, valid);
    put32(o + 8, preferred);
    memcpy(o + 16, p.b, 16);
    ra_len = (uint16_t)(ra_len + 32);
}

static void ra_mtu(uint32_t mtu)
{
    uint8_t *o = ra + ra_len;
    o[0] = 5;
    o[1] = 1;
    put32(o + 4, mtu);
    ra_len = (uint16_t)(ra_len + 8);
}

static void ra_send_from(struct ip_addr src, uint8_t hops)
{
    struct ip_addr all = ip6_all_nodes;
    input(icmp6_frame_from(&bed, &src, &all, ra, ra_len, hops));
}

static void ra_send(void)
{
    ra_send_from(host_link_local(1), 255);
}

static bool reaches(const char *dst, struct ip_route *r)
{
    struct ip_addr a = a6(dst);
    return ip_route(st, &a, r);
}

#define LINK 0x80
#define AUTO 0x40

/* ---- Tests ---- */

static void test_routers_are_asked_for(void **state)
{
    (void)state;
    begin_ra(true);
    pass(20 * SEC);
    net_flush(st);
    int asked = 0;
    for (int i = 0; i < cap.count; i++)
        asked += strncmp(cap.line[i], "icmp6 133 0", 11) == 0;
    assert_int_equal(asked, 3); /* RFC 4861 6.3.7 */
    assert_int_equal(counter("ra_solicitations_tx"), 3);
    quiet();
}

/* RFC 4861 6.3.7: also after a re-initialisation. What the last link's routers gave is kept until its lifetime ends. */
static void test_routers_are_asked_for_when_the_link_comes_up(void **state)
{
    (void)state;
    begin_ra(true);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 3600, 3600);
    ra_send();
    pass(20 * SEC);
    uint64_t before = counter("ra_solicitations_tx");
    net_link_up(port, now);
    pass(20 * SEC);
    assert_int_equal(counter("ra_solicitations_tx") - before, 3);
    net_link_up(port, now);
    ra_new(1800);
    ra_send(); /* one answers at once */
    pass(20 * SEC);
    assert_in_range(counter("ra_solicitations_tx") - before, 3, 4);
    assert_false(ip_eq(&port->conf.addr6, &port->link_local));
    quiet();
}

static void test_only_where_configured(void **state)
{
    struct ip_route r;
    (void)state;
    begin_ra(false);
    pass(20 * SEC);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 3600, 3600);
    ra_send();
    assert_int_equal(counter("ra_solicitations_tx"), 0);
    assert_int_equal(counter("icmp_ignored"), 1);
    assert_false(reaches("2001:db8:1::9", &r));
    quiet();
}

static void test_advertisement(void **state)
{
    struct ip_route r;
    struct ip_addr router = host_link_local(1), dst = a6("2001:db8:1::9"), far = a6("2001:db8:ffff::1");
    (void)state;
    begin_ra(true);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 3600, 3600);
    ra_mtu(1400);
    ra_send();
    char text[IP_TEXT];
    assert_string_equal(ip_text(&port->conf.addr6, text), "2001:db8:1::ff:fe00:1"); /* modified EUI-64 of 02:00:00:00:00:01 */
    assert_true(reaches("2001:db8:1::9", &r));
    assert_true(ip_eq(&r.hop, &dst));
    assert_int_equal(ip_path_mtu(st, &r, &dst), 1400);
    assert_true(ip_route(st, &far, &r));
    ip6_zone(&router, port->number);
    assert_true(ip_eq(&r.hop, &router));
    struct ip_addr src = ip_source(&r, &far);
    assert_true(ip_eq(&src, &port->conf.addr6));
    quiet();
    pass(1801 * SEC); /* the router's lifetime */
    assert_false(ip_route(st, &far, &r));
    assert_true(reaches("2001:db8:1::9", &r));
    pass(1801 * SEC); /* the prefix's, and the address' */
    assert_false(reaches("2001:db8:1::9", &r));
    assert_true(ip_eq(&port->conf.addr6, &port->link_local));
    quiet();
}

static void test_goodbye(void **state)
{
    struct ip_route r;
    (void)state;
    begin_ra(true);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK, 3600, 3600);
    ra_send();
    assert_true(reaches("2001:db8:2::1", &r));
    uint32_t changed = st->routes_changed;
    ra_new(0); /* no longer a router (RFC 4861 6.3.4) */
    ra_prefix("2001:db8:1::", 64, LINK, 0, 0);
    ra_send();
    assert_false(reaches("2001:db8:2::1", &r));
    assert_false(reaches("2001:db8:1::1", &r));
    assert_true(st->routes_changed > changed); /* the engine is told */
    quiet();
}

/* RFC 4862 5.5.3 (e): a forged advertisement cannot take the address away at once. */
static void test_lifetime_is_not_cut_short(void **state)
{
    (void)state;
    begin_ra(true);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 86400, 86400);
    ra_send();
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 1, 1);
    ra_send();
    assert_int_equal((port->addr_until - st->now) / SEC, 7200);
    ra_new(1800);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 9000, 9000);
    ra_send();
    assert_int_equal((port->addr_until - st->now) / SEC, 9000);
    quiet();
}

static void test_what_is_not_taken(void **state)
{
    struct ip_route r;
    (void)state;
    begin_ra(true);
    ra_new(1800);
    ra_send_from(host_link_local(1), 254); /* came through a router */
    ra_send_from(a6("2001:db8::77"), 255); /* not from the link */
    ra[ra_len + 1] = 0;
    ra_len = (uint16_t)(ra_len + 8); /* an option of no length */
    ra_send();
    assert_int_equal(counter("nd_bad"), 3);
    assert_false(reaches("2001:db8:2::1", &r));
    ra_new(0);
    ra_prefix("2001:db8:1::", 48, AUTO, 3600, 3600); /* no room for an interface identifier */
    ra_prefix("2001:db8:2::", 64, AUTO, 10, 20);     /* preferred for longer than valid */
    ra_prefix("fe80::", 64, LINK | AUTO, 3600, 3600);
    ra_mtu(68);
    ra_send();
    assert_true(ip_eq(&port->conf.addr6, &port->link_local));
    assert_int_equal(port->mtu6, 0);
    ra_new(0);
    ra_prefix("2001:db8:1::", 64, LINK | AUTO, 3600, 3600);
    ra_prefix("2001:db8:2::", 64, LINK | AUTO, 3600, 3600); /* a second address has no place; the link does */
    ra_send();
    assert_int_equal(counter("ra_prefix_ignored"), 1);
    assert_true(reaches("2001:db8:2::9", &r));
    quiet();
}

static void test_configuration_stays(void **state)
{
    const struct net_port_conf conf = {.ra = true, .addr6 = a6("2001:db8::1"), .prefix6_len = 64, .gateway6 = a6("2001:db8::fe")};
    struct ip_addr ours = a6("2001:db8::1");
    struct ip_route r;
    (void)state;
    start(true, &conf);
    cap.describe = describe;
    ra_new(0);
    ra_prefix("2001:db8::", 64, LINK | AUTO, 0, 0);
    ra_prefix("2001:db8:5::", 64, LINK | AUTO, 3600, 3600);
    ra_send();
    assert_true(ip_eq(&port->conf.addr6, &ours));
    assert_true(reaches("2001:db8::9", &r));
    assert_true(reaches("2001:db8:77::9", &r)); /* by the gateway */
    quiet();
}

/* Routers without end: a bounded table, counted. */
static void test_routes_are_bounded(void **state)
{
    (void)state;
    begin_ra(true);
    for (int i = 0; i < 100; i++) {
        char prefix[32];
        ra_new(1800);
        snprintf(prefix, sizeof prefix, "2001:db8:%x::", i + 1);
        ra_prefix(prefix, 64, LINK, 3600, 3600);
        ra_send();
        quiet();
    }
    assert_int_equal(st->nroutes, NET_MAX_ROUTES);
    assert_true(counter("route_table_full") > 0);
    pass(3601 * SEC);
    assert_int_equal(st->nroutes, 1); /* the link's own */
    quiet();
}

/* Options of any kind and length: taken or not, within the bounds, and the stack goes on. */
static void test_damaged_advertisements(void **state)
{
    uint64_t seed = 5;
    (void)state;
    begin_ra(true);
    for (int i = 0; i < 20000; i++) {
        ra_new((uint16_t)rnd(&seed));
        uint16_t n = (uint16_t)(rnd(&seed) % 200);
        for (uint16_t j = 0; j < n; j++)
            ra[16 + j] = (uint8_t)rnd(&seed);
        for (uint16_t j = 0; j + 8 < n && rnd(&seed) % 4; j = (uint16_t)(j + ra[17 + j] * 8)) { /* most of them well formed */
            static const uint8_t kinds[][2] = {{1, 1}, {3, 4}, {5, 1}, {25, 3}};
            memcpy(ra + 16 + j, kinds[rnd(&seed) % 4], 2);
        }
        ra_len = (uint16_t)(16 + n);
        ra_send();
        pass(MS);
        quiet();
    }
    assert_true(counter("ra_rx") > 100);
    assert_true(counter("nd_bad") > 100);
    assert_true(st->nroutes <= NET_MAX_ROUTES);
    pass(100 * SEC);
    quiet();
}

/* An ARP request of station i for our address. */
static void asked_by(int i, rte_be32_t addr)
{
    input(arp_frame(&bed, RTE_ARP_OP_REQUEST, host_mac(i), addr, HOST_IP(0)));
}

static void test_static_routes(void **state)
{
    const struct net_port_conf conf = {
        .addr = HOST_IP(0), .prefix_len = 24, .gateway = IP(10, 0, 0, 254), .nroutes = 3,
        .route = {{ip_from_v4(IP(172, 16, 0, 0)), ip_from_v4(IP(10, 0, 0, 7)), 96 + 12},
                  {ip_from_v4(IP(172, 16, 9, 0)), ip_from_v4(IP(10, 0, 0, 8)), 96 + 24},
                  {ip_from_v4(IP(192, 0, 2, 0)), ip_from_v4(0), 96 + 24}}};
    static const struct {
        rte_be32_t dst, hop;
    } cases[] = {{IP(10, 0, 0, 9), IP(10, 0, 0, 9)},    {IP(172, 16, 1, 1), IP(10, 0, 0, 7)}, {IP(172, 16, 9, 1), IP(10, 0, 0, 8)},
                 {IP(192, 0, 2, 5), IP(192, 0, 2, 5)}, {IP(8, 8, 8, 8), IP(10, 0, 0, 254)}};
    struct ip_route r;
    (void)state;
    start(false, &conf);
    cap.describe = describe;
    for (size_t i = 0; i < RTE_DIM(cases); i++) {
        struct ip_addr dst = ip_from_v4(cases[i].dst);
        assert_true(ip_route(st, &dst, &r));
        assert_int_equal(ip_to_v4(&r.hop), cases[i].hop);
    }
    static const rte_be32_t nowhere[] = {IP(127, 0, 0, 1), IP(10, 0, 0, 1), IP(224, 0, 0, 5), IP(255, 255, 255, 255), 0};
    for (size_t i = 0; i < RTE_DIM(nowhere); i++) {
        struct ip_addr dst = ip_from_v4(nowhere[i]);
        assert_false(ip_route(st, &dst, &r));
    }
    quiet();
    /* Neighbours are those of the networks on the link. */
    asked_by(1, IP(192, 0, 2, 5));
    assert_int_equal(counter("arp_replies_tx"), 1);
    asked_by(2, IP(172, 16, 1, 1));
    asked_by(2, IP(8, 8, 8, 8));
    assert_int_equal(counter("arp_replies_tx"), 1);
    quiet();
}

/* The table of neighbours is full of those that are gone: a new one gets in. */
static void test_stale_neighbours_give_way(void **state)
{
    const struct net_port_conf conf = {.addr = HOST_IP(0), .prefix_len = 24};
    struct ip_addr first = HOST(1), last = HOST(20);
    (void)state;
    start(false, &conf);
    cap.describe = describe;
    for (int i = 1; i <= 17; i++) { /* one more than there is room for: the bed's stacks have 16 */
        asked_by(i, HOST_IP(i));
        pass(MS);
    }
    quiet();
    assert_int_equal(counter("arp_evicted"), 0); /* those in use stay */
    pass(70 * SEC);
    neigh_send(port, ip_alloc(st), &last);
    assert_int_equal(counter("arp_evicted"), 1);
    assert_int_equal(neigh_state(st, port, &last), NEIGH_INCOMPLETE);
    assert_int_equal(neigh_state(st, port, &first), -1);
    quiet();
}

#define T(name) cmocka_unit_test_setup_teardown(name, nothing, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_routers_are_asked_for), T(test_routers_are_asked_for_when_the_link_comes_up), T(test_only_where_configured), T(test_advertisement), T(test_goodbye),
        T(test_lifetime_is_not_cut_short), T(test_what_is_not_taken), T(test_configuration_stays), T(test_routes_are_bounded),
        T(test_damaged_advertisements), T(test_static_routes), T(test_stale_neighbours_give_way),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
