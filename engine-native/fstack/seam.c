/* SPDX-License-Identifier: BSD-3-Clause
 * What libfstack gets in place of EAL, of DPDK's timers and of the C library's exit and output. */
#define _GNU_SOURCE
#include "seam.h"

#include <rte_eal.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

/* The one piece of state outside of an object: libfstack is one per process and tells its callers nothing of whose it is. */
static struct {
    struct fstack *fs;
    bool starting;
    jmp_buf gave_up;
    char line[512]; /* what is printed, until the line is complete */
    size_t len;
    char last[512]; /* the last complete line */
    bool holding;
    void **held; /* freed meanwhile */
    size_t nheld, held_room;
} seam;

struct fstack *fs_seam_stack(void)
{
    return seam.fs;
}

/* ---- Output ---- */

static void line_done(void)
{
    seam.line[seam.len] = 0;
    if (seam.len > 0) {
        memcpy(seam.last, seam.line, seam.len + 1);
        if (seam.fs != NULL)
            seam.fs->events->log(seam.fs->engine, false, seam.line);
    }
    seam.len = 0;
}

static void put(const char *text)
{
    for (; *text != 0; text++) {
        if (*text != '\n' && *text != '\r')
            seam.line[seam.len++] = *text;
        if (*text == '\n' || seam.len == sizeof seam.line - 1)
            line_done();
    }
}

static int vprint(const char *format, va_list args)
{
    char text[1024];
    int n = vsnprintf(text, sizeof text, format, args);
    put(text);
    return n;
}

int zs_fstack_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vprint(format, args);
    va_end(args);
    return n;
}

int zs_fstack_puts(const char *line)
{
    put(line);
    put("\n");
    return 0;
}

int zs_fstack_putchar(int c)
{
    put((const char[]){(char)c, 0});
    return c;
}

int zs_fstack_vlog(uint32_t level, uint32_t type, const char *format, va_list args)
{
    (void)level;
    (void)type;
    return vprint(format, args);
}

/* Levels and stream of DPDK's log are the engine's matter. */
void zs_fstack_log_set_global_level(uint32_t level)
{
    (void)level;
}

int zs_fstack_log_set_level(uint32_t type, uint32_t level)
{
    (void)type;
    (void)level;
    return 0;
}

int zs_fstack_openlog_stream(FILE *f)
{
    (void)f;
    return 0;
}

/* ---- Start and end ---- */

/* While it starts, giving up is a failure to report; later there is nothing to go back to. */
void zs_fstack_exit(int status)
{
    line_done();
    if (seam.starting)
        longjmp(seam.gave_up, 1);
    fprintf(stderr, "zstackd: libfstack ended the process: %s\n", seam.last);
    exit(status == 0 ? ENGINE_EXIT_OTHER : status);
}

void zs_fstack_rte_exit(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprint(format, args);
    va_end(args);
    zs_fstack_exit(status);
}

bool fs_seam_start(struct fstack *fs, int conf_fd, char *why, size_t size)
{
    char conf[64];
    snprintf(conf, sizeof conf, "--conf=/proc/self/fd/%d", conf_fd);
    char *const argv[] = {"zstackd", conf, "--proc-type=primary", "--proc-id=0", NULL};
    seam.fs = fs;
    seam.starting = true;
    seam.last[0] = 0;
    bool started = setjmp(seam.gave_up) == 0 && ff_init(4, argv) == 0;
    seam.starting = false;
    if (!started) {
        snprintf(why, size, "%s", seam.last[0] != 0 ? seam.last : "no reason was given");
        seam.fs = NULL;
    }
    return started;
}

void fs_seam_end(void)
{
    line_done();
    free(seam.held);
    seam.held = NULL;
    seam.held_room = 0;
    seam.fs = NULL;
}

int zs_fstack_eal_init(int argc, char **argv)
{
    (void)argv;
    return argc; /* the engine's, with the engine's arguments */
}

int zs_fstack_eal_cleanup(void)
{
    return 0; /* called at the end of each ff_run() */
}

/* ---- One turn of the loop ---- */

int zs_fstack_launch(lcore_function_t *f, void *arg, enum rte_rmt_call_main_t call_main)
{
    (void)call_main;
    return f(arg);
}

void zs_fstack_wait(void)
{
}

/* For what ff_run() keeps during a turn: the C library's allocator is faster than a heap with locks. */
void *zs_fstack_malloc(const char *type, size_t size, unsigned align)
{
    (void)type;
    return align == 0 ? calloc(1, size) : aligned_alloc(align, RTE_ALIGN_CEIL(size, (size_t)align));
}

void zs_fstack_free(void *p)
{
    free(p);
}

/* FreeBSD gives memory back when nobody can hold it any more (epoch(9)), libfstack at once. Its timers walk lists of which they
 * remove members (the groups that were left, in MLD's), and would go on from memory that is somebody else's. */
void fs_seam_hold(void)
{
    seam.holding = true;
}

void fs_seam_release(void)
{
    seam.holding = false;
    for (size_t i = 0; i < seam.nheld; i++)
        free(seam.held[i]);
    seam.nheld = 0;
}

void zs_fstack_host_free(void *p)
{
    if (seam.holding && seam.nheld == seam.held_room) {
        size_t room = seam.held_room == 0 ? 64 : 2 * seam.held_room;
        void **more = realloc(seam.held, room * sizeof *more);
        if (more != NULL) {
            seam.held = more;
            seam.held_room = room;
        }
    }
    if (seam.holding && seam.nheld < seam.held_room)
        seam.held[seam.nheld++] = p;
    else
        free(p);
}

/* ---- Timer ---- */

int zs_fstack_timer_subsystem_init(void)
{
    return 0;
}

/* libfstack has one timer, FreeBSD's hardclock. It is never armed: clock.c calls its function. */
int zs_fstack_timer_reset(struct rte_timer *tim, uint64_t ticks, enum rte_timer_type type, unsigned lcore, rte_timer_cb_t f,
                          void *arg)
{
    (void)tim;
    (void)ticks;
    (void)type;
    (void)lcore;
    seam.fs->tick = f;
    seam.fs->tick_arg = arg;
    return 0;
}

int zs_fstack_timer_manage(void)
{
    return 0;
}
