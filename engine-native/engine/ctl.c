/* SPDX-License-Identifier: BSD-3-Clause
 * The control socket: connections, messages in and out. What a message asks for is ctl_ops.c's matter. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Connections that have not said HELLO. A stranger's cannot push out those of our own user. */
#define WAITING_TRUSTED_MAX 4096u
#define WAITING_OTHER_MAX 64u
#define MESSAGES_PER_TURN 16 /* of one connection, before the others have theirs */

void conn_close(struct engine *e, struct conn *c)
{
    if (c->src.fd < 0) /* closed while a request of its own was served */
        return;
    if (c->client == NULL) {
        TAILQ_REMOVE(&e->waiting, c, link);
        *(c->trusted ? &e->waiting_trusted : &e->waiting_other) -= 1;
    } else {
        c->client->conn = NULL;
    }
    source_close(e, &c->src);
    defer_free(e, c);
}

bool conn_reply_fds(struct engine *e, struct conn *c, const struct zs_ctl_reply *reply, const int *fds, size_t n)
{
    union {
        char space[CMSG_SPACE(ZS_CTL_REPLY_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {(void *)reply, sizeof *reply};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (c->src.fd < 0)
        return false;
    if (n > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(h), fds, n * sizeof(int));
    }
    if (sendmsg(c->src.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *reply)
        return true;
    if (errno == EAGAIN) {
        COUNT(e, CLIENTS_SLOW);
        LOG_WARN(e, "process %d does not read its replies: disconnected", (int)c->cred.pid);
    }
    /* The client stays known by its pidfd: what it holds is freed when it dies. */
    conn_close(e, c);
    return false;
}

bool conn_reply(struct engine *e, struct conn *c, const struct zs_ctl_reply *reply, int fd)
{
    return conn_reply_fds(e, c, reply, &fd, fd >= 0);
}

/* Takes the first descriptor of a message and closes any other. */
static int take_fd(struct msghdr *msg)
{
    int taken = -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

/* One message; false when there is none or the connection is gone. */
static bool receive_one(struct engine *e, struct conn *c)
{
    struct zs_ctl_request request;
    union {
        char space[CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {&request, sizeof request};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(c->src.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        struct client *client = c->client;
        conn_close(e, c);
        if (client != NULL)
            client_eof(e, client);
        return false;
    }
    int fd = take_fd(&msg);
    if ((msg.msg_flags & MSG_TRUNC) || (size_t)n < ZS_CTL_REQUEST_BASE) {
        struct zs_ctl_reply reply = {.error = EPROTO};
        if (n >= 8)
            reply.seq = request.seq;
        COUNT(e, RPC_BAD);
        conn_reply(e, c, &reply, -1);
    } else {
        ctl_request(e, c, &request, (size_t)n, fd);
    }
    if (fd >= 0)
        close(fd);
    return c->src.fd >= 0;
}

void conn_take_told(struct engine *e, struct conn *c)
{
    struct zs_ctl_request head;
    while (c != NULL && c->src.fd >= 0 && recv(c->src.fd, &head, ZS_CTL_REQUEST_BASE, MSG_DONTWAIT | MSG_PEEK) == (ssize_t)ZS_CTL_REQUEST_BASE &&
           zs_ctl_silent(&head) && receive_one(e, c))
        ;
}

static void conn_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)events;
    struct conn *c = CONTAINER(s, struct conn, src);
    for (int i = 0; i < MESSAGES_PER_TURN && receive_one(e, c); i++)
        ;
}

/* Room for one more connection before HELLO: the oldest of its kind has had its time. */
static void make_room(struct engine *e, bool trusted)
{
    uint32_t n = trusted ? e->waiting_trusted : e->waiting_other;
    if (n < (trusted ? WAITING_TRUSTED_MAX : WAITING_OTHER_MAX))
        return;
    struct conn *c;
    TAILQ_FOREACH(c, &e->waiting, link) {
        if (c->trusted == trusted) {
            COUNT(e, CONNECTIONS_EVICTED);
            conn_close(e, c);
            return;
        }
    }
}

static void conn_new(struct engine *e, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0 ||
        source_add(e, &c->src, fd, EPOLLIN, conn_ready) != 0) {
        free(c);
        close(fd);
        return;
    }
    c->cred = cred;
    c->trusted = cred.uid == e->uid || cred.uid == 0;
    make_room(e, c->trusted);
    TAILQ_INSERT_TAIL(&e->waiting, c, link);
    *(c->trusted ? &e->waiting_trusted : &e->waiting_other) += 1;
    COUNT(e, CONNECTIONS_ACCEPTED);
}

void ctl_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)events;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_new(e, fd);
            continue;
        }
        /* Out of descriptors: drop the oldest connection that said nothing yet, or this event would come for ever. */
        if ((errno == EMFILE || errno == ENFILE) && !TAILQ_EMPTY(&e->waiting)) {
            COUNT(e, CONNECTIONS_EVICTED);
            conn_close(e, TAILQ_FIRST(&e->waiting));
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            accept_pause(e, s);
        return;
    }
}

/* Nothing can be accepted now and the event is level-triggered: look again a little later. */
void accept_pause(struct engine *e, struct source *s)
{
    source_events(e, s, 0);
    timer_at(e, TIMER_ACCEPT, e->now + 100 * NS_PER_MS);
}

void accept_resume(struct engine *e)
{
    source_events(e, &e->ctl, EPOLLIN);
    source_events(e, &e->admin, EPOLLIN);
}
