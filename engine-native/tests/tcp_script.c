/* SPDX-License-Identifier: BSD-3-Clause
 * See tcp_script.h. */
#include <errno.h>
#include <stdio.h>

#include "tcp_driver.h"

struct script {
    struct driver d;
    const char *name, *line;
    int number;
};

#define SCRIPT_FAIL(s, ...)                                                                   \
    do {                                                                                      \
        print_error("%s, line %d: %s\n  ", (s)->name, (s)->number, (s)->line);                 \
        for (int left = (s)->d.cap.next; left < (s)->d.cap.count; left++)                     \
            print_error("sent: %s\n  ", (s)->d.cap.line[left]);                               \
        print_error(__VA_ARGS__);                                                             \
        fail();                                                                               \
    } while (0)

/* ---- Segments in ---- */

/* RFC 7413's option: no cookie, the one that the stack gave, or one in hexadecimal digits. */
static uint32_t fast_open(const struct script *s, const char *text, uint8_t *p)
{
    uint32_t len = strncmp(text, " given", 6) == 0 ? sizeof s->d.cookie : 0, byte;
    memcpy(p + 2, s->d.cookie, len);
    for (text += *text == ' '; len < 16 && *text != 'g' && sscanf(text, "%2x", &byte) == 1; text += 2)
        p[2 + len++] = (uint8_t)byte;
    p[0] = 34;
    p[1] = (uint8_t)(2 + len);
    memset(p + 2 + len, 1, -(2 + len) & 3u);
    return (2 + len + 3) & ~3u;
}

static uint32_t parse_options(struct script *s, const char *text, uint8_t *p)
{
    uint32_t n = 0, a, b;
    uint8_t *sack = NULL;
    for (const char *o = text; o != NULL && *o != 0 && *o != '>'; o = strpbrk(o, ",>") ? strpbrk(o, ",>") + (*strpbrk(o, ",>") == ',') : NULL) {
        if (sscanf(o, "mss %u", &a) == 1) {
            memcpy(p + n, (uint8_t[]){2, 4, (uint8_t)(a >> 8), (uint8_t)a}, 4);
            n += 4;
        } else if (sscanf(o, "ws %u", &a) == 1) {
            memcpy(p + n, (uint8_t[]){1, 3, 3, (uint8_t)a}, 4);
            n += 4;
        } else if (sscanf(o, "ts %u %u", &a, &b) == 2) {
            uint32_t v = rte_cpu_to_be_32(a), e = rte_cpu_to_be_32(b + s->d.p->ts_base);
            memcpy(p + n, (uint8_t[]){1, 1, 8, 10}, 4);
            memcpy(p + n + 4, &v, 4);
            memcpy(p + n + 8, &e, 4);
            n += 12;
        } else if (strncmp(o, "sackOK", 6) == 0) {
            memcpy(p + n, (uint8_t[]){1, 1, 4, 2}, 4);
            n += 4;
        } else if (sscanf(o, "sack %u-%u", &a, &b) == 2 || (sack != NULL && sscanf(o, "%u-%u", &a, &b) == 2)) {
            if (sack == NULL) { /* further blocks join the first */
                memcpy(p + n, (uint8_t[]){1, 1, 5, 2}, 4);
                sack = p + n + 3;
                n += 4;
            }
            uint32_t v = rte_cpu_to_be_32(a + s->d.p->iss), e = rte_cpu_to_be_32(b + s->d.p->iss);
            memcpy(p + n, &v, 4);
            memcpy(p + n + 4, &e, 4);
            *sack = (uint8_t)(*sack + 8);
            n += 8;
        } else if (strncmp(o, "fo", 2) == 0) {
            n += fast_open(s, o + 2, p + n);
        } else if (strncmp(o, "unknown", 7) == 0) {
            memcpy(p + n, (uint8_t[]){254, 4, 0xf9, 0x89}, 4);
            n += 4;
        } else if (strncmp(o, "broken", 6) == 0) {
            memcpy(p + n, (uint8_t[]){2, 40, 1, 1}, 4); /* longer than the header */
            n += 4;
        } else {
            SCRIPT_FAIL(s, "option?\n");
        }
    }
    return n;
}

static uint8_t parse_flags(const char *text)
{
    uint8_t flags = 0;
    for (; *text != 0 && *text != ' '; text++)
        flags |= *text == 'S' ? RTE_TCP_SYN_FLAG : *text == 'F' ? RTE_TCP_FIN_FLAG : *text == 'R' ? RTE_TCP_RST_FLAG
                 : *text == 'P' ? RTE_TCP_PSH_FLAG : *text == 'U' ? RTE_TCP_URG_FLAG
                 : *text == 'E' ? RTE_TCP_ECE_FLAG : *text == 'W' ? RTE_TCP_CWR_FLAG : *text == '.' ? RTE_TCP_ACK_FLAG : 0;
    return flags;
}

static void segment_in(struct script *s, const char *text)
{
    struct driver_segment g = {.window = 65535, .flags = parse_flags(text)};
    const char *rest = strchr(text, ' '), *opt = strchr(text, '<'), *a = strstr(text, " ack "), *w = strstr(text, " win ");
    const char *urgent = strstr(text, " urg ");
    if (rest == NULL || sscanf(rest, "%u:%*u(%u)", &g.seq, &g.len) != 2)
        SCRIPT_FAIL(s, "segment?\n");
    g.has_ack = a != NULL;
    g.ack = a != NULL ? (uint32_t)strtoul(a + 5, NULL, 10) : 0;
    if (w != NULL)
        g.window = (uint16_t)strtoul(w + 5, NULL, 10);
    g.urgent = urgent != NULL ? (uint16_t)atoi(urgent + 5) : 0;
    g.ecn = strstr(text, " ce") != NULL ? 3 : strstr(text, " ect0") != NULL ? 2 : 0;
    g.bad_checksum = strstr(text, "badsum") != NULL;
    g.options_len = parse_options(s, opt == NULL ? NULL : opt + 1, g.options);
    driver_in(&s->d, &g);
}

/* ---- Lines ---- */

static void expect(struct script *s, const char *text)
{
    if (s->d.cap.next == s->d.cap.count)
        SCRIPT_FAIL(s, "nothing was sent\n");
    const char *got = s->d.cap.line[s->d.cap.next], *options = strchr(text, '<'), *had = strchr(got, '<');
    const char *ecn = strstr(text, " ect0");
    if ((ecn != NULL) != (strstr(got, " ect0") != NULL))
        SCRIPT_FAIL(s, ecn != NULL ? "it is not ECN-capable\n" : "it is ECN-capable\n");
    size_t n = ecn != NULL ? (size_t)(ecn - text) : options == NULL ? strlen(text) : (size_t)(options - text) - 1;
    if (strncmp(got, text, n) != 0 || (got[n] != 0 && got[n] != ' '))
        SCRIPT_FAIL(s, "something else was sent\n");
    if (options != NULL && strcmp(options, "<>") == 0 ? had != NULL : options != NULL && (had == NULL || strcmp(options, had) != 0))
        SCRIPT_FAIL(s, "other options were sent\n");
    driver_out(&s->d);
}

static void check_info(struct script *s, const char *name, uint64_t n)
{
#define FIELD(f) {#f, offsetof(struct zs_tcp_info, f), sizeof(((struct zs_tcp_info *)0)->f)}
    static const struct {
        const char *name;
        size_t at, size;
    } fields[] = {FIELD(state), FIELD(ca_state), FIELD(retransmits), FIELD(probes), FIELD(backoff), FIELD(options), FIELD(snd_wscale),
                  FIELD(rto_us), FIELD(snd_mss), FIELD(rcv_mss), FIELD(advmss), FIELD(pmtu), FIELD(unacked), FIELD(sacked), FIELD(lost),
                  FIELD(last_data_sent_ms), FIELD(last_data_recv_ms), FIELD(last_ack_recv_ms), FIELD(rtt_us), FIELD(rttvar_us),
                  FIELD(snd_cwnd), FIELD(snd_ssthresh), FIELD(total_retrans), FIELD(segs_out), FIELD(segs_in), FIELD(data_segs_out),
                  FIELD(data_segs_in), FIELD(dsack_dups), FIELD(rcv_ooopack), FIELD(delivered), FIELD(delivered_ce), FIELD(notsent_bytes),
                  FIELD(bytes_acked), FIELD(bytes_received), FIELD(bytes_sent), FIELD(bytes_retrans), FIELD(snd_wnd), FIELD(pacing_rate), FIELD(max_pacing_rate)};
#undef FIELD
    struct zs_tcp_info info;
    tcp_info(s->d.sock.conn, s->d.now, &info);
    for (size_t i = 0; i < RTE_DIM(fields); i++) {
        uint64_t got = 0; /* little-endian */
        if (strcmp(fields[i].name, name) != 0)
            continue;
        memcpy(&got, (const uint8_t *)&info + fields[i].at, fields[i].size);
        if (got != n)
            SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)got);
        return;
    }
    SCRIPT_FAIL(s, "field?\n");
}

static void check_line(struct script *s, const char *what, const char *arg, uint64_t n)
{
    struct sock *k = &s->d.sock;
    struct zs_session *app = k->bed == NULL ? NULL : zs_session_at(&s->d.bed->app, k->app);
    if (strcmp(what, "state") == 0) {
        struct tcp_conn *c = k->conn;
        const char *name = c == NULL ? "CLOSED" : tcp_state_info[tcp_conn_state(c)].name;
        if (strcmp(name, arg) != 0)
            SCRIPT_FAIL(s, "state is %s\n", name);
    } else if (strcmp(what, "gone") == 0) {
        if (tcp_conn_count(s->d.st) != 0)
            SCRIPT_FAIL(s, "%u connections\n", tcp_conn_count(s->d.st));
    } else if (strcmp(what, "lent") == 0) {
        struct tcp_memory memory;
        tcp_memory(s->d.st, &memory);
        if (memory.lent != n)
            SCRIPT_FAIL(s, "%u are lent\n", memory.lent);
    } else if (strcmp(what, "referring") == 0) {
        if (rte_mempool_in_use_count(s->d.bed->indirect) != n)
            SCRIPT_FAIL(s, "%u pieces\n", rte_mempool_in_use_count(s->d.bed->indirect));
    } else if (strcmp(what, "eof") == 0) {
        if (zs_rx_avail(app) != 0 || sock_fin(k) != ZS_FIN)
            SCRIPT_FAIL(s, "no EOF: %llu unread, fin %u\n", (unsigned long long)zs_rx_avail(app), sock_fin(k));
    } else if (strcmp(what, "mark") == 0 || strcmp(what, "nothing-urgent") == 0) {
        uint64_t word = atomic_load(&app->rx_prod.urgent);
        uint32_t byte = ZS_URGENT_KNOWN | byte_at(0, ZS_URGENT_POS(word));
        if (what[0] == 'n' ? word != 0 : word != ZS_URGENT(n, strstr(s->line, "waited") != NULL ? 0 : byte))
            SCRIPT_FAIL(s, "the word is %llx: byte %lld\n", (unsigned long long)word, (long long)ZS_URGENT_POS(word));
    } else if (strcmp(what, "unsent") == 0) {
        const struct zs_session *own = zs_session_peer(&s->d.bed->app, app);
        uint64_t left = atomic_load(&own->rx_prod.tail) - atomic_load(&own->rx_cons.sent);
        if (left != n)
            SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)left);
    } else if (strcmp(what, "info") == 0) {
        check_info(s, arg, n);
    } else if (strcmp(what, "error") == 0) {
        if (atomic_load(&app->error) != n)
            SCRIPT_FAIL(s, "error is %u\n", atomic_load(&app->error));
    } else if (strcmp(what, "count") == 0) {
        for (int i = 0; i < NET_COUNTER_N; i++) {
            if (strcmp(net_counter_info[i].name, arg) != 0)
                continue;
            if (s->d.st->counters[i] != n)
                SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)s->d.st->counters[i]);
            return;
        }
        SCRIPT_FAIL(s, "counter?\n");
    } else {
        SCRIPT_FAIL(s, "line?\n");
    }
}

/* Options that are one number. */
static bool number_option(struct zs_opts *o, const char *name, uint32_t v)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } bits[] = {{"nodelay", ZS_O_NODELAY}, {"cork", ZS_O_CORK}, {"more", ZS_O_MORE}, {"quickack", ZS_O_QUICKACK},
                {"fastopen", ZS_O_FASTOPEN}, {"nocookie", ZS_O_FASTOPEN_NO_COOKIE}};
    for (size_t i = 0; i < RTE_DIM(bits); i++)
        if (strcmp(name, bits[i].name) == 0) {
            if (v != 0)
                atomic_fetch_or(&o->bits, bits[i].bit);
            else
                atomic_fetch_and(&o->bits, ~bits[i].bit);
            return true;
        }
    if (strcmp(name, "maxseg") == 0)
        atomic_store(&o->maxseg, (uint16_t)v);
    else if (strcmp(name, "syncnt") == 0)
        atomic_store(&o->syncnt, (uint8_t)v);
    else if (strcmp(name, "defer") == 0)
        atomic_store(&o->defer_accept, (uint8_t)v);
    else if (strcmp(name, "pending") == 0)
        atomic_store(&o->fastopen, (uint16_t)v);
    else if (strcmp(name, "linger2") == 0)
        atomic_store(&o->linger2, (int32_t)v);
    else if (strcmp(name, "user_timeout") == 0)
        atomic_store(&o->user_timeout, v);
    else if (strcmp(name, "notsent_lowat") == 0)
        atomic_store(&o->notsent_lowat, v);
    else
        return false;
    return true;
}

/* Words of up to 16 characters, zeros after them. */
static uint32_t key_option(const char *text, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN])
{
    char word[TCP_TFO_KEYS][TCP_TFO_KEY_LEN + 1] = {{0}};
    int n = sscanf(text, "key %16s %16s", word[0], word[1]);
    for (uint32_t i = 0; i < TCP_TFO_KEYS; i++)
        memcpy(keys[i], word[i], TCP_TFO_KEY_LEN);
    return n > 0 ? (uint32_t)n : 0;
}

static void option(struct script *s, const char *text)
{
    struct zs_opts *o = driver_options(&s->d);
    unsigned idle, interval, count;
    char name[32] = "";
    int v = 1;
    sscanf(text, "%31s %d", name, &v);
    if (strcmp(text, "reno") == 0 || strcmp(text, "cubic") == 0)
        atomic_store(&o->congestion, text[0] == 'r' ? ZS_CC_RENO : ZS_CC_CUBIC);
    else if (sscanf(text, "keepalive %u %u %u", &idle, &interval, &count) == 3) {
        atomic_fetch_or(&o->bits, ZS_O_KEEPALIVE);
        atomic_store(&o->keepidle, (uint16_t)idle);
        atomic_store(&o->keepintvl, (uint16_t)interval);
        atomic_store(&o->keepcnt, (uint8_t)count);
    } else if (strncmp(text, "key", 3) == 0)
        s->d.nkeys = key_option(text, s->d.keys);
    else if (strcmp(text, "uncork") == 0)
        atomic_fetch_and(&o->bits, ~ZS_O_CORK);
    else if (!number_option(o, name, (uint32_t)v))
        SCRIPT_FAIL(s, "option?\n");
    if (s->d.sock.conn != NULL)
        tcp_poke(s->d.sock.conn, s->d.now);
}

static void command(struct script *s, const char *text)
{
    char what[32] = "", arg[64] = "";
    unsigned long long n = 0;
    struct tcp_flow flow = driver_flow(&s->d);
    int words = sscanf(text, "%31s %63s %llu", what, arg, &n);
    if (words == 2)
        n = strtoull(arg, NULL, 10);
    if (strcmp(what, "listen") == 0) {
        driver_listen(&s->d, words == 2 ? (uint32_t)n : 8);
    } else if (strcmp(what, "connect") == 0) {
        driver_connect(&s->d);
    } else if (strcmp(what, "oob") == 0) {
        driver_write_urgent(&s->d, n);
    } else if (strcmp(what, "write") == 0) {
        assert_int_equal(sock_write(&s->d.sock, n, s->d.now), n);
    } else if (strcmp(what, "read") == 0) {
        uint64_t got = sock_read(&s->d.sock, n, s->d.now);
        if (got != n)
            SCRIPT_FAIL(s, "read %llu\n", (unsigned long long)got);
    } else if (strcmp(what, "close") == 0 || strcmp(what, "abort") == 0) {
        sock_close(&s->d.sock, what[0] == 'a', s->d.now);
    } else if (strcmp(what, "shutdown") == 0) {
        sock_shutdown(&s->d.sock, s->d.now);
    } else if (strcmp(what, "option") == 0) {
        option(s, text + 7);
    } else if (strcmp(what, "hold") == 0 || strcmp(what, "send") == 0) {
        s->d.hold = what[0] == 'h';
    } else if (strcmp(what, "rcvbuf") == 0) {
        s->d.st->conf.rcvbuf = (uint32_t)n;
    } else if (strcmp(what, "accept") == 0) {
        s->d.accept_result = strcmp(arg, "ok") == 0 ? 0 : strcmp(arg, "later") == 0 ? -EAGAIN : -ENOBUFS;
    } else if (strcmp(what, "ecn") == 0) {
        s->d.st->conf.ecn = true;
    } else if (strcmp(what, "peer") == 0) {
        s->d.peer_iss = (uint32_t)n;
    } else if (strcmp(what, "as") == 0) {
        assert_true(n < DRIVER_PEERS);
        s->d.p = &s->d.peers[n];
    } else if (strcmp(what, "iss") == 0) {
        /* Wait until the clock makes it so. */
        driver_clock(&s->d, (uint64_t)(uint32_t)((uint32_t)n - tcp_isn(s->d.st, &flow, s->d.now)) * 4000);
        capture_clear(&s->d.cap);
    } else if (strcmp(what, "icmp") == 0) {
        unsigned type, code, at, mtu = 0;
        assert_true(sscanf(text, "icmp %u %u %u mtu %u", &type, &code, &at, &mtu) >= 3);
        driver_icmp(&s->d, type, code, at, mtu);
    } else {
        check_line(s, what, arg, n);
    }
}

void script_run(struct bed *b, const char *name, const char *const *lines)
{
    struct script s = {.name = name};
    driver_start(&s.d, b);
    for (s.number = 1; *lines != NULL; lines++, s.number++) {
        s.line = *lines;
        if (s.line[0] == '>') {
            expect(&s, s.line + 2);
            continue;
        }
        if (s.d.cap.next != s.d.cap.count)
            SCRIPT_FAIL(&s, "not expected\n");
        capture_clear(&s.d.cap);
        if (s.line[0] == '<')
            segment_in(&s, s.line + 2);
        else if (s.line[0] == '+')
            driver_clock(&s.d, (uint64_t)(strtod(s.line + 1, NULL) * (double)MS));
        else
            command(&s, s.line);
        driver_flush(&s.d);
    }
    s.line = "end";
    if (s.d.cap.next != s.d.cap.count)
        SCRIPT_FAIL(&s, "not expected\n");
    driver_stop(&s.d);
}
