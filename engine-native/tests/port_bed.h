/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports in processes and network namespaces of their own. Each test runs in a child, for EAL starts once per process; a
 * failed check ends that child, and what it made goes with its namespaces. */
#ifndef PORT_BED_H
#define PORT_BED_H

#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "port.h"
#include "rxpool.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            bed_failed(__FILE__, __LINE__, #condition); \
    } while (0)

#define BED_BUFFERS 8191u /* of bed_pool() */
#define BED_TYPE 0x88b5 /* of the frames of the tests: IEEE 802, local experiments */

void bed_failed(const char *file, int line, const char *what) __attribute__((noreturn));
/* Runs `body` in a child; true when it came to its end. */
bool bed_run(void (*body)(void *arg), void *arg);
/* A network namespace without anything but a loopback, and without IPv6's chatter. */
void bed_own_network(void);
/* The command must succeed. */
void bed_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* zsa and zsb, both up. */
void bed_veth_pair(void);
/* A process that holds a second network namespace, and a way into it and back. */
pid_t bed_other_network(void);
void bed_enter(pid_t holder);
/* EAL with these devices; ends with the process. */
void bed_eal(const char *const *vdevs, unsigned n);
struct rte_mempool *bed_pool(void);
struct port *bed_open(const char *spec, struct rte_mempool *pool);
struct port *bed_open_for(const char *spec, const struct port_threads *threads, struct rte_mempool *pool);
/* Opening fails with `text` in the text. */
void bed_refused(const char *spec, struct rte_mempool *pool, const char *text);

/* The kernel's end of a link. */
int bed_raw(const char *iface);
void bed_raw_send(int fd, const void *frame, size_t len);
/* The next test frame that this end receives; fails after five seconds. */
size_t bed_raw_recv(int fd, void *frame, size_t size);

/* A frame of the tests: its bytes follow from `seed`. */
void bed_fill(uint8_t *frame, size_t len, uint8_t seed);
bool bed_is(const struct rte_mbuf *m, size_t len, uint8_t seed);
/* Waits for the next test frame the way an engine does. NULL after five seconds. */
struct rte_mbuf *bed_next(struct port *p);
/* Sends bytes in as many segments, the last one an external buffer where `external`. */
void bed_send(struct port *p, struct rte_mempool *pool, const uint8_t *frame, size_t len, unsigned segments, bool external);
/* Asleep with nothing there. */
void bed_settle(struct port *p);
/* Sleeps and wakes as an engine does until the link is `up` and has come up so often; fails after five seconds. */
void bed_link(struct port *p, bool up, uint32_t ups);

/* Descriptors that are open, as a set. */
struct bed_fds {
    bool open[1024];
};
void bed_fds(struct bed_fds *fds);
/* None is open that was not in `before`. */
bool bed_no_new_fds(const struct bed_fds *before);

#endif
