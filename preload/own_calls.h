/* SPDX-License-Identifier: BSD-3-Clause
 *
 * System calls that a Go program makes by itself (own_calls.c). */
#ifndef ZSTACK_PRELOAD_OWN_CALLS_H
#define ZSTACK_PRELOAD_OWN_CALLS_H

#include "preload.h"

#include <ucontext.h>

/* For each thread: bytes in use, then the slots of own_calls.S; all 0 in a program whose calls do not come here. */
#define OWN_SLOT_LONGS 16
#define OWN_SLOTS 3
extern __thread long own_stacks[OWN_SLOT_LONGS * (OWN_SLOTS + 1)] __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Sends the system calls of a Go program, which does not call the C library for them, to the library. False: it is no such program, or
 * cannot be changed. To be called before anything else of it runs. */
bool own_calls_take(void);

/* Gives back what this thread has for them. */
void own_calls_thread_ends(void);

/* What a handler is told that comes in the middle of such a call: that the program was at its system call, as it would be with the kernel
 * at work, so that Go finds the stack that made it (profiles, dumps). In *as, or `context` itself where there is no such call. */
void *own_call_context(void *context, ucontext_t *as);

#endif
