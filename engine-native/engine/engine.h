/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine as a library. It is driven by calls: engine_poll() handles what is ready and what is due at `now`
 * (CLOCK_MONOTONIC nanoseconds, an argument so that tests choose it), engine_wait() sleeps until there is something.
 * zstackd is a loop around these two. */
#ifndef ZSTACK_ENGINE_H
#define ZSTACK_ENGINE_H

#include <signal.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "log.h"

#define ENGINE_NAME_MAX 31u
#define ENGINE_LINGER_MIN_S 3u /* when nobody came yet: the launcher that started us needs time to connect */

/* Exit statuses of zstackd, docs/INTERFACES.md. */
enum engine_exit { ENGINE_EXIT_OK, ENGINE_EXIT_OTHER, ENGINE_EXIT_USAGE, ENGINE_EXIT_NAME_TAKEN, ENGINE_EXIT_DPDK };

#define ENGINE_SYSCTLS_MAX 64u

/* As Linux' tcp_ecn 2, 1, 0: who asks us gets it; and we ask; neither. */
enum engine_ecn { ENGINE_ECN_PASSIVE, ENGINE_ECN_ON, ENGINE_ECN_OFF };

struct engine_options {
    const char *name;
    uint32_t linger_s; /* 0: stays until told to stop */
    uint32_t memory_mib;
    bool pinned; /* to `cores` */
    cpu_set_t cores;
    enum log_level log_level;
    const char *log_file;
    bool foreground;
    bool no_dpdk;
    int eal_argc; /* arguments after `--`; 0: the engine's own choice */
    char **eal_argv;
    const char *ports[8]; /* texts of --port */
    uint32_t nports;
    uint32_t poll_us; /* polling of the ports goes on for so long after the last work */
    uint32_t workers; /* threads that serve connections over the wire; 0: one, the engine's */
    enum engine_ecn ecn;
    const char *sysctls[ENGINE_SYSCTLS_MAX]; /* NAME=VALUE, of libfstack */
    uint32_t nsysctls;
    const char *capture;      /* file that all traffic is captured to; NULL none */
    uint32_t capture_snaplen; /* bytes of each packet */
    uint32_t capture_max_mib; /* of the file; 0 no limit */
    const char *stack; /* name of the TCP/IP stack behind the ports; NULL: the first of this program */
};

struct engine_failure {
    enum engine_exit status;
    char code[8]; /* ZSnnnn */
    char text[512];
    char hint[256];
};

struct engine;

/* Binds the names (which elects the engine), creates the arena. NULL and *failure when it cannot. */
struct engine *engine_open(const struct engine_options *options, uint64_t now, struct engine_failure *failure);
/* Initialises DPDK's EAL in the calling thread, unless the options say no, and opens the ports. False and *failure when EAL
 * or a port refuses. */
bool engine_start_dpdk(struct engine *engine, struct engine_failure *failure);
/* Keeps the calling thread to the CPUs of the options, if they name any, and starts the other workers' threads, which have the calling
 * one's scheduling. False and *failure when none of the CPUs may be used. */
bool engine_pin(struct engine *engine, struct engine_failure *failure);
/* Sleeps until something is ready or due; signals outside `mask` end the sleep. */
void engine_wait(struct engine *engine, uint64_t now, const sigset_t *mask);
void engine_poll(struct engine *engine, uint64_t now);
/* When the next timer is due; UINT64_MAX: none. */
uint64_t engine_deadline(const struct engine *engine);
void engine_stop(struct engine *engine);
bool engine_finished(const struct engine *engine);
void engine_close(struct engine *engine);

struct zs_arena *engine_arena(struct engine *engine);
uint64_t engine_counter(const struct engine *engine, const char *name);

#endif
