/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the whole way from an Ethernet frame to a socket, with listeners, connections and UDP sockets of both protocols
 * open and time passing. First byte: the host's mode. Then steps: a byte, its low four bits what, its high four a parameter. */
#include "fuzz.h"

#define FRAME_MAX 1518u

static void frame_in(struct host *h, struct input *in, bool mend, bool relative)
{
    uint8_t frame[FRAME_MAX];
    uint16_t len = (uint16_t)RTE_MIN((size_t)(take16(in) % (FRAME_MAX + 1)), (size_t)(in->end - in->at));
    memcpy(frame, in->at, len);
    in->at += len;
    if (mend)
        host_mend(h, frame, len, relative);
    host_receive(h, frame, len);
}

static void close_sock(struct host *h, struct sock *s, uint8_t how)
{
    if (how == 0)
        sock_shutdown(s, h->now);
    else
        sock_close(s, how == 1, h->now);
}

static void step(struct host *h, struct input *in)
{
    uint8_t op = take8(in), p = op >> 4;
    struct sock *s = &h->sock[p % FUZZ_SOCKS];
    bool open = s->bed != NULL && !s->closed_here;
    switch (op & 15) {
    case 0:
        frame_in(h, in, false, false);
        break;
    case 1:
    case 2:
        frame_in(h, in, true, (op & 15) == 2);
        break;
    case 3: /* up to eight minutes */
        host_pass(h, (uint64_t)take8(in) * MS << RTE_MIN(p, 11));
        break;
    case 4:
        host_connect(h, p & 1, rte_cpu_to_be_16(take16(in)));
        break;
    case 5:
        if (open)
            sock_write(s, take16(in), h->now);
        break;
    case 6:
        if (open)
            host_drain(s, take16(in), h->now);
        break;
    case 7:
        if (open)
            close_sock(h, s, take8(in) % 3);
        break;
    case 8:
        if (open)
            atomic_store(&zs_session_at(&h->bed->app, s->app)->opts.bits, take32(in));
        break;
    case 9:
        h->hold = (uint16_t)(1 + p * 2);
        break;
    case 10:
        h->full = p & 1;
        break;
    case 11:
        h->accept = p & 1 ? -EAGAIN : p & 2 ? -ENOBUFS : 0;
        break;
    default:
        host_flush(h);
    }
    net_flush(h->st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct host h;
    host_begin(&h, take8(&in));
    for (int i = 0; more(&in) && i < 200; i++)
        step(&h, &in);
    host_end(&h, true);
    return 0;
}
