/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs of this directory share: TCP sockets on IPv4, whole reads and writes, errors that end the program. */
#ifndef ZSTACK_APPS_NET_H
#define ZSTACK_APPS_NET_H

#include <stddef.h>
#include <stdint.h>

/* Ends the program with status 1, telling what failed and errno. */
_Noreturn void die(const char *what);

/* A number from min to max, or the program ends with status 2. */
long number(const char *text, const char *what, long min, long max);

/* A listening TCP socket at 0.0.0.0:port. */
int listen_at(int port);

/* A connected TCP socket with TCP_NODELAY; tries for up to 5 s while the connection is refused. */
int connect_to(const char *host, int port);

/* The same for HOST:PORT, or PORT on this host. */
int connect_at(const char *where);

/* And calls prepare with the socket, and arg, before. */
int connect_prepared_at(const char *where, void (*prepare)(int fd, const char *arg), const char *arg);

/* Reads exactly size bytes. Returns 0 when the peer closed or reset before the first one, else 1. */
int read_all(int fd, void *data, size_t size);

/* Writes exactly size bytes. */
void write_all(int fd, const void *data, size_t size);

/* Monotonic time, ns. */
uint64_t now_ns(void);

/* Ends the program with status 0 on SIGTERM and SIGINT. */
void exit_on_signals(void);

#endif
