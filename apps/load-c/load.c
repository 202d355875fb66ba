/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open-loop load: requests of 64 bytes leave at a given rate, and nobody waits for the answers.
 *
 *   load udp-server PORT [WORK_NS]           sends back every datagram, after computing for WORK_NS
 *   load tcp-server PORT [WORK_NS]           accepts, reads a request, computes, answers; the client closes
 *   load sink PORT                           takes datagrams, and tells at its end how many
 *   load udp HOST PORT SECONDS RATE          one datagram per request; RATE 0: as fast as they go
 *   load tcp HOST PORT SECONDS RATE          one connection per request
 *   load segments INTERFACE on|off           on: frames of the network; off: the super-frames that veth passes on
 *
 * Servers say `ready` once they serve. Clients print one JSON object: requests sent and answers that came within the time,
 * those that could not be sent, and the latency of the answers in us. Half a second before SECONDS fills the queues; what
 * happens then does not count.
 */
#include "load.h"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

enum { BUCKETS = 1 << 20, WARM_UP_NS = 500000000 };

static uint32_t latency[BUCKETS];
static uint64_t latencies;

void latency_record(uint64_t ns)
{
    uint64_t us = ns / 1000;

    latency[us < BUCKETS ? us : BUCKETS - 1]++;
    latencies++;
}

uint64_t latency_quantile_us(double q)
{
    uint64_t wanted = (uint64_t)((double)latencies * q), seen = 0;

    for (uint64_t us = 0; us < BUCKETS; us++) {
        seen += latency[us];
        if (seen > wanted)
            return us;
    }
    return 0;
}

uint64_t load_due(const struct load *l, uint64_t now, uint64_t done)
{
    return l->rate > 0 ? (uint64_t)((double)(now - l->start) * 1e-9 * l->rate) : done + 64;
}

static int run(void (*how)(struct load *), char **argv)
{
    struct load l = {.to = {.sin_family = AF_INET}};
    double seconds = atof(argv[2]);

    if (inet_pton(AF_INET, argv[0], &l.to.sin_addr) != 1 || seconds <= 0 || seconds > 3600) {
        fprintf(stderr, "load: expected an IPv4 address and up to 3600 seconds\n");
        return 2;
    }
    l.to.sin_port = htons((uint16_t)number(argv[1], "PORT", 1, 65535));
    l.rate = (double)number(argv[3], "RATE", 0, 100000000);
    l.start = now_ns();
    l.counted_from = l.start + WARM_UP_NS;
    l.end = l.counted_from + (uint64_t)(seconds * 1e9);
    how(&l);
    printf("{\"seconds\":%.6f,\"total_seconds\":%.6f,\"sent\":%llu,\"refused\":%llu,\"answered\":%llu,\"late\":%llu,\"median_us\":%llu,\"p99_us\":%llu}\n",
           (double)(l.end - l.counted_from) / 1e9, (double)(l.end - l.start) / 1e9, (unsigned long long)l.sent, (unsigned long long)l.refused,
           (unsigned long long)l.answered, (unsigned long long)l.late, (unsigned long long)latency_quantile_us(0.5),
           (unsigned long long)latency_quantile_us(0.99));
    return 0;
}

/* Whether the kernel cuts what TCP sends into frames before the interface gets it, as for a card that cannot. */
static int segments(const char *interface, int on)
{
    struct ethtool_value value = {.cmd = ETHTOOL_STSO, .data = !on};
    struct ifreq request = {.ifr_data = (char *)&value};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) != 0)
        die(interface);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int segments_mode = strcmp(mode, "segments") == 0 && argc == 4;
    int port = !segments_mode && (argc == 3 || argc == 4) ? (int)number(argv[2], "PORT", 1, 65535) : 0;
    uint64_t work = !segments_mode && argc == 4 ? (uint64_t)number(argv[3], "WORK_NS", 0, 1000000000) : 0;

    if (strcmp(mode, "udp-server") == 0 && port > 0)
        serve_udp(port, work);
    if (strcmp(mode, "tcp-server") == 0 && port > 0)
        serve_tcp(port, work);
    if (strcmp(mode, "sink") == 0 && argc == 3)
        serve_sink(port);
    if (strcmp(mode, "udp") == 0 && argc == 6)
        return run(load_udp, argv + 2);
    if (strcmp(mode, "tcp") == 0 && argc == 6)
        return run(load_tcp, argv + 2);
    if (segments_mode)
        return segments(argv[2], strcmp(argv[3], "on") == 0);
    fprintf(stderr, "usage: load udp-server|tcp-server PORT [WORK_NS] | sink PORT | udp|tcp HOST PORT SECONDS RATE | segments INTERFACE on|off\n");
    return 2;
}
