/* SPDX-License-Identifier: BSD-3-Clause
 * See capture.h. */
#define _GNU_SOURCE
#include "capture.h"

#include "capring.h"
#include "capture_streams.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef ZSTACK_VERSION
#define ZSTACK_VERSION "0.1.0"
#endif

#define BATCH 4096u /* records at a time: the wire wants its turn, too */
#define LOOK_SOON NS_PER_MS
#define LOOK_LATE (20 * NS_PER_MS) /* shm/capring.c waits longer than that for room */
#define SAME_HOST 0u               /* interface in the file; ports are from 1 on, as the engine counts them */

struct capture {
    struct pcapng *file; /* NULL: it ended early, see `why` */
    struct streams *streams;
    pthread_mutex_t frames; /* of several workers. All else here is the engine's thread's, while the others are frozen */
    const struct admin_conn *owner; /* NULL: the engine's options */
    uint64_t pause; /* between two looks at the ring */
    uint64_t dropped_before, packets, bytes, dropped;
    uint64_t streamed; /* records of programs */
    uint32_t snaplen;
    char path[PATH_MAX];
    char why[256];
};

struct request {
    const char *path;
    uint32_t snaplen;
    uint64_t most; /* bytes; 0 no limit */
};

static const char *remedy(int err)
{
    switch (err) {
    case EISDIR:
        return "name a file in it";
    case ENOENT:
    case ENOTDIR:
        return "make the directory first";
    case ENOSPC:
    case EDQUOT:
        return "free space there, or name a file elsewhere";
    case EOVERFLOW:
        return "raise --capture-max-size, or lower --capture-snaplen";
    case EFBIG:
        return "raise the engine's limit of file sizes (ulimit -f)";
    case EINVAL:
        return "name a regular file";
    default:
        return "name a file in a directory that the engine's user may write to";
    }
}

static uint64_t real_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- Into the file ---- */

static struct streams_program program_of(struct engine *e, uint32_t session)
{
    const struct tracked *t = session < ZS_MAX_SESSIONS ? tracked_by_session(e, session) : NULL;
    const struct client *c = t == NULL ? NULL : client_get(e, t->creator);
    struct streams_program p = {0};
    if (c != NULL) {
        p.pid = (uint32_t)c->pid;
        memcpy(p.name, c->name, sizeof p.name);
    }
    return p;
}

static uint64_t dropped(const struct engine *e)
{
    return atomic_load(&e->view.arena->capture.dropped) - e->capture->dropped_before;
}

/* Who captures is told; programs and the wire go on. */
static void check(struct engine *e)
{
    struct capture *c = e->capture;
    int err = c->file == NULL ? 0 : pcapng_error(c->file);
    if (err == 0)
        return;
    c->packets = pcapng_packets(c->file);
    snprintf(c->why, sizeof c->why, "%s", err == -EOVERFLOW ? "it reached its limit of size" : strerror(-err));
    atomic_store(&e->view.arena->header.capture, 0);
    if (e->wire != NULL && e->wire->stack != NULL)
        e->wire->ops->capture(e->wire->stack, NULL, NULL);
    pcapng_close(c->file);
    c->file = NULL;
    char text[PATH_MAX + 512];
    snprintf(text, sizeof text, "capturing to %s ended after %llu packets: %s - hint: %s", c->path, (unsigned long long)c->packets,
             c->why, remedy(-err));
    admin_warn(e, text);
}

/* At most `most` records. How many there were. */
static uint32_t drain(struct engine *e, uint32_t most)
{
    struct capture *c = e->capture;
    struct zs_capture_record rec;
    uint32_t n = 0;
    int r;
    while (c->file != NULL && n < most && (r = zs_capture_take(&e->view, &rec, streams_data(c->streams))) != 0) {
        n++;
        if (r < 0) {
            COUNT(e, FAULTS_FOUND);
            continue;
        }
        c->streamed++;
        struct streams_program listener = program_of(e, rec.listener);
        streams_record(c->streams, c->file, &rec, SAME_HOST, c->snaplen, &listener);
    }
    if (c->file != NULL)
        pcapng_flush(c->file);
    check(e);
    return n;
}

void capture_due(struct engine *e)
{
    struct capture *c = e->capture;
    if (c == NULL || c->file == NULL)
        return;
    wire_freeze(e);
    uint32_t n = drain(e, BATCH);
    wire_thaw(e);
    c->pause = n > 0 ? LOOK_SOON : c->pause * 2 < LOOK_LATE ? c->pause * 2 : LOOK_LATE;
    if (c->file != NULL)
        timer_at(e, TIMER_CAPTURE, n == BATCH ? e->now : e->now + c->pause);
}

static void frame(void *engine, uint32_t port, bool out, const struct iovec *iov, uint32_t len, uint32_t present)
{
    struct engine *e = engine;
    struct capture *c = e->capture;
    if (c == NULL || c->file == NULL)
        return;
    pthread_mutex_lock(&c->frames);
    pcapng_packet(c->file, &(struct pcapng_packet){.interface = port, .time_ns = real_time(), .len = len,
                                                   .kept = present < c->snaplen ? present : c->snaplen, .iov = iov,
                                                   .direction = out ? PCAPNG_OUT : PCAPNG_IN});
    pthread_mutex_unlock(&c->frames);
}

/* ---- Begin and end ---- */

/* An empty regular file; what is in it is its user's matter alone. A negative errno value. */
static int open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600), err = 0;
    if (fd < 0)
        return errno == ENXIO ? -EINVAL : -errno; /* a FIFO that nobody reads */
    if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && ftruncate(fd, 0) != 0))
        err = -errno;
    else if (!S_ISREG(st.st_mode))
        err = -EINVAL;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

static int begin_file(struct capture *c, uint64_t most)
{
    int fd = open_file(c->path);
    if (fd < 0)
        return fd;
    c->file = pcapng_open(fd, "zstackd " ZSTACK_VERSION, most);
    if (c->file == NULL) {
        close(fd);
        return -ENOMEM;
    }
    pcapng_interface(c->file, PCAPNG_RAW, c->snaplen, "same-host", "between programs of this host, through shared memory");
    pcapng_flush(c->file);
    return pcapng_error(c->file);
}

void capture_ports(struct engine *e)
{
    struct capture *c = e->capture;
    struct wire *w = e->wire;
    if (c == NULL || c->file == NULL || w == NULL || w->stack == NULL)
        return;
    for (uint32_t i = 0; i < w->nports; i++) {
        char name[sizeof e->view.arena->header.wire_port[i].name];
        snprintf(name, sizeof name, "%s", e->view.arena->header.wire_port[i].name);
        pcapng_interface(c->file, PCAPNG_ETHERNET, c->snaplen, name, "port of the engine");
    }
    w->ops->capture(w->stack, frame, e);
    check(e);
}

static void discard(struct engine *e)
{
    struct capture *c = e->capture;
    if (c->file != NULL)
        pcapng_close(c->file);
    if (c->streams != NULL)
        streams_free(c->streams);
    pthread_mutex_destroy(&c->frames);
    free(c);
    e->capture = NULL;
}

/* 0 or a negative errno value. */
static int begin(struct engine *e, const struct request *r, const struct admin_conn *owner)
{
    struct zs_capture *ring = &e->view.arena->capture;
    struct capture *c = calloc(1, sizeof *c);
    if (c == NULL || (c->streams = streams_new()) == NULL) {
        free(c);
        return -ENOMEM;
    }
    pthread_mutex_init(&c->frames, NULL);
    e->capture = c;
    snprintf(c->path, sizeof c->path, "%s", r->path);
    c->snaplen = r->snaplen;
    c->owner = owner;
    c->pause = LOOK_SOON;
    c->dropped_before = atomic_load(&ring->dropped);
    int err = strlen(r->path) >= sizeof c->path ? -ENAMETOOLONG : begin_file(c, r->most);
    if (err != 0) {
        discard(e);
        return err;
    }
    atomic_store(&ring->head, atomic_load(&ring->tail)); /* of a capture before this */
    atomic_store(&ring->stalled, 0);
    capture_ports(e);
    atomic_store(&e->view.arena->header.capture, c->snaplen);
    timer_at(e, TIMER_CAPTURE, e->now + c->pause);
    return 0;
}

/* Takes what is in the ring, and no more than was when it began: somebody may write on. */
static void end(struct engine *e)
{
    struct capture *c = e->capture;
    atomic_store(&e->view.arena->header.capture, 0);
    if (e->wire != NULL && e->wire->stack != NULL)
        e->wire->ops->capture(e->wire->stack, NULL, NULL);
    if (c->file == NULL)
        return;
    drain(e, (uint32_t)(ZS_CAP_RING / sizeof(struct zs_capture_record)));
    c->dropped = dropped(e);
    if (c->file == NULL)
        return;
    pcapng_statistics(c->file, SAME_HOST, real_time(), c->streamed + c->dropped, c->dropped);
    pcapng_flush(c->file);
    check(e);
    if (c->file == NULL)
        return;
    c->packets = pcapng_packets(c->file);
    c->bytes = pcapng_size(c->file);
}

bool capture_open(struct engine *e, struct engine_failure *f)
{
    const struct request r = {e->opt.capture, e->opt.capture_snaplen, (uint64_t)e->opt.capture_max_mib << 20};
    int err = r.path == NULL ? 0 : begin(e, &r, NULL);
    if (err != 0)
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2140", remedy(-err), "cannot capture to %s: %s", r.path,
                    err == -EINVAL ? "it is no regular file" : strerror(-err));
    return err == 0;
}

void capture_close(struct engine *e)
{
    if (e->capture == NULL)
        return;
    wire_freeze(e);
    end(e);
    discard(e);
    wire_thaw(e);
}

void capture_forget(struct engine *e, const struct admin_conn *a)
{
    if (e->capture != NULL && e->capture->owner == a)
        capture_close(e);
}

/* ---- Administration ---- */

json_t *capture_status(struct engine *e)
{
    const struct capture *c = e->capture;
    if (c == NULL)
        return NULL;
    bool on = c->file != NULL;
    json_t *path = json_string(c->path); /* NULL: no UTF-8 */
    json_t *value = json_pack("{s:o, s:b, s:I, s:I, s:I}", "file", path != NULL ? path : json_string("?"), "active", on, "packets",
                              (json_int_t)(on ? pcapng_packets(c->file) : c->packets), "bytes",
                              (json_int_t)(on ? pcapng_size(c->file) : c->bytes), "dropped",
                              (json_int_t)(on ? dropped(e) : c->dropped));
    if (c->why[0] != 0)
        json_object_set_new(value, "ended", json_string(c->why));
    return value;
}

static bool number(json_t *request, const char *key, uint64_t missing, uint64_t min, uint64_t max, uint64_t *to)
{
    json_t *v = json_object_get(request, key);
    *to = v == NULL ? missing : json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : UINT64_MAX;
    return v == NULL || (*to >= min && *to <= max);
}

static json_t *stop(struct engine *e, const struct admin_conn *a)
{
    if (e->capture == NULL || e->capture->owner != a)
        return admin_error("ZS2006", "who began it ends it", "this connection captures nothing");
    end(e);
    json_t *value = capture_status(e);
    discard(e);
    return json_pack("{s:b, s:o}", "ok", 1, "result", value);
}

json_t *capture_command(struct engine *e, struct admin_conn *a, json_t *request)
{
    const char *path = json_string_value(json_object_get(request, "file"));
    uint64_t snaplen, most;
    if (json_is_true(json_object_get(request, "stop")))
        return stop(e, a);
    if (path == NULL || path[0] != '/' ||
        !number(request, "snaplen", CAPTURE_SNAPLEN_MAX, CAPTURE_SNAPLEN_MIN, CAPTURE_SNAPLEN_MAX, &snaplen) ||
        !number(request, "max_mib", 0, 0, CAPTURE_SIZE_MAX_MIB, &most))
        return admin_error("ZS2005", "file is an absolute path, snaplen 64 to 262144 bytes, max_mib MiB, 0 without limit",
                           "capture needs a file");
    if (e->capture != NULL)
        return admin_error("ZS2006", "use another engine: --engine NAME; or wait for the end of that capture",
                           "the engine captures already, to %s", e->capture->path);
    const struct request r = {path, (uint32_t)snaplen, most << 20};
    int err = begin(e, &r, a);
    if (err != 0)
        return admin_error("ZS2140", remedy(-err), "cannot capture to %s: %s", path,
                           err == -EINVAL ? "it is no regular file" : strerror(-err));
    return json_pack("{s:b, s:{}}", "ok", 1, "result");
}
