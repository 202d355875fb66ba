/* SPDX-License-Identifier: BSD-3-Clause
 * A connection's options: the application keeps them in its session, libfstack's socket follows. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "fstack.h"

/* FreeBSD's numbers (netinet/tcp.h there) of what ff_setsockopt() does not translate. */
#define BSD_TCP_NOPUSH 4
#define BSD_TCP_CONGESTION 64
#define BSD_TCP_KEEPINIT 128
#define SYNCNT_MAX 10u /* doubled so often, a second is longer than anybody waits */

static void set(int fd, int level, int name, int value)
{
    ff_setsockopt(fd, level, name, &value, sizeof value); /* a socket that is closing refuses: no matter any more */
}

static void keepalive(const struct fs_conn *c, const struct zs_opts *o)
{
    static const int names[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT};
    const uint32_t values[] = {atomic_load(&o->keepidle), atomic_load(&o->keepintvl), atomic_load(&o->keepcnt)};
    for (size_t i = 0; i < RTE_DIM(names); i++)
        if (values[i] != 0)
            set(c->sock.fd, IPPROTO_TCP, names[i], (int)values[i]);
    set(c->sock.fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static const char *const names[] = {[ZS_CC_RENO] = "newreno", [ZS_CC_CUBIC] = "cubic", [ZS_CC_HTCP] = "htcp"};

/* What sockets have that chose none: their programs are told its name. */
void fs_congestion_default(struct fstack *fs)
{
    int oid[FS_OID_MAX];
    char name[FS_SYSCTL_MAX] = "";
    size_t size = sizeof name - 1;
    unsigned len = fs_sysctl_find("net.inet.tcp.cc.algorithm", oid);
    if (len == 0 || ff_sysctl(oid, len, name, &size, NULL, 0) != 0)
        return;
    for (uint32_t i = ZS_CC_DEFAULT + 1; i < RTE_DIM(names); i++)
        if (strcmp(name, names[i]) == 0)
            fs->congestion = i;
}

static void congestion(struct fs_conn *c, uint32_t which)
{
    c->congestion = which;
    if (which < RTE_DIM(names) && names[which] != NULL)
        ff_setsockopt_freebsd(c->sock.fd, IPPROTO_TCP, BSD_TCP_CONGESTION, names[which], (socklen_t)strlen(names[which]));
}

/* FreeBSD bounds the time of a handshake, not its retransmissions: those of TCP_SYNCNT come after 1, 2, 4... seconds (RFC 6298). */
static void handshake_time(const struct fs_conn *c, const struct zs_opts *o)
{
    uint32_t count = atomic_load_explicit(&o->syncnt, memory_order_relaxed);
    uint32_t limit_ms = atomic_load_explicit(&o->user_timeout, memory_order_relaxed);
    uint32_t seconds = count == 0 ? 0 : (2u << RTE_MIN(count, SYNCNT_MAX)) - 1;
    if (limit_ms != 0 && (seconds == 0 || limit_ms / MS_PER_S < seconds))
        seconds = limit_ms / MS_PER_S + (limit_ms % MS_PER_S != 0);
    if (seconds != 0)
        fs_set_int(c->sock.fd, IPPROTO_TCP, BSD_TCP_KEEPINIT, (int)seconds);
}

/* Refused when it is no less than what the path and the peer allow, or less than FreeBSD's least. */
static void segment_size(struct fs_conn *c, const struct zs_opts *o)
{
    uint32_t most = atomic_load_explicit(&o->maxseg, memory_order_relaxed);
    if (most != c->maxseg && most != 0)
        set(c->sock.fd, IPPROTO_TCP, TCP_MAXSEG, (int)most);
    c->maxseg = most;
}

void fs_conn_options(struct fs_conn *c, struct zs_session *app)
{
    if (app == NULL)
        return;
    struct zs_opts *o = &app->opts;
    uint16_t none = ZS_CC_DEFAULT;
    atomic_compare_exchange_strong(&o->congestion, &none, (uint16_t)c->sock.fs->congestion);
    uint32_t bits = atomic_load_explicit(&o->bits, memory_order_relaxed), changed = bits ^ c->bits;
    uint32_t cc = atomic_load_explicit(&o->congestion, memory_order_relaxed);
    if (changed & ZS_O_NODELAY)
        set(c->sock.fd, IPPROTO_TCP, TCP_NODELAY, !!(bits & ZS_O_NODELAY));
    if (changed & ZS_O_CORK)
        fs_set_int(c->sock.fd, IPPROTO_TCP, BSD_TCP_NOPUSH, !!(bits & ZS_O_CORK));
    if ((changed & ZS_O_KEEPALIVE) && (bits & ZS_O_KEEPALIVE))
        keepalive(c, o);
    else if (changed & ZS_O_KEEPALIVE)
        set(c->sock.fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    if (cc != c->congestion)
        congestion(c, cc);
    if (c->connecting)
        handshake_time(c, o);
    else
        segment_size(c, o); /* the handshake sets it, too */
    c->bits = bits;
}

#define DESCRIBED_MAX 4096u /* connections that are asked for a status */
#define BSD_CONGESTION_MAX 16 /* TCP_CA_NAME_MAX there */

void fs_describe_congestion(const struct fstack *fs, json_t *wire)
{
    json_t *all = json_object();
    const struct fs_conn *c;
    uint32_t n = 0;
    LIST_FOREACH(c, &fs->conns, link) {
        char name[BSD_CONGESTION_MAX + 1] = "";
        socklen_t len = BSD_CONGESTION_MAX;
        if (n++ == DESCRIBED_MAX)
            break;
        if (ff_getsockopt_freebsd(c->sock.fd, IPPROTO_TCP, BSD_TCP_CONGESTION, name, &len) == 0)
            json_object_set_new(all, name, json_integer(json_integer_value(json_object_get(all, name)) + 1));
    }
    json_object_set_new(wire, "congestion", all);
}
