/* SPDX-License-Identifier: BSD-3-Clause
 * Frames of tests: what a stack sent as text, and what it is to receive. See tcp_script.h. */
#include "tcp_script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_udp.h>
#include <stdio.h>

/* ---- Capture ---- */

static uint16_t capture_tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct capture *c = dev;
    for (uint16_t i = 0; i < n; i++) {
        for (struct frame *f = frames_of(frames[i]); f != NULL; f = f->next) {
            assert_true(c->count < CAPTURE_MAX);
            c->frame[c->count] = f;
            c->describe(c->arg, f, c->line[c->count], sizeof c->line[0]);
            c->count++;
        }
    }
    return n;
}
const struct net_port_ops capture_ops = {capture_tx};

void capture_clear(struct capture *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->frame[i]);
    c->count = c->next = 0;
}

static const char *describe_icmp6(const struct rte_ipv6_hdr *ip, const struct icmp6_hdr *h, uint16_t len, char *line, size_t size)
{
    char target[64], group[64];
    struct ip_addr src;
    memcpy(src.b, ip->src_addr, 16);
    target[0] = 0;
    if (len >= sizeof *h + 16)
        inet_ntop(AF_INET6, (const uint8_t *)(h + 1), target, sizeof target);
    const char *cast = ip->dst_addr[0] == 0xff ? " multicast" : "";
    if (h->type == ICMP6_SOLICITATION || h->type == ICMP6_ADVERTISEMENT) {
        uint32_t flags = rte_be_to_cpu_32(h->rest);
        assert_int_equal(ip->hop_limits, 255);
        snprintf(line, size, "nd %s %s%s%s%s%s%s", h->type == ICMP6_SOLICITATION ? "solicitation" : "advertisement", target,
                 flags & 1u << 30 ? " solicited" : "", flags & 1u << 29 ? " override" : "", len <= 24 ? "" : ((const uint8_t *)h)[24] == 14 ? " nonce" : " mac",
                 ip_is_any(&src) ? " probe" : "", cast);
    } else if (h->type == 131 || h->type == 132) {
        snprintf(line, size, "mld1 %u %s%s", h->type, target, cast);
    } else if (h->type == ICMP6_MLD2_REPORT) {
        inet_ntop(AF_INET6, (const uint8_t *)h + 12, group, sizeof group);
        snprintf(line, size, "mld %u records, type %u, %s", rte_be_to_cpu_32(h->rest), ((const uint8_t *)h)[8], group);
    } else {
        snprintf(line, size, "icmp6 %u %u len %u%s", h->type, h->code, len, cast);
    }
    return line;
}

static void describe_frame6(const struct frame *f, char *line, size_t size)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_ipv6_hdr *ip = (const void *)(eth + 1);
    const uint8_t *at = (const uint8_t *)(ip + 1);
    uint16_t len = rte_be_to_cpu_16(ip->payload_len);
    uint8_t proto = ip->proto;
    if (ip->dst_addr[0] == 0xff)
        assert_memory_equal(eth->dst_addr.addr_bytes, ((uint8_t[]){0x33, 0x33, ip->dst_addr[12], ip->dst_addr[13],
                            ip->dst_addr[14], ip->dst_addr[15]}), 6);
    if (proto == IPPROTO_FRAGMENT) {
        uint16_t field = (uint16_t)(at[2] << 8 | at[3]);
        snprintf(line, size, "fragment6 %u+%u%s", field & 0xfff8, len - 8, field & 1 ? " more" : "");
        return;
    }
    if (proto == IPPROTO_HOPOPTS) {
        assert_memory_equal(at, ((uint8_t[]){IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0}), 8);
        proto = at[0];
        at += 8;
        len = (uint16_t)(len - 8);
    }
    struct rte_ipv6_hdr pseudo = *ip;
    pseudo.proto = proto;
    pseudo.payload_len = rte_cpu_to_be_16(len);
    assert_int_equal(__rte_raw_cksum_reduce((uint32_t)rte_raw_cksum(at, len) + rte_ipv6_phdr_cksum(&pseudo, 0)), 0xffff);
    const struct rte_udp_hdr *u = (const void *)at;
    if (proto == IPPROTO_ICMPV6)
        describe_icmp6(ip, (const void *)at, len, line, size);
    else if (proto == IPPROTO_UDP)
        snprintf(line, size, "udp6 %u > %u len %u", rte_be_to_cpu_16(u->src_port), rte_be_to_cpu_16(u->dst_port),
                 rte_be_to_cpu_16(u->dgram_len));
    else
        snprintf(line, size, "ip6 proto %u", proto);
}

struct rte_mbuf *ip6_frame_from(struct bed *b, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, uint8_t hops,
                                const void *payload, uint16_t len)
{
    uint8_t buf[2048];
    struct rte_ether_hdr *eth = (void *)buf;
    struct rte_ipv6_hdr *ip = (void *)(eth + 1);
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV6)};
    if (dst->b[0] == 0xff)
        eth->dst_addr = (struct rte_ether_addr){{0x33, 0x33, dst->b[12], dst->b[13], dst->b[14], dst->b[15]}};
    *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28), .payload_len = rte_cpu_to_be_16(len), .proto = proto,
                                .hop_limits = hops};
    memcpy(ip->src_addr, src->b, 16);
    memcpy(ip->dst_addr, dst->b, 16);
    memcpy(ip + 1, payload, len);
    return frame_mbuf(b, buf, (uint16_t)(54 + len));
}

struct rte_mbuf *ip6_frame(struct bed *b, uint8_t proto, const void *payload, uint16_t len)
{
    struct ip_addr src = host6(1), dst = host6(0);
    return ip6_frame_from(b, &src, &dst, proto, 64, payload, len);
}

struct rte_mbuf *icmp6_frame_from(struct bed *b, const struct ip_addr *src, const struct ip_addr *dst, const void *message,
                                  uint16_t len, uint8_t hops)
{
    struct rte_mbuf *m = ip6_frame_from(b, src, dst, IPPROTO_ICMPV6, hops, message, len);
    struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, 14);
    struct icmp6_hdr *h = (void *)(ip + 1);
    h->cksum = 0;
    h->cksum = (uint16_t)~__rte_raw_cksum_reduce((uint32_t)rte_raw_cksum(h, len) + rte_ipv6_phdr_cksum(ip, 0));
    return m;
}

struct rte_mbuf *icmp6_frame(struct bed *b, const void *message, uint16_t len, uint8_t hops)
{
    struct ip_addr src = host6(1), dst = host6(0);
    return icmp6_frame_from(b, &src, &dst, message, len, hops);
}

static struct rte_mbuf *nd_frame(struct bed *b, uint8_t type, uint32_t flags, int target)
{
    uint8_t buf[32] = {type};
    struct ip_addr t = host6(target);
    flags = rte_cpu_to_be_32(flags);
    memcpy(buf + 4, &flags, 4);
    memcpy(buf + 8, t.b, 16);
    buf[24] = type == ICMP6_SOLICITATION ? 1 : 2;
    buf[25] = 1;
    memcpy(buf + 26, host_mac(1).addr_bytes, 6);
    return icmp6_frame(b, buf, sizeof buf, 255);
}

struct rte_mbuf *solicitation(struct bed *b)
{
    return nd_frame(b, ICMP6_SOLICITATION, 0, 0);
}

struct rte_mbuf *advertisement(struct bed *b)
{
    return nd_frame(b, ICMP6_ADVERTISEMENT, 3u << 29, 1);
}

/* RFC 3376 4: TTL 1, router alert. */
static void describe_igmp(const struct rte_ether_hdr *eth, const struct rte_ipv4_hdr *ip, const uint8_t *h, uint16_t len, char *line,
                          size_t size)
{
    struct rte_ether_addr mac = ip4_multicast_mac(ip->dst_addr);
    assert_true(rte_is_same_ether_addr(&eth->dst_addr, &mac));
    assert_int_equal(ip->time_to_live, 1);
    assert_int_equal(ip->type_of_service, 0xc0);
    assert_memory_equal(ip + 1, ((uint8_t[]){0x94, 4, 0, 0}), 4);
    assert_int_equal(rte_raw_cksum(h, len), 0xffff);
    const uint8_t *group = h[0] == 0x22 ? h + 12 : h + 4;
    int n = snprintf(line, size, "igmp %02x to %08x: %u.%u.%u.%u", h[0], rte_be_to_cpu_32(ip->dst_addr), group[0], group[1], group[2], group[3]);
    if (h[0] == 0x22)
        snprintf(line + n, size - (size_t)n, " type %u, %u sources", h[8], h[11]);
}

void describe_frame(const struct frame *f, char *line, size_t size)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_arp_hdr *arp = (const void *)(eth + 1);
    const char *cast = rte_is_broadcast_ether_addr(&eth->dst_addr) ? " broadcast" : "";
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP)) {
        snprintf(line, size, "arp %s %08x for %08x%s", arp->arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY) ? "reply" : "request",
                 rte_be_to_cpu_32(arp->arp_data.arp_sip), rte_be_to_cpu_32(arp->arp_data.arp_tip), cast);
        return;
    }
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
        describe_frame6(f, line, size);
        return;
    }
    uint16_t field = rte_be_to_cpu_16(ip->fragment_offset), head = rte_ipv4_hdr_len(ip);
    uint16_t len = (uint16_t)(rte_be_to_cpu_16(ip->total_length) - head);
    assert_int_equal(rte_raw_cksum(ip, head), 0xffff);
    if (ip->next_proto_id == IPPROTO_IGMP) {
        describe_igmp(eth, ip, (const uint8_t *)ip + head, len, line, size);
        return;
    }
    if (ip4_is_multicast(ip->dst_addr))
        cast = " multicast";
    if (field & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) {
        snprintf(line, size, "fragment %u+%u%s", (field & RTE_IPV4_HDR_OFFSET_MASK) * 8u, len,
                 field & RTE_IPV4_HDR_MF_FLAG ? " more" : "");
    } else if (ip->next_proto_id == IPPROTO_ICMP) {
        const struct rte_icmp_hdr *h = (const void *)(ip + 1);
        assert_int_equal(rte_raw_cksum(h, len), 0xffff);
        snprintf(line, size, "icmp %u %u len %u", h->icmp_type, h->icmp_code, len);
    } else if (ip->next_proto_id == IPPROTO_UDP) {
        const struct rte_udp_hdr *h = (const void *)(ip + 1);
        assert_int_equal(rte_ipv4_udptcp_cksum(ip, h), 0xffff); /* the sum with a right checksum, as UDP writes 0 */
        snprintf(line, size, "udp %u > %u len %u%s", rte_be_to_cpu_16(h->src_port), rte_be_to_cpu_16(h->dst_port),
                 rte_be_to_cpu_16(h->dgram_len), cast);
    } else {
        snprintf(line, size, "ip proto %u", ip->next_proto_id);
    }
}

struct rte_mbuf *arp_frame(struct bed *b, uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip)
{
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } f = {.eth = {host_mac(0), sha, RTE_BE16(RTE_ETHER_TYPE_ARP)},
           .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, rte_cpu_to_be_16(op), {sha, sip, {{0}}, tip}}};
    return frame_mbuf(b, &f, sizeof f);
}

struct rte_mbuf *ip_frame(struct bed *b, uint8_t proto, uint16_t id, uint16_t fragment, const void *payload, uint16_t len)
{
    uint8_t buf[2048];
    struct rte_ether_hdr *eth = (void *)buf;
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(20 + len)),
                                .packet_id = rte_cpu_to_be_16(id), .fragment_offset = rte_cpu_to_be_16(fragment),
                                .time_to_live = 64, .next_proto_id = proto, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    memcpy(ip + 1, payload, len);
    return frame_mbuf(b, buf, (uint16_t)(34 + len));
}
