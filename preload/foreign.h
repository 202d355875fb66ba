/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Programs that the library cannot enter, and what they inherit (foreign.c, relay.c). */
#ifndef ZSTACK_PRELOAD_FOREIGN_H
#define ZSTACK_PRELOAD_FOREIGN_H

#include "preload.h"

struct foreign_program {
    int dir;          /* AT_FDCWD, or the descriptor that `file` is relative to; with file "" or NULL the program itself */
    const char *file;
    bool searched;    /* in PATH, if it has no slash */
};

/* The process is about to become the program: if that is one that the library cannot enter, accelerated descriptors that it inherits become
 * the kernel's. What they are for this process, should exec fail, they are from then on, too. listen_fds: how many descriptors from 3 on are
 * named to it (sd_listen_fds(3)); NULL: none. */
void foreign_before_exec(const struct foreign_program *p, const char *listen_fds);

/* The program is about to be spawned, and may inherit accelerated descriptors, all of which may be `moved` before. True: it is one that the
 * library cannot enter, so that one which it can has to become it; path, PATH_MAX bytes, is where it is. */
bool foreign_spawned(const struct foreign_program *p, bool moved, char *path);

/* Starts a process that copies between the connection, a descriptor of which is fd, and a connection of the kernel's. Returns the other end
 * of the latter, or a negative errno. */
int relay_start(struct zsock *k, int fd);

/* A child of a clone, perhaps a vfork child's, goes on as a process of its own, in which fd is k. */
void relay_child_begins(struct zsock *k, int fd);

/* Connections that wait in a listener's queue in shared memory come to that of the kernel, each by a relay. */
void relay_queued(struct zsock *k, int fd);

#endif
