/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection per request. It is reset once answered or given up, so that no port is kept in TIME-WAIT. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"
#include "net.h"

enum { MOST = 24576, EVENTS = 256, STARTS = 16 };
#define PATIENCE_NS 1000000000u

/* Connections under way, oldest first: a ring. fd -1: answered already. */
static struct attempt {
    int fd;
    uint64_t began;
} attempts[MOST];
static uint64_t oldest, newest;

static void end(struct attempt *a)
{
    struct linger reset = {.l_onoff = 1};

    setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(a->fd);
    a->fd = -1;
}

static int begin(const struct load *l, int set, uint64_t now)
{
    struct attempt *a = &attempts[newest % MOST];
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = newest};

    if (newest - oldest == MOST)
        return 0;
    *a = (struct attempt){socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), now};
    if (a->fd < 0)
        return 0;
    if ((connect(a->fd, (const struct sockaddr *)&l->to, sizeof(l->to)) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(set, EPOLL_CTL_ADD, a->fd, &event) != 0) {
        close(a->fd);
        return 0;
    }
    newest++;
    return 1;
}

static void proceed(struct load *l, int set, const struct epoll_event *event, uint64_t now)
{
    struct attempt *a = &attempts[event->data.u64 % MOST];
    struct epoll_event next = {.events = EPOLLIN, .data = event->data};
    struct request request = {.number = event->data.u64, .sent_ns = a->began};

    if (event->data.u64 < oldest || a->fd < 0)
        return;
    if (event->events & EPOLLOUT) {
        if (send(a->fd, &request, sizeof(request), MSG_NOSIGNAL) == REQUEST)
            epoll_ctl(set, EPOLL_CTL_MOD, a->fd, &next);
        else
            end(a);
        return;
    }
    if (recv(a->fd, &request, sizeof(request), 0) == REQUEST && now >= l->counted_from && now <= l->end) {
        l->answered++;
        latency_record(now - a->began);
    }
    end(a);
}

static void give_up(struct load *l, uint64_t now)
{
    for (; oldest < newest; oldest++) {
        struct attempt *a = &attempts[oldest % MOST];

        if (a->fd >= 0 && now - a->began < PATIENCE_NS)
            return;
        if (a->fd < 0)
            continue;
        l->late += now >= l->counted_from;
        end(a);
    }
}

void load_tcp(struct load *l)
{
    static struct epoll_event events[EVENTS];
    struct rlimit limit = {MOST + 64, MOST + 64};
    int set = epoll_create1(EPOLL_CLOEXEC);
    uint64_t done = 0, now = now_ns();

    if (set < 0)
        die("epoll_create1");
    setrlimit(RLIMIT_NOFILE, &limit);
    while (now < l->end) {
        uint64_t due = load_due(l, now, done);

        for (int i = 0; i < STARTS && done < due; i++, done++) {
            int begun = begin(l, set, now);

            l->sent += begun && now >= l->counted_from;
            l->refused += !begun && now >= l->counted_from;
        }
        int count = epoll_wait(set, events, EVENTS, 0);

        now = now_ns();
        for (int i = 0; i < count; i++)
            proceed(l, set, &events[i], now);
        give_up(l, now);
    }
    close(set);
}
