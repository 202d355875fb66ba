/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of `load`: the servers, and the clients that send at a rate of their own whatever comes back. */
#ifndef ZSTACK_LOAD_H
#define ZSTACK_LOAD_H

#include <netinet/in.h>
#include <stdint.h>

enum { REQUEST = 64 };

/* Starts every request; comes back in the answer. */
struct request {
    uint64_t number, sent_ns;
    char filler[REQUEST - 16];
};

/* What a client did. Only what happens after the warm-up counts. */
struct load {
    struct sockaddr_in to;
    double rate; /* requests per second; 0: as fast as they go */
    uint64_t start, counted_from, end;
    uint64_t sent, refused, answered, late; /* late: given up */
};

/* Latencies in buckets of a microsecond; the last takes what is above. */
void latency_record(uint64_t ns);
uint64_t latency_quantile_us(double q);

/* Requests that ought to have been sent by now; in a flood always one more batch. */
uint64_t load_due(const struct load *l, uint64_t now, uint64_t done);

void load_udp(struct load *l);
void load_tcp(struct load *l);

/* Servers; they end on SIGTERM and SIGINT. work_ns: how long they compute for each request. */
_Noreturn void serve_udp(int port, uint64_t work_ns);
_Noreturn void serve_tcp(int port, uint64_t work_ns);
_Noreturn void serve_sink(int port);

#endif
