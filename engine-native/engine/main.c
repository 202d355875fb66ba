/* SPDX-License-Identifier: BSD-3-Clause
 * zstackd: the engine in a process of its own. */
#define _GNU_SOURCE
#include "options.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READY_FD 3

/* The only thing a signal handler can reach. */
static volatile sig_atomic_t end_requested;

static void on_end(int signal)
{
    (void)signal;
    end_requested = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One line to the launcher, which then has its answer. */
static void report(int *fd, const char *line)
{
    if (*fd < 0)
        return;
    if (write(*fd, line, strlen(line)) < 0)
        perror("zstackd: cannot report to the launcher");
    close(*fd);
    *fd = -1;
}

static int fail(int *fd, const struct engine_failure *f)
{
    char line[1024];
    snprintf(line, sizeof line, "error %s: %s - hint: %s\n", f->code, f->text, f->hint);
    fprintf(stderr, "zstackd: error[%s]: %s - hint: %s\n", f->code, f->text, f->hint);
    report(fd, line);
    return f->status;
}

/* Ending signals stay blocked but during the sleep, so that none is missed; EAL's threads inherit the block. */
static void signals_prepare(sigset_t *during_sleep)
{
    static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction end = {.sa_handler = on_end}, ignore = {.sa_handler = SIG_IGN};
    sigset_t block;
    sigemptyset(&block);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        sigaddset(&block, ends[i]);
        sigaction(ends[i], &end, NULL);
    }
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a capture file over the limit of file sizes is an error of its write */
    sigprocmask(SIG_BLOCK, &block, during_sleep);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        sigdelset(during_sleep, ends[i]);
}

int main(int argc, char **argv)
{
    struct engine_options options;
    struct engine_failure failure = {0};
    sigset_t during_sleep;
    /* Before anything is opened: descriptor 3 is the launcher's or none. */
    int ready = fcntl(READY_FD, F_SETFD, FD_CLOEXEC) == 0 ? READY_FD : -1;
    switch (options_parse(argc, argv, &options, &failure)) {
    case OPTIONS_EXIT:
        return ENGINE_EXIT_OK;
    case OPTIONS_ERROR:
        return fail(&ready, &failure);
    case OPTIONS_RUN:
        break;
    }
    signals_prepare(&during_sleep);
    struct engine *engine = engine_open(&options, now_ns(), &failure);
    if (engine == NULL)
        return fail(&ready, &failure);
    if (!engine_start_dpdk(engine, &failure)) {
        engine_close(engine);
        return fail(&ready, &failure);
    }
    /* Woken by a program that shares the CPU, the engine does not push it aside at once: a switch per packet would cost
     * more than the packet. Ignored by the kernel where the engine has a CPU of its own. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    if (!engine_pin(engine, &failure)) {
        engine_close(engine);
        return fail(&ready, &failure);
    }
    report(&ready, "ready\n");
    while (!engine_finished(engine)) {
        engine_wait(engine, now_ns(), &during_sleep);
        if (end_requested)
            engine_stop(engine);
        engine_poll(engine, now_ns());
    }
    engine_close(engine);
    return ENGINE_EXIT_OK;
}
