/* SPDX-License-Identifier: BSD-3-Clause
 * Options of a script's sockets. See pd.h. The range checks are the preload's and have tests of their own; here an option is
 * put where the stack reads it. */
#include "pd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* Those of linux/tcp.h, which excludes the stack's header. */
enum { OPT_NODELAY = 1, OPT_MAXSEG, OPT_CORK, OPT_KEEPIDLE, OPT_KEEPINTVL, OPT_KEEPCNT, OPT_SYNCNT, OPT_LINGER2, OPT_DEFER_ACCEPT,
       OPT_INFO = 11, OPT_QUICKACK, OPT_CONGESTION, OPT_USER_TIMEOUT = 18, OPT_FASTOPEN = 23, OPT_NOTSENT_LOWAT = 25,
       OPT_FASTOPEN_CONNECT = 30, OPT_FASTOPEN_KEY = 33, OPT_FASTOPEN_NO_COOKIE = 34 };

struct zs_opts *pd_options(struct pd_sock *s)
{
    return s->sock.bed == NULL ? &s->opts : &zs_session_at(&s->pd->bed.app, s->sock.app)->opts;
}

static void bit(struct zs_opts *o, uint32_t which, int on)
{
    if (on)
        atomic_fetch_or(&o->bits, which);
    else
        atomic_fetch_and(&o->bits, ~which);
}

static int set_socket(struct zs_opts *o, int name, const void *val, socklen_t len, int v)
{
    struct linger l;
    switch (name) {
    case SO_REUSEADDR:
        bit(o, ZS_O_REUSEADDR, v);
        return 0;
    case SO_KEEPALIVE:
        bit(o, ZS_O_KEEPALIVE, v);
        return 0;
    case SO_SNDBUF:
        atomic_store(&o->sndbuf, (uint32_t)v * 2);
        return 0;
    case SO_RCVBUF:
        atomic_store(&o->rcvbuf, (uint32_t)v * 2);
        return 0;
    case SO_RCVLOWAT:
        atomic_store(&o->rcvlowat, v > 0 ? (uint32_t)v : 1);
        return 0;
    case SO_LINGER:
        if (len < sizeof l)
            return -EINVAL;
        memcpy(&l, val, sizeof l);
        atomic_store(&o->linger, l.l_onoff ? l.l_linger : -1);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int set_tcp(struct zs_opts *o, int name, int v)
{
    switch (name) {
    case OPT_NODELAY:
        bit(o, ZS_O_NODELAY, v);
        return 0;
    case OPT_CORK:
        bit(o, ZS_O_CORK, v);
        return 0;
    case OPT_QUICKACK:
        bit(o, ZS_O_QUICKACK | ZS_O_DELACK, 0);
        bit(o, v ? ZS_O_QUICKACK : ZS_O_DELACK, 1);
        return 0;
    case OPT_FASTOPEN_CONNECT:
        bit(o, ZS_O_FASTOPEN, v);
        return 0;
    case OPT_FASTOPEN_NO_COOKIE:
        bit(o, ZS_O_FASTOPEN_NO_COOKIE, v);
        return 0;
    case OPT_FASTOPEN:
        atomic_store(&o->fastopen, (uint16_t)v);
        return 0;
    case OPT_MAXSEG:
        atomic_store(&o->maxseg, (uint16_t)v);
        return 0;
    case OPT_KEEPIDLE:
        atomic_store(&o->keepidle, (uint16_t)v);
        return 0;
    case OPT_KEEPINTVL:
        atomic_store(&o->keepintvl, (uint16_t)v);
        return 0;
    case OPT_KEEPCNT:
        atomic_store(&o->keepcnt, (uint8_t)v);
        return 0;
    case OPT_SYNCNT:
        atomic_store(&o->syncnt, (uint8_t)v);
        return 0;
    case OPT_LINGER2:
        atomic_store(&o->linger2, v < 0 ? -1 : v);
        return 0;
    case OPT_USER_TIMEOUT:
        atomic_store(&o->user_timeout, (uint32_t)v);
        return 0;
    case OPT_NOTSENT_LOWAT:
        atomic_store(&o->notsent_lowat, (uint32_t)v);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int set_congestion(struct zs_opts *o, const void *val, socklen_t len)
{
    char name[16] = "";
    memcpy(name, val, RTE_MIN(len, sizeof name - 1));
    if (strcmp(name, "reno") != 0 && strcmp(name, "cubic") != 0)
        return -ENOENT;
    atomic_store(&o->congestion, name[0] == 'r' ? ZS_CC_RENO : ZS_CC_CUBIC);
    return 0;
}

/* One key, or a primary and a backup. */
static int set_fastopen_key(struct pd_sock *s, const void *val, socklen_t len)
{
    if (len != TCP_TFO_KEY_LEN && len != sizeof s->keys)
        return -EINVAL;
    memcpy(s->keys, val, len);
    s->nkeys = len / TCP_TFO_KEY_LEN;
    return 0;
}

int pd_setsockopt(struct pd_sock *s, int level, int name, const void *val, socklen_t len)
{
    struct zs_opts *o = pd_options(s);
    int v = 0, err = -ENOPROTOOPT;
    if (level == IPPROTO_TCP && name == OPT_CONGESTION)
        return set_congestion(o, val, len);
    if (level == IPPROTO_TCP && name == OPT_FASTOPEN_KEY)
        return set_fastopen_key(s, val, len);
    if (len < sizeof v)
        return -EINVAL;
    memcpy(&v, val, sizeof v);
    if (level == SOL_SOCKET)
        err = set_socket(o, name, val, len, v);
    else if (level == IPPROTO_TCP)
        err = set_tcp(o, name, v);
    if (err == 0 && s->sock.conn != NULL)
        tcp_poke(s->sock.conn, s->pd->now);
    pd_turn(s->pd);
    return err;
}

static int put_int(int v, void *val, socklen_t *len)
{
    *len = RTE_MIN(*len, (socklen_t)sizeof v);
    memcpy(val, &v, *len);
    return 0;
}

static int get_info(struct pd_sock *s, void *val, socklen_t *len)
{
    struct zs_tcp_info info = {.state = s->listener != NULL ? TCP_LISTEN : TCP_CLOSED};
    if (s->sock.conn != NULL)
        tcp_info(s->sock.conn, s->pd->now, &info);
    pd_kernel_info(&info, val, len);
    return 0;
}

int pd_getsockopt(struct pd_sock *s, int level, int name, void *val, socklen_t *len)
{
    struct zs_opts *o = pd_options(s);
    uint32_t bits = atomic_load(&o->bits);
    if (level == SOL_SOCKET && name == SO_ERROR)
        return put_int(s->sock.bed == NULL ? 0 : (int)atomic_exchange(&zs_session_at(&s->pd->bed.app, s->sock.app)->error, 0), val, len);
    if (level != IPPROTO_TCP)
        return -ENOPROTOOPT;
    switch (name) {
    case OPT_INFO:
        return get_info(s, val, len);
    case OPT_NODELAY:
        return put_int((bits & ZS_O_NODELAY) != 0, val, len);
    case OPT_CORK:
        return put_int((bits & ZS_O_CORK) != 0, val, len);
    case OPT_FASTOPEN_KEY:
        *len = RTE_MIN(*len, (socklen_t)(s->nkeys * TCP_TFO_KEY_LEN));
        memcpy(val, s->keys, *len);
        return 0;
    case OPT_USER_TIMEOUT:
        return put_int((int)atomic_load(&o->user_timeout), val, len);
    default:
        return -ENOPROTOOPT;
    }
}

int pd_ioctl(struct pd_sock *s, unsigned long request, int *val)
{
    if (s->sock.bed == NULL)
        return -EINVAL;
    struct zs_session *app = zs_session_at(&s->pd->bed.app, s->sock.app), *peer = zs_session_peer(&s->pd->bed.app, app);
    if (request == SIOCINQ)
        *val = (int)zs_rx_avail(app);
    else if (request == SIOCOUTQ)
        *val = peer == NULL ? 0 : (int)zs_tx_unread(peer);
    else
        return -ENOTTY;
    return 0;
}

int pd_fcntl(struct pd_sock *s, int cmd, long arg)
{
    if (cmd == F_GETFL)
        return O_RDWR | (s->nonblock ? O_NONBLOCK : 0);
    if (cmd != F_SETFL)
        return -EINVAL;
    s->nonblock = arg & O_NONBLOCK;
    return 0;
}
