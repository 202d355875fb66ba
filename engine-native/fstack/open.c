/* SPDX-License-Identifier: BSD-3-Clause
 * The backend's beginning and end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bsd_route.h"
#include "ip.h"

#define NO_FD (-1)

static bool open_port(struct fstack *fs, const char *text, struct engine_failure *f)
{
    struct fs_device *d = &fs->device[fs->nports];
    d->fs = fs;
    if (!stack_port_open(&d->at, text, NULL, fs->rx.pool, f))
        return false;
    fs->nports++;
    if (d->at.conf.addr != 0)
        return true;
    engine_fail(f, ENGINE_EXIT_USAGE, "ZS2130", "give it ip=A.B.C.D/LEN beside ip6=, or use the native stack",
                "--port %s: libfstack does not serve a port without an IPv4 address", text);
    return false;
}

/* Routes, and routers that may tell of more. */
static bool set_up_routes(struct fs_device *d, uint32_t index, struct engine_failure *f)
{
    for (uint32_t k = 0; k < d->at.conf.nroutes; k++) {
        const struct net_route *r = &d->at.conf.route[k];
        if (!ip_is_v4(&r->prefix) && ip_is_any(&r->hop)) {
            engine_fail(f, ENGINE_EXIT_USAGE, "ZS2130", "give it a gateway, let a router advertise it (ra=on), or use the native stack",
                        "port %s: a route of IPv6 without a gateway is not for libfstack, whose neighbours are those of its prefixes",
                        d->at.spec.device);
            return false;
        }
        if (!fs_route_add(d, r)) {
            engine_fail(f, ENGINE_EXIT_USAGE, "ZS2130", "the gateway is on the port's own network",
                        "port %s: libfstack refuses a route: %s", d->at.spec.device, strerror(errno));
            return false;
        }
    }
    if (!d->at.conf.ra || fs_ra_start(d, index))
        return true;
    engine_fail(f, ENGINE_EXIT_USAGE, "ZS2130", "leave out ra=, or use the native stack",
                "port %s: libfstack does not listen to routers: %s", d->at.spec.device, strerror(errno));
    return false;
}

/* What the configuration file cannot tell: the MTU, and the number that libfstack has given to the interface. */
static bool set_up(struct fstack *fs, struct engine_failure *f)
{
    int fd = ff_socket(AF_INET, SOCK_DGRAM, 0);
    for (uint32_t i = 0; fd >= 0 && i < fs->nports; i++) {
        struct fs_device *d = &fs->device[i];
        struct ifreq r = {0};
        snprintf(r.ifr_name, sizeof r.ifr_name, "f-stack-%u", i);
        r.ifr_mtu = d->at.conf.mtu;
        if (d->at.conf.mtu != RTE_ETHER_MTU && ff_ioctl(fd, SIOCSIFMTU, &r) != 0) {
            engine_fail(f, ENGINE_EXIT_DPDK, "ZS2131", "take another mtu=, or use the native stack",
                        "port %s: libfstack refuses an MTU of %u: %s", d->at.spec.device, d->at.conf.mtu, strerror(errno));
            ff_close(fd);
            return false;
        }
        if (ff_ioctl(fd, SIOCGIFINDEX, &r) == 0) {
            uint16_t index; /* FreeBSD's ifr_index is a short */
            memcpy(&index, &r.ifr_ifindex, sizeof index);
            d->ifindex = index;
        }
    }
    if (fd >= 0)
        ff_close(fd);
    for (uint32_t i = 0; i < fs->nports; i++)
        if (!set_up_routes(&fs->device[i], i, f))
            return false;
    fs->kq = ff_kqueue();
    if (fd >= 0 && fs->kq >= 0)
        return true;
    engine_fail(f, ENGINE_EXIT_DPDK, "ZS2131", "see the engine's log with --log-level debug",
                "libfstack has no sockets: %s", strerror(errno));
    return false;
}

static bool start(struct fstack *fs, struct engine_failure *f)
{
    char why[256];
    int conf = fs_conf_write(fs);
    fs_devices_start(fs);
    bool started = conf >= 0 && fs_seam_start(fs, conf, why, sizeof why);
    if (conf >= 0)
        close(conf);
    else
        snprintf(why, sizeof why, "%s", strerror(-conf));
    if (!started)
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2131", "give DPDK more memory (-m 256), see the engine's log with --log-level debug, or use the native stack",
                    "libfstack did not start: %s", why);
    return started;
}

void *fs_open(const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *f)
{
    struct fstack *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return NULL;
    }
    fs->view = conf->view;
    fs->events = conf->events;
    fs->engine = conf->engine;
    fs->ecn = conf->ecn;
    fs->sysctls = conf->sysctls;
    fs->nsysctls = conf->nsysctls;
    fs->now = now;
    fs->kq = NO_FD;
    int err = rxpool_create(&fs->rx, "zs_rx", RX_BUFFERS, RTE_MBUF_DEFAULT_BUF_SIZE);
    bool good = err == 0;
    if (!good)
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2120", "free some memory", "no memory for the packet buffers: %s", strerror(-err));
    for (uint32_t i = 0; good && i < conf->nports; i++)
        good = open_port(fs, conf->ports[i], f);
    good = good && start(fs, f) && fs_sysctls_apply(fs, f) && set_up(fs, f);
    if (!good) {
        fs_close(fs, now);
        return NULL;
    }
    fs_icmp_open(fs);
    fs_congestion_default(fs);
    fs_clock_start(fs);
    return fs;
}

/* libfstack has no end but the process's: its memory goes with that. Connections are reset, ports closed. */
void fs_close(void *stack, uint64_t now)
{
    struct fstack *fs = stack;
    fs->now = now;
    while (!LIST_EMPTY(&fs->conns))
        fs_conn_end(LIST_FIRST(&fs->conns), ECONNRESET);
    if (fs->kq != NO_FD)
        fs_flush(fs);
    for (uint32_t i = 0; i < fs->nports; i++) {
        struct fs_device *d = &fs->device[i];
        rte_pktmbuf_free_bulk(d->waiting, d->nwaiting);
        d->nwaiting = 0;
        port_close(d->at.port);
    }
    fs_groups_close(fs);
    fs_neigh_close(fs);
    fs_seam_end();
    free(fs);
}
