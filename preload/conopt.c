/* SPDX-License-Identifier: BSD-3-Clause
 * What a connection in shared memory answers for its options where its placeholder, which is not connected, would say
 * something else. */
#include "preload.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#ifndef IP_PROTOCOL /* linux/in.h, not in this C library */
#define IP_PROTOCOL 52
#endif

/* Unlike getpeername: no more than is there may be asked for (sk_getsockopt). */
int conn_opt_peername(struct zsock *k, void *val, socklen_t *len)
{
    struct sockaddr_storage ss;
    if (!user_readable(len, sizeof *len))
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    if (atomic_load(&k->s->state) == ZS_S_EMBRYO || conn_over(k))
        return -ENOTCONN;
    socklen_t n = addr_to_sockaddr(&k->s->remote, k->family, &ss);
    return n < *len ? -EINVAL : opt_put(val, len, &ss, n);
}

/* What the way to the peer carries in one packet. */
static uint32_t conn_mtu(const struct zsock *k, int fd)
{
    struct ifreq lo = {.ifr_name = "lo"};
    if (atomic_load(&k->s->flags) & ZS_F_WIRE) {
        struct zs_wire_port port;
        uint32_t n = zs_wire_port_to(&k->d->view, &k->s->remote);
        return zs_wire_port_copy(&k->d->view, n, &port) ? port.mtu : 1280; /* what every link has (RFC 8200 5) */
    }
    return zs_sys(SYS_ioctl, fd, SIOCGIFMTU, &lo) < 0 ? 65536 : (uint32_t)lo.ifr_mtu;
}

/* What a connection that was accepted has from the first packet of its peer (tcp_v4_syn_recv_sock, tcp_v6_syn_recv_sock). */
static int accepted_value(const struct zsock *k, int level, int name, int *v)
{
    const int hops = 64, loopback = 1;
    if (!k->accepted)
        return -1;
    if (level == IPPROTO_IP && k->family == AF_INET && name == IP_MULTICAST_TTL)
        *v = hops;
    else if (level == IPPROTO_IPV6 && k->family == AF_INET6 && name == IPV6_MULTICAST_HOPS)
        *v = hops;
    else if (level == IPPROTO_IPV6 && k->family == AF_INET6 && name == IPV6_MULTICAST_IF)
        *v = loopback;
    else if (level == IPPROTO_IPV6 && k->family == AF_INET6 && name == IPV6_V6ONLY)
        *v = !zs_addr_is_v4(k->s->local.ip);
    else
        return -1;
    return 0;
}

/* At this level a negative length counts as a large one (do_ipv6_getsockopt). */
static int wide_get(const struct zsock *k, int fd, int name, void *val, socklen_t *len)
{
    socklen_t told = sizeof(int);
    int r = conn_opt_ip(k, fd, IPPROTO_IPV6, name, val, &told);
    if (r == 0)
        *len = told;
    return r;
}

int conn_opt_ip(const struct zsock *k, int fd, int level, int name, void *val, socklen_t *len)
{
    int v;
    if (level == IPPROTO_IPV6 && user_writable(len, sizeof *len) && (int)*len < 0)
        return wide_get(k, fd, name, val, len);
    if (accepted_value(k, level, name, &v) == 0)
        return opt_put_int(val, len, v);
    bool mtu = (level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU && k->family == AF_INET6);
    if (mtu && !conn_over(k))
        return opt_put_int(val, len, (int)conn_mtu(k, fd));
    if (level == IPPROTO_IP && name == IP_PROTOCOL)
        return opt_put_int(val, len, ntohs(k->s->local.port)); /* inet_num, which is the port on TCP */
    return 1;
}

int conn_opt_refused(const struct zsock *k, int level, int name, const void *val, socklen_t len)
{
    int v = 1;
    if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && k->family == AF_INET6)
        return -EINVAL; /* before connect only; the placeholder is not connected */
    if (level != IPPROTO_TCP || conn_over(k))
        return 0;
    if (len >= (socklen_t)sizeof v && user_readable(val, sizeof v))
        memcpy(&v, val, sizeof v);
    else
        return 0; /* the placeholder's error */
    if (name == TCP_FASTOPEN || name == TCP_FASTOPEN_NO_COOKIE || name == TCP_FASTOPEN_CONNECT)
        return -EINVAL;
    return name == TCP_WINDOW_CLAMP && v == 0 ? -EINVAL : 0;
}
