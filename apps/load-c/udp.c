/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP requests, in batches: the sender must be far cheaper than what it loads. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"
#include "net.h"

enum { BATCH = 64, SMALL_BATCH = 8 };

struct batch {
    struct mmsghdr heads[BATCH];
    struct iovec parts[BATCH];
    struct request requests[BATCH];
};

static void prepare(struct batch *b)
{
    for (int i = 0; i < BATCH; i++) {
        b->parts[i] = (struct iovec){&b->requests[i], REQUEST};
        b->heads[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &b->parts[i], .msg_iovlen = 1}};
    }
}

static int open_socket(const struct load *l)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 16 << 20;

    if (fd < 0)
        die("socket");
    /* Answers are to be lost at the server or nowhere. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (connect(fd, (const struct sockaddr *)&l->to, sizeof(l->to)) != 0)
        die("connect");
    return fd;
}

static void take_answers(struct load *l, int fd, struct batch *in)
{
    for (;;) {
        int count = recvmmsg(fd, in->heads, BATCH, MSG_DONTWAIT, NULL);
        uint64_t now = now_ns();

        for (int i = 0; i < count; i++) {
            /* Those on their way when counting began make up for those still on it at the end. */
            if (in->heads[i].msg_len != REQUEST || now < l->counted_from || now > l->end)
                continue;
            l->answered++;
            latency_record(now - in->requests[i].sent_ns);
        }
        if (count < BATCH)
            return;
    }
}

/* Sends what is due. Returns how many requests it took off the schedule, sent or refused. */
static uint64_t send_due(struct load *l, int fd, struct batch *out, uint64_t done, uint64_t due, uint64_t now)
{
    unsigned n = due - done < BATCH ? (unsigned)(due - done) : BATCH;

    for (unsigned i = 0; i < n; i++) {
        out->requests[i].number = done + i;
        out->requests[i].sent_ns = now;
    }
    int sent = sendmmsg(fd, out->heads, n, MSG_DONTWAIT);

    /* ECONNREFUSED is told of an earlier one; the others mean that there is no room. */
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED && errno != EINTR)
        die("sendmmsg");
    if (now >= l->counted_from) {
        l->sent += sent > 0 ? (uint64_t)sent : 0;
        l->refused += sent > 0 ? n - (unsigned)sent : n;
    }
    return n;
}

void load_udp(struct load *l)
{
    static struct batch out, in;
    int fd = open_socket(l);
    uint64_t done = 0, now = now_ns(), silent = now;

    prepare(&out);
    prepare(&in);
    memset(out.requests, 'z', sizeof(out.requests));
    while (now < l->end) {
        uint64_t due = load_due(l, now, done);

        if (due > done)
            done += send_due(l, fd, &out, done, due, now);
        /* Behind schedule, sending comes first, but not for ever. */
        if (due < done + SMALL_BATCH || now - silent > 100000) {
            take_answers(l, fd, &in);
            silent = now;
        }
        now = now_ns();
    }
    close(fd);
}
