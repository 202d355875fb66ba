/* SPDX-License-Identifier: BSD-3-Clause
 * What the cases of the zero-copy calls share. Each runs on the kernel, where everything must be copied and work all the same, and
 * under Z-stack, where `accel` is true and what can be lent must be. */
#ifndef ZSTACK_ZEROCOPY_CASE_H
#define ZSTACK_ZEROCOPY_CASE_H

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstack/zstack.h>

extern bool accel;

#define CHECK(what)                                                                  \
    do {                                                                             \
        if (!(what)) {                                                               \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);       \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)
#define EQUAL(a, b)                                                                                                    \
    do {                                                                                                               \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                            \
        if (a_ != b_) {                                                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #a, a_, #b, b_);                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

int listener(struct sockaddr_in *a); /* on loopback; *a: where */
/* A connected pair over loopback: [0] connected, [1] accepted. */
void pair(int fd[2]);
int any_pair(int fd[2]); /* served by whoever is there; the path, ZS_PATH_* */
/* A child that receives one segment from fd[1], which is its alone, writes a byte to `told` and holds it until it is killed. */
pid_t holder(int fd[2], int told);
void pair_close(int fd[2]);
uint8_t byte_at(uint64_t pos);
void fill(void *p, uint64_t pos, size_t n);
void check_bytes(const void *p, uint64_t pos, size_t n);
struct zs_buffer buffer(size_t size, unsigned flags);
/* Sends all of a buffer; the report must say that it was lent, where that is possible. */
void send_buffer(int fd, const struct zs_buffer *b, size_t n, struct zs_queue *q, uint64_t cookie);
void event(struct zs_queue *q, uint64_t cookie, size_t bytes); /* the next one */
void nobody_waits(const struct zs_buffer *b);                  /* waits until it is not lent, frees it */
uint64_t rnd(uint64_t *state);

struct one_case {
    const char *name;
    void (*run)(void);
};
extern const struct one_case calls_cases[], life_cases[], apart_cases[];
extern const struct one_case orphan_cases[]; /* not listed: they need the test's help */

#endif
