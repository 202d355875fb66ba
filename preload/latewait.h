/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleeps on the kernel's queues of UDP sockets that the engine has not been told of (latewait.c; dgbind.c has who tells it when). */
#ifndef ZSTACK_PRELOAD_LATEWAIT_H
#define ZSTACK_PRELOAD_LATEWAIT_H

#include "preload.h"

/* Nobody can tell the engine while this thread waits, or the process may not have what a wait for that takes: the call itself does. */
bool late_quiet(void);
/* This thread is about to sleep; whoever tells the engine of a socket rings `bell`, or with -1 one of the thread's own. Returns the bell
 * to sleep on, -1: there is none to have. Whether a socket is still unknown to the engine is to be looked at after this. */
int late_arm(int bell);
void late_disarm(void);
void late_ring(void); /* the engine has been told of a socket, as k->s says by now */
void late_thread_ends(struct zs_thread *t);
void late_child(void); /* a fork's: only the calling thread is there */

#endif
