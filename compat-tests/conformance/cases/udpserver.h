/* SPDX-License-Identifier: BSD-3-Clause
 * What the cases about UDP sockets that the engine is told of late have in common. */
#ifndef ZS_CONFORMANCE_UDPSERVER_H
#define ZS_CONFORMANCE_UDPSERVER_H

#include "lib.h"

/* A server in a process of its own that answers `n` datagrams with themselves; the first `silent` ones it only takes. */
struct server {
    struct addr at;
    int fd, n, silent;
    pid_t pid;
};

void server_start(struct server *s, int n, int silent);
void ask(int fd, const struct server *s, int i); /* sends it the number */

void wait_poll(int fd); /* until something is there */

struct reader {
    void (*wait)(int fd);
    int fd;
};

#endif
