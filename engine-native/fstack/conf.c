/* SPDX-License-Identifier: BSD-3-Clause
 * libfstack's configuration. Its parser reads a file, so it gets a memfd. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <rte_byteorder.h>
#include <rte_lcore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fstack.h"

/* What differs from FreeBSD's own defaults, and why. */
static const char boot[] =
    "[freebsd.boot]\n"
    "hz=%u\n"
    "fd_reserve=1\n"
    "kern.maxfiles=400000\n"
    "kern.maxfilesperproc=400000\n"
    "kern.ipc.maxsockets=400000\n"
    "kern.ncallout=262144\n"
    "kern.ipc.nmbclusters=131072\n" /* 256 MiB at most, for what is to be sent and, see device.c, what nobody reads */
    "net.inet.tcp.syncache.hashsize=4096\n"
    "net.inet.tcp.syncache.bucketlimit=100\n"
    "net.inet.tcp.syncache.cachelimit=65536\n"
    "net.inet.tcp.tcbhashsize=65536\n"
    "kern.features.inet6=1\n";
static const char freebsd[] =
    "[freebsd.sysctl]\n"
    "kern.ipc.somaxconn=32768\n"
    "kern.ipc.maxsockbuf=16777216\n"
    "net.inet.tcp.cc.algorithm=cubic\n" /* Linux's default */
    "net.inet.tcp.sendspace=131072\n"
    "net.inet.tcp.recvspace=131072\n"
    "net.inet.tcp.sendbuf_max=4194304\n"
    "net.inet.tcp.recvbuf_max=4194304\n"
    /* The application's end is closed for good, so FIN-WAIT-2 may end: as tcp_fin_timeout, but here it counts for all. */
    "net.inet.tcp.fast_finwait2_recycle=1\n"
    "net.inet.tcp.finwait2_timeout=60000\n"
    "net.inet.ip.maxfragsperpacket=64\n" /* a datagram of 64 KiB is one of 45 */
    "net.inet6.ip6.maxfragsperpacket=64\n"
    "net.inet.icmp.icmplim=1000\n" /* of refusals a second; FreeBSD's 200 makes a client of a closed port wait */
    "net.inet.ip.forwarding=0\n"
    "net.inet.ip.redirect=0\n"
    "net.inet6.ip6.dad_count=0\n" /* addresses are of use at once, RFC 4429 in spirit: a start takes no second */
    "net.inet6.ip6.auto_linklocal=1\n";

static const char *v4(rte_be32_t addr, char text[INET_ADDRSTRLEN])
{
    return inet_ntop(AF_INET, &addr, text, INET_ADDRSTRLEN);
}

static void write_port(FILE *f, const struct port_spec *s, uint32_t i)
{
    char addr[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], broadcast[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
    char addr6[INET6_ADDRSTRLEN];
    rte_be32_t netmask = rte_cpu_to_be_32(s->prefix_len == 0 ? 0 : UINT32_MAX << (32 - s->prefix_len));
    fprintf(f, "[port%u]\naddr=%s\nnetmask=%s\nbroadcast=%s\ngateway=%s\n", i, v4(s->addr, addr), v4(netmask, mask),
            v4(s->addr | ~netmask, broadcast), v4(s->gateway, gateway));
    static const uint8_t any[sizeof s->ip6];
    if (s->has_ip6 && memcmp(s->ip6, any, sizeof any) != 0) /* else routers give one, see ra.c */
        fprintf(f, "addr6=%s\nprefix_len=%u\n", inet_ntop(AF_INET6, s->ip6, addr6, sizeof addr6), s->prefix6);
    if (s->has_gateway6)
        fprintf(f, "gateway6=%s\n", inet_ntop(AF_INET6, s->gateway6, addr6, sizeof addr6));
}

/* The mask has one bit, that of the lcore that the engine runs on. */
static void write_lcore(FILE *f)
{
    unsigned lcore = rte_get_main_lcore();
    fprintf(f, "lcore_mask=%x", 1u << (lcore % 4));
    for (unsigned i = 0; i < lcore / 4; i++)
        fputc('0', f);
    fputc('\n', f);
}

int fs_conf_write(const struct fstack *fs)
{
    int fd = memfd_create("zstack-fstack-conf", MFD_CLOEXEC);
    int other = fd < 0 ? -1 : dup(fd);
    FILE *f = other < 0 ? NULL : fdopen(other, "w");
    if (f == NULL) {
        int err = -errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    fputs("[dpdk]\nchannel=1\nnuma_on=0\npromiscuous=0\nidle_sleep=0\npkt_tx_delay=0\nvlan_strip=0\n", f);
    write_lcore(f);
    fputs("port_list=", f);
    for (uint32_t i = 0; i < fs->nports; i++)
        fprintf(f, i == 0 ? "%u" : ",%u", i);
    fputc('\n', f);
    for (uint32_t i = 0; i < fs->nports; i++)
        write_port(f, &fs->device[i].at.spec, i);
    fprintf(f, boot, FSTACK_HZ);
    /* Whatever of these can only be set at boot; the others are set by sysctl.c, which knows their types. */
    for (uint32_t i = 0; i < fs->nsysctls; i++)
        fprintf(f, "%s\n", fs->sysctls[i]);
    fputs(freebsd, f);
    static const int ecn[] = {[ENGINE_ECN_PASSIVE] = 2, [ENGINE_ECN_ON] = 1, [ENGINE_ECN_OFF] = 0};
    fprintf(f, "net.inet.tcp.ecn.enable=%d\n", ecn[fs->ecn]);
    if (fclose(f) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}
