/* SPDX-License-Identifier: BSD-3-Clause
 * A server that answers datagrams, and who asks it. */
#include "udpserver.h"

static void serve(void *arg)
{
    struct server *s = arg;
    for (int i = 0; i < s->n; i++) {
        char buf[64];
        struct addr from = {.len = sizeof from.ss};
        long got = OK(recvfrom(s->fd, buf, sizeof buf, 0, SA(&from), &from.len));
        if (i >= s->silent)
            OK(sendto(s->fd, buf, (size_t)got, 0, SA(&from), from.len));
    }
}

void server_start(struct server *s, int n, int silent)
{
    s->fd = udp_bound(AF_INET, &s->at);
    s->n = n;
    s->silent = silent;
    s->pid = child(serve, s);
    OK(close(s->fd));
}

void ask(int fd, const struct server *s, int i)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", i);
    CHECK(sendto(fd, text, (size_t)n, 0, SA(&s->at), s->at.len) == n);
}

void wait_poll(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK(poll(&p, 1, 3000) == 1);
}
