/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An emulated path between two TAP interfaces, as tc's netem with a rate makes it, in user space:
 *
 *   path FIRST SECOND RATE_MBIT DELAY_US QUEUE_BYTES LOSS REORDER LATE_US SEED
 *
 * makes the interfaces FIRST and SECOND in its network namespace, says `ready` and passes frames between them until it is
 * ended, each way alike: a frame is lost with probability LOSS, or waits in a queue of QUEUE_BYTES that is drained at RATE_MBIT
 * (0: no limit; what finds no room is dropped), then travels for DELAY_US; with probability REORDER for LATE_US more, so that
 * others overtake it. The same choices for the same SEED. On SIGUSR1 the loss begins anew from the seed. What happened is
 * told as JSON at the end (SIGTERM).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "net.h"

enum { FRAME = 1600, SLOTS = 1 << 15, BURST = 64, OVERHEAD = 24 }; /* preamble, checksum and gap of an Ethernet frame */

struct frame {
    uint64_t due; /* ns */
    uint32_t len;
    uint8_t data[FRAME];
};

/* Frames in the order of their time: all of one line are delayed alike. */
struct line {
    struct frame *frame; /* SLOTS of them */
    uint32_t head, tail; /* free running */
};

/* One direction. */
struct way {
    struct line line, late;
    uint64_t busy; /* until when the bottleneck sends what it has, ns */
    uint64_t chance;
    uint64_t passed, lost, dropped, reordered, stuck;
};

static struct {
    uint64_t ns_per_byte_1024, delay, late, room_ns; /* room: of the queue, as the time that it takes to drain */
    uint64_t loss, reorder;                         /* of 2^32 */
    uint64_t seed;
    int fd[2];
    struct way way[2]; /* from fd[i] */
    uint8_t scratch[FRAME];
} path;

static volatile sig_atomic_t ended, again;

static void on_end(int signal)
{
    (void)signal;
    ended = 1;
}

static void on_again(int signal)
{
    (void)signal;
    again = 1;
}

static int tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        die(name);
    /* No offloads: the kernel hands over frames as they are on a wire, checksums complete. */
    if (ioctl(fd, TUNSETOFFLOAD, 0) != 0)
        die("TUNSETOFFLOAD");
    return fd;
}

/* xorshift64*, its upper half. */
static uint32_t chance(struct way *w)
{
    w->chance ^= w->chance >> 12;
    w->chance ^= w->chance << 25;
    w->chance ^= w->chance >> 27;
    return (uint32_t)(w->chance * UINT64_C(2685821657736338717) >> 32);
}

static void seed(void)
{
    for (int i = 0; i < 2; i++)
        path.way[i].chance = (path.seed * 2 + (uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct frame *slot(struct line *l)
{
    return l->tail - l->head == SLOTS ? NULL : &l->frame[l->tail % SLOTS];
}

/* Takes what has arrived at one end. False: there was nothing. */
static bool take(int end, uint64_t now)
{
    struct way *w = &path.way[end];
    bool any = false;

    for (int i = 0; i < BURST; i++) {
        struct frame *f = slot(&w->line);
        ssize_t n = read(path.fd[end], f != NULL ? f->data : path.scratch, FRAME);

        if (n <= 0)
            break;
        any = true;
        if (chance(w) < path.loss) {
            w->lost++;
            continue;
        }
        uint64_t start = w->busy > now ? w->busy : now;

        if (f == NULL || start - now > path.room_ns) {
            w->dropped++;
            continue;
        }
        w->busy = start + ((uint64_t)n + OVERHEAD) * path.ns_per_byte_1024 / 1024;
        f->due = w->busy + path.delay;
        f->len = (uint32_t)n;
        struct frame *other = slot(&w->late);

        if (path.reorder != 0 && other != NULL && chance(w) < path.reorder) {
            other->due = f->due + path.late;
            other->len = f->len;
            memcpy(other->data, f->data, f->len);
            w->late.tail++;
            w->reordered++;
        } else {
            w->line.tail++;
        }
    }
    return any;
}

static uint64_t give(struct way *w, struct line *l, int fd, uint64_t now)
{
    for (; l->head != l->tail; l->head++) {
        const struct frame *f = &l->frame[l->head % SLOTS];

        if (f->due > now)
            return f->due;
        if (write(fd, f->data, f->len) == (ssize_t)f->len)
            w->passed++;
        else
            w->stuck++; /* the interface is down, or its queue full */
    }
    return UINT64_MAX;
}

static void run(void)
{
    struct pollfd ends[2] = {{.fd = path.fd[0], .events = POLLIN}, {.fd = path.fd[1], .events = POLLIN}};

    while (!ended) {
        uint64_t next = UINT64_MAX;
        bool any = false;

        if (again) {
            again = 0;
            seed();
        }
        for (int i = 0; i < 2; i++) {
            struct way *w = &path.way[i];
            uint64_t now = now_ns();

            any |= take(i, now);
            uint64_t a = give(w, &w->line, path.fd[1 - i], now), b = give(w, &w->late, path.fd[1 - i], now);

            next = a < next ? a : next;
            next = b < next ? b : next;
        }
        if (any)
            continue;
        uint64_t now = now_ns(), wait = next > now ? next - now : 0;
        struct timespec time = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};

        if (ppoll(ends, 2, next == UINT64_MAX ? NULL : &time, NULL) < 0 && errno != EINTR)
            die("ppoll");
    }
}

static double share(const char *text, const char *what)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value < 1)) {
        fprintf(stderr, "path: %s: expected a share from 0 to below 1, not '%s'\n", what, text);
        exit(2);
    }
    return value;
}

static void report(void)
{
    for (int i = 0; i < 2; i++) {
        const struct way *w = &path.way[i];

        printf("%s{\"passed\":%llu,\"lost\":%llu,\"dropped\":%llu,\"reordered\":%llu,\"stuck\":%llu}%s", i == 0 ? "[" : ",",
               (unsigned long long)w->passed, (unsigned long long)w->lost, (unsigned long long)w->dropped,
               (unsigned long long)w->reordered, (unsigned long long)w->stuck, i == 1 ? "]\n" : "");
    }
}

int main(int argc, char **argv)
{
    if (argc != 10) {
        fprintf(stderr, "usage: path FIRST SECOND RATE_MBIT DELAY_US QUEUE_BYTES LOSS REORDER LATE_US SEED\n");
        return 2;
    }
    uint64_t rate = (uint64_t)number(argv[3], "RATE_MBIT", 0, 100000);

    path.ns_per_byte_1024 = rate == 0 ? 0 : 8000 * UINT64_C(1024) / rate;
    path.delay = (uint64_t)number(argv[4], "DELAY_US", 0, 10000000) * 1000;
    path.room_ns = rate == 0 ? UINT64_MAX : (uint64_t)number(argv[5], "QUEUE_BYTES", 0, 1000000000) * 8000 / rate;
    path.loss = (uint64_t)(share(argv[6], "LOSS") * 4294967296.0);
    path.reorder = (uint64_t)(share(argv[7], "REORDER") * 4294967296.0);
    path.late = (uint64_t)number(argv[8], "LATE_US", 0, 10000000) * 1000;
    path.seed = (uint64_t)number(argv[9], "SEED", 0, 2147483647);
    seed();
    for (int i = 0; i < 2; i++) {
        struct line *lines[] = {&path.way[i].line, &path.way[i].late};

        for (int j = 0; j < 2; j++)
            if ((lines[j]->frame = malloc(SLOTS * sizeof(struct frame))) == NULL)
                die("malloc");
        path.fd[i] = tap(argv[1 + i]);
    }
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* delays are told in microseconds */
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_end}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_end}, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_again}, NULL);
    printf("ready\n");
    fflush(stdout);
    run();
    report();
    return 0;
}
