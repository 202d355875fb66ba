/* SPDX-License-Identifier: BSD-3-Clause
 * Urgent data (RFC 9293 3.8.5, RFC 6093). FreeBSD leaves the byte in the stream (SO_OOBINLINE), lets no read go over its mark and
 * tells when a reader stands at it: there the application's ring has its mark, too. Asking costs a call for each read, so nobody asks
 * until a first segment with an urgent pointer has come. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sys/socket.h>

#include "fstack.h"

#define BSD_SIOCATMARK 0x40047307u /* sys/sockio.h there */
#define IP_PROTOCOL 9u  /* bytes from the beginning of the header */
#define IP6_NEXT 6u
#define IP6_LEN 40u
#define TCP_FLAGS 13u
#define TCP_URG 0x20u

static bool is_urgent(const struct rte_mbuf *m)
{
    const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip = p + RTE_ETHER_HDR_LEN;
    uint32_t len = m->data_len, at = RTE_ETHER_HDR_LEN;
    if (len < RTE_ETHER_HDR_LEN + IP6_LEN)
        return false;
    if (p[12] == 0x08 && p[13] == 0x00 && ip[IP_PROTOCOL] == IPPROTO_TCP)
        at += (ip[0] & 0x0fu) * 4u;
    else if (p[12] == 0x86 && p[13] == 0xdd && ip[IP6_NEXT] == IPPROTO_TCP)
        at += IP6_LEN;
    else
        return false;
    return at + TCP_FLAGS < len && (p[at + TCP_FLAGS] & TCP_URG);
}

void fs_urgent_sniff(struct fstack *fs, struct rte_mbuf *const *frames, uint16_t n)
{
    for (uint16_t i = 0; i < n && !fs->urgent; i++)
        fs->urgent = is_urgent(frames[i]);
}

void fs_urgent_look(struct fs_conn *c, struct zs_session *app)
{
    int at_mark = 0;
    uint8_t byte;
    if (ff_ioctl_freebsd(c->sock.fd, BSD_SIOCATMARK, &at_mark) != 0 || !at_mark)
        return;
    uint64_t word = atomic_load_explicit(&app->rx_prod.urgent, memory_order_relaxed);
    uint64_t pos = atomic_load_explicit(&app->rx_prod.tail, memory_order_relaxed);
    bool known = ff_recv(c->sock.fd, &byte, 1, MSG_PEEK) == 1, news = word == 0 || ZS_URGENT_POS(word) != pos;
    if (!news && ((word & ZS_URGENT_KNOWN) || !known))
        return;
    c->sock.fs->urgent_rx += news;
    zs_urgent_put(app, ZS_URGENT(pos, known ? ZS_URGENT_KNOWN | byte : 0));
    zs_notify(c->sock.fs->view, app);
    if (news)
        zs_urgent_signal(c->sock.fs->view, app);
}

uint64_t fs_urgent_before(const struct zs_session *own, uint64_t n)
{
    uint64_t word = atomic_load_explicit(&own->rx_prod.urgent, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&own->rx_cons.head, memory_order_relaxed);
    if (word == 0 || ZS_URGENT_POS(word) < head || ZS_URGENT_POS(word) - head >= n)
        return n;
    return ZS_URGENT_POS(word) - head;
}
