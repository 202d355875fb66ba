/* SPDX-License-Identifier: BSD-3-Clause
 * See net_wire.h. */
#define _GNU_SOURCE
#include "net_wire.h"

#include <netinet/in.h>
#include <rte_eal.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "eal_runtime.h"

#ifndef __has_feature /* clang's */
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define FENCED 1
#endif

/* ---- Bed ---- */

static void no_doorbell(struct zs_view *v, uint32_t waiter, uint32_t gen)
{
    (void)v;
    (void)waiter;
    (void)gen;
}

void bed_start(struct bed *b)
{
    char prefix[64];
    b->sndbuf = 262144;
    b->rcvbuf = 131072;
    snprintf(prefix, sizeof prefix, "--file-prefix=zsnet%d", (int)getpid());
    char *argv[] = {"test", "--no-huge", "-m", "64", "--no-shconf", "--no-pci", "--no-telemetry", prefix, "-l", "0",
                    "--log-level=error", NULL};
    assert_true(rte_eal_init((int)RTE_DIM(argv) - 1, argv) >= 0);
    atexit(eal_runtime_end);
    b->pool = rte_pktmbuf_pool_create("direct", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    b->indirect = rte_pktmbuf_pool_create("indirect", 1023, 0, 0, 0, SOCKET_ID_ANY);
    assert_non_null(b->pool);
    assert_non_null(b->indirect);
    assert_int_equal(rxpool_create(&b->rx, "rx", 8191, RTE_MBUF_DEFAULT_BUF_SIZE), 0);
    /* The arena's type is aligned to its largest block. */
    size_t align = _Alignof(struct zs_arena);
    void *map = mmap(NULL, sizeof *b->arena + align, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(map != MAP_FAILED);
    b->arena = (void *)(((uintptr_t)map + align - 1) & ~(uintptr_t)(align - 1));
    b->engine = (struct zs_view){.arena = b->arena, .client = ZS_CLIENT_ENGINE, .mem_limit = 256u << 20, .ring = no_doorbell};
    b->app = b->engine;
    b->app.client = 0x10001;
    b->app.rx_seg = mmap(NULL, b->rx.size, PROT_READ, MAP_SHARED, b->rx.fd, 0);
    b->app.rx_size = b->rx.size;
    assert_true(b->app.rx_seg != MAP_FAILED);
    int fd = memfd_create("buffers", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, ZS_BUFFERS_MIN) == 0);
    b->engine.mapped = b->of_engine;
    b->app.mapped = b->of_app;
    assert_int_equal(zs_mapped_put(&b->of_engine[ZS_SEGMENT_INDEX(BED_BUFFERS)], BED_BUFFERS, fd, ZS_BUFFERS_MIN, false), 0);
    assert_int_equal(zs_mapped_put(&b->of_app[ZS_SEGMENT_INDEX(BED_BUFFERS)], BED_BUFFERS, fd, ZS_BUFFERS_MIN, true), 0);
    close(fd);
}

uint64_t bed_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

void bed_check_empty(struct bed *b)
{
    assert_int_equal(rte_mempool_in_use_count(b->pool), 0);
    assert_int_equal(rte_mempool_in_use_count(b->indirect), 0);
    assert_int_equal(rte_mempool_in_use_count(b->rx.pool), 0);
    assert_int_equal(zs_hint_next(b->arena->session_hint.leaf, ZS_MAX_SESSIONS, 0), ZS_MAX_SESSIONS);
    assert_int_equal(atomic_load(&b->arena->header.mem_used), 0);
}

/* ---- Sockets ---- */

static void on_connected(void *arg, struct tcp_conn *c)
{
    struct sock *s = arg;
    (void)c;
    s->connected = true;
}

static void on_closed(void *arg, struct tcp_conn *c)
{
    struct sock *s = arg;
    (void)c;
    s->conn = NULL;
}

const struct tcp_conn_ops sock_ops = {on_connected, on_closed};

void sock_open(struct bed *b, struct sock *s)
{
    int64_t app = zs_session_alloc(&b->app, ZS_KIND_TCP), own = zs_session_alloc(&b->engine, ZS_KIND_TCP);
    assert_true(app >= 0 && own >= 0);
    zs_session_pair(&b->app, (uint32_t)app, (uint32_t)own);
    atomic_store(&zs_session_at(&b->app, (uint32_t)app)->state, ZS_S_OPEN);
    atomic_store(&zs_session_at(&b->app, (uint32_t)own)->state, ZS_S_OPEN);
    s->bed = b;
    s->app = (uint32_t)app;
    s->own = (uint32_t)own;
    s->app_gen = atomic_load(&zs_session_at(&b->app, s->app)->gen);
    s->tx = (struct zs_tx){0};
}

bool sock_alive(const struct sock *s)
{
    return atomic_load(&zs_session_at(&s->bed->app, s->app)->gen) == s->app_gen;
}

static void poke(struct sock *s, uint64_t now)
{
    if (s->conn != NULL)
        tcp_poke(s->conn, now);
}

/* byte_at() of n positions, the products by addition. */
static void bytes_at(uint64_t stream, uint64_t pos, uint8_t *to, size_t n)
{
    uint64_t product = (pos + stream * 77) * BYTE_FACTOR;
    for (size_t i = 0; i < n; i++, product += BYTE_FACTOR)
        to[i] = (uint8_t)(product >> 56);
}

/* PIECE bytes of a stream; made a good way ahead, since a ring that is full is tried again and again. */
#define PIECE 16384u
static uint8_t *piece_of(uint64_t stream, uint64_t pos)
{
    static uint8_t made[16 * PIECE];
    static uint64_t of = UINT64_MAX, from;
    if (of != stream || pos < from || pos + PIECE > from + sizeof made) {
        bytes_at(stream, pos, made, sizeof made);
        of = stream;
        from = pos;
    }
    return made + (pos - from);
}

uint64_t sock_write(struct sock *s, uint64_t n, uint64_t now)
{
    uint8_t few[PIECE];
    uint64_t done = 0;
    struct zs_session *peer = zs_session_peer(&s->bed->app, zs_session_at(&s->bed->app, s->app));
    while (peer != NULL && done < n) {
        uint64_t len = RTE_MIN(n - done, PIECE);
        struct iovec iov = {few, len};
        if (n > 4 * PIECE) /* as much as it takes, which may be little: what is left is asked for again and again */
            iov.iov_base = piece_of(s->write_stream, s->written);
        else
            bytes_at(s->write_stream, s->written, few, len);
        int64_t put = zs_tx_write(&s->bed->app, peer, &s->tx, &iov, 0, iov.iov_len, s->bed->sndbuf);
        if (put <= 0)
            break;
        s->written += (uint64_t)put;
        done += (uint64_t)put;
    }
    poke(s, now);
    return done;
}

uint64_t sock_read(struct sock *s, uint64_t n, uint64_t now)
{
    uint8_t buf[PIECE], want[PIECE];
    uint64_t done = 0;
    struct zs_session *app = zs_session_at(&s->bed->app, s->app);
    while (done < n) {
        struct iovec iov = {buf, RTE_MIN(n - done, sizeof buf)};
        int64_t got = zs_rx_peek(&s->bed->app, app, 0, &iov, 0, iov.iov_len);
        assert_true(got >= 0);
        if (got == 0)
            break;
        bytes_at(s->read_stream, s->read, want, (size_t)got);
        if (memcmp(buf, want, (size_t)got) != 0)
            fail_msg("one of %lld bytes from %llu of stream %llu is wrong", (long long)got, (unsigned long long)s->read,
                     (unsigned long long)s->read_stream);
        zs_rx_consume(&s->bed->app, app, (uint64_t)got);
        s->read += (uint64_t)got;
        done += (uint64_t)got;
    }
    poke(s, now);
    return done;
}

void sock_close(struct sock *s, bool abort, uint64_t now)
{
    s->closed_here = true;
    zs_session_close(&s->bed->app, s->app, abort);
    poke(s, now);
}

void sock_shutdown(struct sock *s, uint64_t now)
{
    zs_session_fin(&s->bed->app, s->app);
    poke(s, now);
}

uint32_t sock_fin(const struct sock *s)
{
    return atomic_load(&zs_session_at(&s->bed->app, s->app)->rx_prod.fin);
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    const struct acceptor *a = arg;
    (void)flow;
    *a->sock = (struct sock){0};
    sock_open(a->bed, a->sock);
    a->sock->conn = c;
    tcp_attach(c, a->sock->own, &sock_ops, a->sock);
    return 0;
}

const struct tcp_listener_ops acceptor_ops = {.accept = on_accept};

/* ---- Frames ---- */

/* What a port with NET_CAP_TX_* does. */
static void finish_checksums(struct frame *f, uint64_t ol_flags)
{
    struct rte_ipv4_hdr *ip = (void *)(f->data + sizeof(struct rte_ether_hdr));
    void *l4 = ip + 1;
    if (ol_flags & RTE_MBUF_F_TX_IPV6) {
        struct rte_ipv6_hdr *ip6 = (void *)ip;
        uint8_t *at = (uint8_t *)(ip6 + 1) + (ip6->proto == IPPROTO_TCP ? offsetof(struct rte_tcp_hdr, cksum)
                                                                         : offsetof(struct rte_udp_hdr, dgram_cksum));
        uint16_t pseudo = rte_ipv6_phdr_cksum(ip6, 0);
        assert_memory_equal(at, &pseudo, sizeof pseudo);
        memset(at, 0, sizeof pseudo);
        uint16_t whole = rte_ipv6_udptcp_cksum(ip6, ip6 + 1);
        memcpy(at, &whole, sizeof whole);
        return;
    }
    if (ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    uint8_t *sum = (uint8_t *)l4 + (ip->next_proto_id == IPPROTO_TCP ? offsetof(struct rte_tcp_hdr, cksum)
                                                                      : offsetof(struct rte_udp_hdr, dgram_cksum));
    if (ol_flags & RTE_MBUF_F_TX_L4_MASK) {
        uint16_t pseudo = rte_ipv4_phdr_cksum(ip, 0);
        assert_memory_equal(sum, &pseudo, sizeof pseudo);
        memset(sum, 0, sizeof pseudo);
        uint16_t whole = rte_ipv4_udptcp_cksum(ip, l4);
        memcpy(sum, &whole, sizeof whole);
    }
}

struct frame *frame_of(struct rte_mbuf *m)
{
    uint32_t len = rte_pktmbuf_pkt_len(m), at = 0;
    struct frame *f = calloc(1, sizeof *f + len);
    assert_non_null(f);
    f->len = (uint16_t)len;
    for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
        memcpy(f->data + at, rte_pktmbuf_mtod(seg, const void *), seg->data_len);
        at += seg->data_len;
    }
    assert_int_equal(at, len);
    assert_false(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
    finish_checksums(f, m->ol_flags);
    rte_pktmbuf_free(m);
    return f;
}

/* To AddressSanitizer a pool is one piece of memory; so that it sees who reads beyond a frame's end, the rest of the buffer is
 * out of bounds until it is used again. */
#ifdef FENCED
#define FENCE(m)                                                                                                  \
    do {                                                                                                          \
        ASAN_UNPOISON_MEMORY_REGION((m)->buf_addr, (m)->buf_len);                                                 \
        ASAN_POISON_MEMORY_REGION((char *)(m)->buf_addr + (m)->data_off + (m)->data_len, rte_pktmbuf_tailroom(m)); \
    } while (0)
#define UNFENCE(m) ASAN_UNPOISON_MEMORY_REGION((m)->buf_addr, (m)->buf_len)
#else
#define FENCE(m) ((void)(m))
#define UNFENCE(m) ((void)(m))
#endif

struct rte_mbuf *frame_mbuf(struct bed *b, const void *data, uint16_t len)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(b->rx.pool);
    assert_non_null(m);
    UNFENCE(m);
    void *to = rte_pktmbuf_append(m, len);
    assert_non_null(to);
    memcpy(to, data, len);
    FENCE(m);
    return m;
}

struct rte_ether_addr host_mac(int i)
{
    return (struct rte_ether_addr){{2, 0, 0, 0, 0, (uint8_t)(1 + i)}};
}

struct stack *bed_stack(struct bed *b, const char *name, uint64_t now)
{
    struct stack_conf conf = {.pool = b->pool, .indirect_pool = b->indirect, .view = &b->engine, .name = name,
                              .key = "0123456789abcde", .max_conns = b->max_conns != 0 ? b->max_conns : 256, .max_neighbours = 16, .reass_max_bytes = 200000,
                              .ooo_max_segs = b->ooo_max_segs != 0 ? b->ooo_max_segs : 2048, .rcvbuf = b->rcvbuf, .rcvbuf_max = b->rcvbuf_max, .rx = b->lend ? &b->rx : NULL,
                              .rx_hold_max = b->hold_max, .without = b->without, .congestion = b->congestion};
    struct stack *st = stack_create(&conf, now);
    assert_non_null(st);
    return st;
}

struct ip_addr host6(int i)
{
    return (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)(1 + i)}};
}

struct ip_addr host_link_local(int i)
{
    return (struct ip_addr){.b = {0xfe, 0x80, [11] = 0xff, 0xfe, [15] = (uint8_t)(1 + i)}};
}

struct ip_addr bed_host(const struct bed *b, int i)
{
    return b->ip6 ? host6(i) : HOST(i);
}

struct ip_addr bed_any(const struct bed *b)
{
    return b->ip6 ? (struct ip_addr){0} : ANY4;
}

struct net_port *bed_port(const struct bed *b, struct stack *st, const struct net_port_ops *ops, void *dev, int host, uint32_t caps, uint16_t mtu,
                          uint64_t now)
{
    struct net_port_conf conf = {.ops = ops, .dev = dev, .name = "wire", .mac = host_mac(host), .mtu = mtu, .caps = caps,
                                 .addr = HOST_IP(host), .prefix_len = 24, .gateway = IP(10, 0, 0, 254)};
    conf.gro = b->gro;
    conf.redirects = true;
    conf.probe = b->probe || b->ip6;
    if (b->tso) {
        conf.caps |= NET_CAP_MULTI_SEGS | NET_CAP_TX_TSO4 | NET_CAP_TX_TSO6;
        conf.tso_max = UINT16_MAX - RTE_ETHER_HDR_LEN;
    }
    if (b->ip6) {
        conf.addr = conf.gateway = 0;
        conf.has6 = true;
        conf.addr6 = host6(host);
        conf.prefix6_len = 64;
        conf.gateway6 = (struct ip_addr){.b = {0xfe, 0x80, [15] = 0xfe}};
    }
    struct net_port *port = stack_add_port(st, &conf, now);
    assert_non_null(port);
    return port;
}

/* ---- Wire ---- */

static bool chance(struct wire *w, uint32_t per_10000)
{
    return rnd(&w->seed) % 10000 < per_10000;
}

static void enqueue(struct wire *w, struct frame *f)
{
    struct frame **at = &w->queue[f->to], *last = w->last[f->to];
    uint64_t start = w->now;
    if (w->rate != 0) {
        uint64_t *busy = &w->busy[f->to];
        start = RTE_MAX(*busy, w->now);
        if ((start - w->now) * w->rate / SEC > w->room) {
            w->dropped++;
            free(f);
            return;
        }
        *busy = start += f->len * SEC / w->rate;
    }
    f->at = start + w->delay + (w->jitter ? rnd(&w->seed) % w->jitter : 0);
    if (w->reorder != 0 && chance(w, w->reorder))
        f->at += w->late;
    f->order = w->order++;
    if (*at != NULL && last->at <= f->at) /* nearly always */
        at = &last->next;
    while (*at != NULL && (*at)->at <= f->at)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    if (f->next == NULL)
        w->last[f->to] = f;
}

/* Gilbert's model of two states: between bursts nothing is lost, in one everything. */
static bool burst_takes(struct wire *w, int to)
{
    if (w->burst == 0)
        return false;
    bool taken = w->in_burst[to] || chance(w, w->burst);
    w->in_burst[to] = taken && !chance(w, w->burst_end);
    return taken;
}

/* The frame that arrives next, of both directions; NULL: none is on its way. */
static struct frame *first_frame(const struct wire *w)
{
    const struct frame *a = w->queue[0], *b = w->queue[1];
    if (a == NULL || b == NULL)
        return a == NULL ? w->queue[1] : w->queue[0];
    return a->at < b->at || (a->at == b->at && a->order < b->order) ? w->queue[0] : w->queue[1];
}

static void travel(struct wire *w, struct frame *f)
{
    w->frames++;
    if (chance(w, w->loss) || burst_takes(w, f->to)) {
        w->lost++;
        free(f);
        return;
    }
    /* Behind the Ethernet header, where the Internet checksums have to find it; ARP has none. */
    bool ipv4 = ((struct rte_ether_hdr *)f->data)->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
    /* IPv6 leaves its own header to the checksums of what it carries: what they cover is damaged. */
    bool ipv6 = ((struct rte_ether_hdr *)f->data)->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
    uint16_t from = ipv6 ? 14 + 8 : 14;
    if ((ipv4 || ipv6) && chance(w, w->corrupt))
        f->data[from + rnd(&w->seed) % (f->len - from)] ^= (uint8_t)(1 + rnd(&w->seed) % 255);
    if (chance(w, w->duplicate)) {
        struct frame *again = malloc(sizeof *f + f->len);
        memcpy(again, f, sizeof *f + f->len);
        enqueue(w, again);
    }
    enqueue(w, f);
}

static uint16_t wire_tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct wire_end *e = dev;
    for (uint16_t i = 0; i < n; i++) {
        for (struct frame *f = frames_of(frames[i]), *next; f != NULL; f = next) {
            next = f->next;
            f->to = 1 - e->index;
            travel(e->wire, f);
        }
    }
    return n;
}

/* Set ZSTACK_TEST_TRACE to see what the stacks tell. */
static void trace(void *arg, const char *line)
{
    const struct wire_end *e = arg;
    printf("%9.3f %s %s\n", (double)e->wire->now / (double)SEC, e->index ? "right" : "left ", line);
}

static const struct net_port_ops wire_ops = {wire_tx};

void wire_open(struct wire *w, struct bed *b, uint64_t seed, uint16_t mtu, uint32_t caps)
{
    static const char *const names[] = {"left", "right"};
    caps |= b->lend ? NET_CAP_TX_REFERS : 0;
    *w = (struct wire){.bed = b, .now = SEC, .seed = seed * 2654435761u + 1, .delay = MS};
    for (int i = 0; i < 2; i++) {
        w->end[i].wire = w;
        w->end[i].index = i;
        w->end[i].st = bed_stack(b, names[i], w->now);
        w->end[i].st->conf.trace = getenv("ZSTACK_TEST_TRACE") ? trace : NULL;
        w->end[i].st->conf.owner = &w->end[i];
        w->end[i].port = bed_port(b, w->end[i].st, &wire_ops, &w->end[i], i, caps, mtu, w->now);
    }
}

void wire_flush(struct wire *w)
{
    for (int i = 0; i < 2; i++)
        net_flush(w->end[i].st);
}

bool wire_step(struct wire *w, uint64_t limit)
{
    wire_flush(w);
    struct frame *f = first_frame(w);
    uint64_t next = f != NULL ? f->at : UINT64_MAX;
    for (int i = 0; i < 2; i++)
        next = RTE_MIN(next, net_next(w->end[i].st));
    if (next > limit) {
        w->now = limit;
        return false;
    }
    w->now = RTE_MAX(next, w->now);
    while ((f = first_frame(w)) != NULL && f->at <= w->now) {
        struct wire_end *e = &w->end[f->to];
        struct rte_mbuf *m[TCP_BURST];
        uint16_t n = 0, most = e->port->conf.gro ? TCP_BURST : 1;
        for (; n < most && f != NULL && f->to == e->index && f->at <= w->now; f = first_frame(w)) {
            w->queue[f->to] = f->next;
            m[n++] = frame_mbuf(w->bed, f->data, f->len);
            free(f);
        }
        net_input(e->st, e->port, m, n, w->now);
    }
    for (int i = 0; i < 2; i++)
        net_run(w->end[i].st, w->now);
    wire_flush(w);
    return true;
}

void wire_close(struct wire *w)
{
    for (int i = 0; i < 2; i++)
        stack_destroy(w->end[i].st);
    for (struct frame *f; (f = first_frame(w)) != NULL; free(f))
        w->queue[f->to] = f->next;
}
