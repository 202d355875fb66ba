/* SPDX-License-Identifier: BSD-3-Clause
 * Zero-copy echo and zero-copy TCP proxy, the middlebox case: nothing that passes is copied where both connections are served by
 * Z-stack.
 *
 *   zc-echo PORT                echoes
 *   zc-proxy PORT ADDRESS:PORT  connects to ADDRESS for each connection that it accepts
 *
 * PORT 0: any; "listening on PORT" is printed. SIGTERM and SIGINT end it with a line of totals. IPv4. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "flow.h"

/* A connection, or both connections of the proxy: flow[0] from the client on, flow[1] back. */
struct pipe {
    struct flow flow[2];
    int flows, fd[2], fds;
    bool connecting;
    struct pipe *next_dead;
};

/* What epoll tells: which end of which pipe. */
struct end {
    struct pipe *pipe;
    int which;
};

static volatile sig_atomic_t stop;
static struct flow_totals totals;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t len = sizeof a;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(fd, 511) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        fail("listen");
    printf("listening on %d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static int parse(const char *text, struct sockaddr_in *a)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return -1;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    return inet_pton(AF_INET, host, &a->sin_addr) == 1 ? 0 : -1;
}

/* What each end of the pipe waits for now. */
static void watch(int set, struct pipe *p, struct end *ends, int op)
{
    for (int i = 0; i < p->fds; i++) {
        uint32_t events = 0;
        for (int f = 0; f < p->flows; f++) {
            if (p->flow[f].from == p->fd[i] && flow_wants_in(&p->flow[f]))
                events |= EPOLLIN;
            if (p->flow[f].to == p->fd[i] && flow_wants_out(&p->flow[f]))
                events |= EPOLLOUT;
        }
        if (p->connecting)
            events = i == 1 ? EPOLLOUT : 0;
        struct epoll_event e = {.events = events, .data.ptr = &ends[i]};
        if (epoll_ctl(set, op, p->fd[i], &e) != 0)
            fail("epoll_ctl");
    }
}

static void end_pipe(struct end *ends, struct pipe **dead)
{
    struct pipe *p = ends[0].pipe;
    for (int f = 0; f < p->flows; f++)
        flow_drop(&p->flow[f]);
    for (int i = 0; i < p->fds; i++)
        close(p->fd[i]);
    p->fds = 0;
    p->next_dead = *dead;
    *dead = p;
}

/* Memory of a pipe and its ends in one piece. */
struct whole {
    struct pipe pipe;
    struct end end[2];
};

static void open_pipe(int set, int client, const struct sockaddr_in *to)
{
    struct whole *w = calloc(1, sizeof *w);
    int one = 1;
    if (w == NULL)
        fail("calloc");
    struct pipe *p = &w->pipe;
    p->fd[0] = client;
    p->fds = p->flows = to == NULL ? 1 : 2;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (to != NULL) {
        p->fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (p->fd[1] < 0)
            fail("socket");
        setsockopt(p->fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        int r = connect(p->fd[1], (const struct sockaddr *)to, sizeof *to);
        if (r != 0 && errno != EINPROGRESS) {
            close(p->fd[1]);
            close(client);
            free(w);
            return;
        }
        p->connecting = r != 0;
    }
    p->flow[0].from = client;
    p->flow[0].to = p->flow[1].from = to == NULL ? client : p->fd[1];
    p->flow[1].to = client;
    for (int i = 0; i < 2; i++)
        w->end[i] = (struct end){p, i};
    watch(set, p, w->end, EPOLL_CTL_ADD);
}

static void serve(int set, struct end *e, struct pipe **dead)
{
    struct pipe *p = e->pipe;
    struct end *ends = ((struct whole *)p)->end;
    bool over = true;
    int r = 0;
    if (p->fds == 0)
        return;
    if (p->connecting && e->which == 1) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(p->fd[1], SOL_SOCKET, SO_ERROR, &err, &len);
        r = -err;
        p->connecting = false;
    }
    if (p->connecting)
        return;
    for (int f = 0; f < p->flows && r == 0; f++)
        r = flow_run(&p->flow[f], &totals);
    for (int f = 0; f < p->flows; f++)
        over = over && p->flow[f].done;
    if (r < 0 || over)
        end_pipe(ends, dead);
    else
        watch(set, p, ends, EPOLL_CTL_MOD);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to;
    bool proxy = argc == 3;
    if (argc < 2 || argc > 3 || (proxy && parse(argv[2], &to) != 0)) {
        fprintf(stderr, "usage: zc-echo PORT | zc-proxy PORT ADDRESS:PORT\n");
        return 2;
    }
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    int listener = listen_on(argv[1]), set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[64];
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, listener, &e) != 0)
        fail("epoll");
    while (!stop) {
        struct pipe *dead = NULL;
        int n = epoll_wait(set, ready, 64, -1), client;
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr != NULL)
                serve(set, ready[i].data.ptr, &dead);
            else
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                    open_pipe(set, client, proxy ? &to : NULL);
        }
        for (struct pipe *next; dead != NULL; dead = next) { /* no event of this batch names it any more */
            next = dead->next_dead;
            free(dead);
        }
    }
    printf("in: %llu bytes lent, %llu copied; out: %llu lent, %llu copied\n", (unsigned long long)totals.in_lent,
           (unsigned long long)totals.in_copied, (unsigned long long)totals.out_lent, (unsigned long long)totals.out_copied);
    return 0;
}
