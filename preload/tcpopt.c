/* SPDX-License-Identifier: BSD-3-Clause
 * Options of level IPPROTO_TCP, as tcp(7) and do_tcp_setsockopt have them, and TCP_INFO. What a connection over the wire is
 * doing is asked of the engine; inside the domain there is no protocol, and the answers are those of a loopback connection. */
#include "preload.h"
#include "tcpinfo_kernel.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#define CC_NAME_MAX 16u /* TCP_CA_NAME_MAX, whole in every answer */
#define LOCAL_MSS 65483 /* loopback: MTU 65536 less headers and timestamps */
#define MSS_LEAST 88
#define MSS_MOST 32767
#define FIN_TIMEOUT_S 60
#define FIN_TIMEOUT_MOST_S 120
#define RTO_MOST_S 120

static bool is_wire(const struct zsock *k)
{
    return atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_WIRE;
}

/* ---- Setting ---- */

/* TCP_DEFER_ACCEPT is told in seconds and kept in retransmissions of the SYN,ACK (secs_to_retrans, retrans_to_secs). */
static uint8_t retransmissions(int seconds)
{
    int n = seconds > 0, period = 1, timeout = 1;
    while (seconds > period && n < 255) {
        timeout = timeout * 2 > RTO_MOST_S ? RTO_MOST_S : timeout * 2;
        period += timeout;
        n++;
    }
    return (uint8_t)n;
}

static int seconds_of(uint8_t n)
{
    int period = n > 0, timeout = 1;
    for (; n > 1; n--) {
        timeout = timeout * 2 > RTO_MOST_S ? RTO_MOST_S : timeout * 2;
        period += timeout;
    }
    return period;
}

bool tcpopt_remembered(int name)
{
    struct zs_preopts scratch = {0};
    return tcpopt_remember(&scratch, name, 1) != 0;
}

int tcpopt_remember(struct zs_preopts *p, int name, int v)
{
    switch (name) {
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
    case TCP_KEEPCNT:
        if (v < 1 || v > (name == TCP_KEEPCNT ? 127 : 32767))
            return -EINVAL;
        *(name == TCP_KEEPIDLE ? &p->keepidle : name == TCP_KEEPINTVL ? &p->keepintvl : &p->keepcnt) = (uint32_t)v;
        return 1;
    case TCP_USER_TIMEOUT:
        if (v < 0)
            return -EINVAL;
        p->user_timeout = (uint32_t)v;
        return 1;
    case TCP_MAXSEG:
        if (v != 0 && (v < MSS_LEAST || v > MSS_MOST))
            return -EINVAL;
        p->maxseg = (uint32_t)v;
        return 1;
    case TCP_SYNCNT:
        if (v < 1 || v > 127)
            return -EINVAL;
        p->syncnt = (uint32_t)v;
        return 1;
    case TCP_LINGER2:
        p->linger2 = v < 0 ? -1 : v > FIN_TIMEOUT_MOST_S ? FIN_TIMEOUT_MOST_S : v;
        return 1;
    case TCP_DEFER_ACCEPT:
        p->defer_accept = retransmissions(v);
        return 1;
    case TCP_FASTOPEN:
        p->fastopen = v < 0 ? 0 : (uint32_t)v < ZS_BACKLOG_MAX ? (uint32_t)v : ZS_BACKLOG_MAX; /* net.core.somaxconn */
        return 1;
    case TCP_NOTSENT_LOWAT:
        p->notsent_lowat = (uint32_t)v;
        return 1;
    case TCP_QUICKACK:
        p->bits = (p->bits & ~(ZS_O_QUICKACK | ZS_O_DELACK)) | (v != 0 ? ZS_O_QUICKACK : ZS_O_DELACK);
        return 1;
    default:
        return 0;
    }
}

/* ---- TCP_CONGESTION ---- */

static const char cc_name[][CC_NAME_MAX] = {[ZS_CC_RENO] = "reno", [ZS_CC_CUBIC] = "cubic", [ZS_CC_HTCP] = "htcp"};

/* A name that the placeholder's kernel has just taken. One that only the kernel has leaves the stack's default. */
uint32_t tcpopt_congestion(const void *val, socklen_t len)
{
    char name[CC_NAME_MAX] = {0};
    memcpy(name, val, len < CC_NAME_MAX - 1 ? len : CC_NAME_MAX - 1); /* as the kernel cuts it */
    for (uint32_t i = ZS_CC_RENO; i <= ZS_CC_CUBIC; i++)
        if (strcmp(name, cc_name[i]) == 0)
            return i;
    return ZS_CC_DEFAULT;
}

/* ---- TCP_FASTOPEN_KEY ---- */

/* The placeholder's kernel judges and keeps it, also over fork, exec and SCM_RIGHTS; the stack reads it in the listener's record. */
void tcpopt_fastopen_key(struct zsock *k, int fd)
{
    uint8_t keys[ZS_FASTOPEN_KEYS * ZS_FASTOPEN_KEY_LEN];
    socklen_t len = sizeof keys;
    if (zs_sys(SYS_getsockopt, fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, &len) < 0)
        return; /* a kernel without it */
    zs_listener_set_keys(&k->d->view, k->s->listener, k->s->listener_gen, keys, len / ZS_FASTOPEN_KEY_LEN);
}

/* ---- TCP_INFO ---- */

static void info_local(const struct zsock *k, struct tcp_info *ti)
{
    uint32_t in_fin = atomic_load(&k->s->rx_prod.fin), out_fin = atomic_load(&k->peer->rx_prod.fin);
    uint64_t unread = zs_tx_unread(k->peer);
    ti->tcpi_state = atomic_load(&k->s->state) == ZS_S_EMBRYO ? ZS_K_SYN_SENT
                     : in_fin == ZS_RST || (in_fin && out_fin) ? ZS_K_CLOSE
                     : in_fin                                  ? ZS_K_CLOSE_WAIT
                     : out_fin                                 ? ZS_K_FIN_WAIT2
                                                               : ZS_K_ESTABLISHED;
    ti->tcpi_options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
    ti->tcpi_snd_wscale = ti->tcpi_rcv_wscale = 7;
    ti->tcpi_rto = 200000;
    ti->tcpi_ato = 40000;
    ti->tcpi_snd_mss = ti->tcpi_advmss = LOCAL_MSS;
    ti->tcpi_rcv_mss = 536;
    ti->tcpi_pmtu = 65535;
    ti->tcpi_rtt = ti->tcpi_rcv_rtt = ti->tcpi_min_rtt = 1;
    ti->tcpi_snd_cwnd = 10;
    ti->tcpi_snd_ssthresh = 0x7fffffff;
    ti->tcpi_reordering = 3;
    ti->tcpi_rcv_space = LOCAL_MSS;
    ti->tcpi_unacked = unread != 0;
    ti->tcpi_bytes_sent = atomic_load(&k->peer->rx_prod.tail);
    ti->tcpi_bytes_acked = ti->tcpi_bytes_sent - unread;
    ti->tcpi_bytes_received = atomic_load(&k->s->rx_prod.tail);
    ti->tcpi_pacing_rate = UINT64_MAX; /* whatever the option says: memory is not paced */
}

static bool info_wire(struct zsock *k, struct zs_tcp_info *info)
{
    struct zs_ctl_reply reply;
    if (zs_rpc2(k->d, ZS_CTL_TCP_INFO, k->index, k->gen, -1, &reply, NULL) < 0)
        return false;
    *info = reply.info;
    return true;
}

static int get_info(struct zsock *k, void *val, socklen_t *len)
{
    struct zs_tcp_info info;
    struct tcp_info ti;
    memset(&ti, 0, sizeof ti);
    ti.tcpi_state = ZS_K_CLOSE;
    if (!is_wire(k))
        info_local(k, &ti);
    else if (info_wire(k, &info))
        zs_tcp_info_kernel(&info, &ti);
    ti.tcpi_max_pacing_rate = ZS_PACING(atomic_load(&k->s->pacing)); /* also where the stack knows no such thing */
    return opt_put(val, len, &ti, sizeof ti);
}

static int get_maxseg(struct zsock *k, const struct zs_preopts *p)
{
    struct zs_tcp_info info;
    if (is_wire(k))
        return info_wire(k, &info) ? (int)info.snd_mss : 536;
    return p->maxseg != 0 && p->maxseg < LOCAL_MSS ? (int)p->maxseg : LOCAL_MSS;
}

/* ---- Getting ---- */

int tcpopt_get(struct zsock *k, const struct zs_preopts *p, int name, void *val, socklen_t *len)
{
    switch (name) {
    case TCP_INFO:
        return get_info(k, val, len);
    case TCP_MAXSEG:
        return opt_put_int(val, len, get_maxseg(k, p));
    case TCP_KEEPIDLE:
        return opt_put_int(val, len, p->keepidle ? (int)p->keepidle : 7200);
    case TCP_KEEPINTVL:
        return opt_put_int(val, len, p->keepintvl ? (int)p->keepintvl : 75);
    case TCP_KEEPCNT:
        return opt_put_int(val, len, p->keepcnt ? (int)p->keepcnt : 9);
    case TCP_USER_TIMEOUT:
        return opt_put_int(val, len, (int)p->user_timeout);
    case TCP_SYNCNT:
        return opt_put_int(val, len, p->syncnt ? (int)p->syncnt : 6);
    case TCP_LINGER2:
        return opt_put_int(val, len, p->linger2 == 0 ? FIN_TIMEOUT_S : p->linger2);
    case TCP_DEFER_ACCEPT:
        return opt_put_int(val, len, seconds_of((uint8_t)p->defer_accept));
    case TCP_NOTSENT_LOWAT:
        return opt_put_int(val, len, (int)p->notsent_lowat);
    case TCP_QUICKACK:
        return opt_put_int(val, len, (p->bits & ZS_O_DELACK) == 0);
    case TCP_CONGESTION:
        if (p->congestion > ZS_CC_DEFAULT && p->congestion < sizeof cc_name / sizeof cc_name[0])
            return opt_put(val, len, cc_name[p->congestion], CC_NAME_MAX);
        return is_wire(k) ? opt_put(val, len, cc_name[ZS_CC_CUBIC], CC_NAME_MAX) : 1; /* the kernel's default, by its name */
    default:
        return 1;
    }
}
