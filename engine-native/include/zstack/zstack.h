/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Zero-copy sockets: send memory without copying it, and receive it where it is. See zstack(7), zs_send(3), zs_recv(3),
 * zs_buffer(3) and zs_queue(3).
 *
 * A program works with descriptors as always and asks for memory to be lent: a buffer that it sends is read by the receiver, or by
 * the engine for the wire, in place; a segment that it receives is the sender's buffer, or the packet as the port wrote it. Under
 * zstack-run and where a connection is accelerated nothing is copied; everywhere else, on kernel sockets too, the same calls work
 * with copies, and say so. They mix freely with read, write, send, recv, poll and epoll on the same descriptor.
 *
 * Functions return negative errno values and leave errno alone. They may be called from any thread, not from signal handlers. Never
 * raised: SIGPIPE. After fork the child has none of its parent's buffers, segments and queues (EPERM), and reads their memory only.
 * What is lent is written by its owner alone: a write to a received segment is SIGSEGV.
 */
#ifndef ZSTACK_ZSTACK_H
#define ZSTACK_ZSTACK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZSTACK_API_VERSION 1

#if defined(__GNUC__)
#define ZSTACK_EXPORT __attribute__((visibility("default")))
#else
#define ZSTACK_EXPORT
#endif

/* ---- Why something was copied ---- */

#define ZS_COPY_REASONS(X)                                                                              \
    X(NONE, "none", "nothing was copied")                                                               \
    X(SMALL, "small", "a piece shorter than ZS_LEND_MIN is cheaper to copy")                            \
    X(MEMORY, "memory", "memory that is neither a buffer nor a segment cannot be lent")                 \
    X(KERNEL, "kernel", "the kernel serves the socket")                                                 \
    X(ENGINE, "engine", "the memory belongs to no engine, or to another one than the socket")           \
    X(QUOTA, "quota", "the quota of lent memory is used up")                                            \
    X(NO_REFERENCE, "no-reference", "no room for another reference, or the receiver may not map it")      \
    X(NOT_LENT, "not-lent", "the sender copied the data, or the stack had to")
#define X(id, name, text) ZS_COPY_##id,
enum zs_copy_reason { ZS_COPY_REASONS(X) ZS_COPY_COUNT };
#undef X

/* The name of a reason, as "small"; "?" for a number that is none. */
ZSTACK_EXPORT const char *zs_copy_reason_name(int reason);

/* What an operation did, in bytes. `reason`: enum zs_copy_reason, the first one when there are several. */
struct zs_report {
    size_t lent;
    size_t copied;
    int reason;
    int reserved;
};

#define ZS_LEND_MIN 1024u /* bytes; pieces below are copied */

/* ---- Buffers ---- */

#define ZS_BUFFER_MAX ((size_t)4 << 20)
#define ZS_BUFFER_ALIGN 4096u
#define ZS_SHARED 1u /* flag: sent several times at once; its contents do not change any more */

/* Memory that can be lent. `id` is its name; a copy of the struct is as good as the original. */
struct zs_buffer {
    void *data;
    size_t size; /* as asked for */
    uint64_t id;
};

/* A buffer of `size` bytes, 1 to ZS_BUFFER_MAX, aligned to ZS_BUFFER_ALIGN, contents undefined. flags: 0 or ZS_SHARED.
 * 0; -EINVAL; -ENOMEM; -ENOBUFS: the engine's memory limit is reached. Without an engine it is memory of the process. */
ZSTACK_EXPORT int zs_buffer_alloc(struct zs_buffer *buffer, size_t size, unsigned flags);
/* Gives it back. 0; -EBUSY: still lent; -ESTALE: freed before; -EINVAL: no buffer; -EPERM: the parent's. */
ZSTACK_EXPORT int zs_buffer_free(const struct zs_buffer *buffer);
/* 1: lent to somebody, its contents must not be changed; 0: not; -ESTALE, -EINVAL, -EPERM. */
ZSTACK_EXPORT int zs_buffer_busy(const struct zs_buffer *buffer);

/* ---- Completions ---- */

struct zs_queue;

enum zs_event_type {
    ZS_EVENT_SENT = 1, /* the memory of a send is the program's again */
    ZS_EVENT_HIGH,     /* received segments take 3/4 of their quota: over it data is copied */
    ZS_EVENT_LOW,      /* half of it again */
};
struct zs_event {
    int type;        /* enum zs_event_type */
    int reason;      /* SENT: enum zs_copy_reason */
    uint64_t cookie; /* SENT: as given to zs_send */
    size_t lent, copied; /* SENT: bytes; HIGH, LOW: bytes held, and the quota */
};

/* A queue, and its eventfd, which is readable after zs_queue_arm() when there is something. *queue. 0; -ENOMEM; -EMFILE; -ENOBUFS. */
ZSTACK_EXPORT int zs_queue_open(struct zs_queue **queue);
/* Sends under way go on without a report. */
ZSTACK_EXPORT void zs_queue_close(struct zs_queue *queue);
ZSTACK_EXPORT int zs_queue_fd(const struct zs_queue *queue);
/* Takes up to `max` events, without a system call unless the queue was armed. How many; -EPERM. */
ZSTACK_EXPORT int zs_queue_poll(struct zs_queue *queue, struct zs_event *events, unsigned max);
/* Before a sleep on the eventfd. 0: it will be readable at the next event; 1: there is one already. zs_queue_poll disarms. -EPERM. */
ZSTACK_EXPORT int zs_queue_arm(struct zs_queue *queue);
/* poll, arm and sleep in one. timeout in milliseconds, -1 for ever. How many events, 0 after the timeout; -EINTR; -EPERM. */
ZSTACK_EXPORT int zs_queue_wait(struct zs_queue *queue, struct zs_event *events, unsigned max, int timeout_ms);

/* ---- Send ---- */

/* A piece to send: memory of the program (id 0, copied), or a range of a buffer or segment, named by its id. */
struct zs_iov {
    const void *base;
    size_t len;
    uint64_t id;
};
#define ZS_IOV_MAX 1024u

/* Sends count pieces on fd as sendmsg(2) with `flags` (MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL). A buffer must not be written to before
 * its send is complete. A segment may be released at once.
 * queue: when the memory is free again an event with `cookie` comes there; NULL: ask zs_buffer_busy(). report may be NULL.
 * Bytes taken, on a non-blocking socket possibly fewer than given; -EAGAIN; -EINVAL: a piece is not within the buffer or segment it
 * names, or nothing has that id; -ESTALE: that is freed or released; -EBUSY: the buffer is lent already and not ZS_SHARED; -EPERM; others
 * as sendmsg(2). With -EINVAL, -ESTALE, -EBUSY and -EPERM nothing was sent. */
ZSTACK_EXPORT ssize_t zs_send(int fd, const struct zs_iov *iov, unsigned count, int flags, struct zs_queue *queue, uint64_t cookie,
                              struct zs_report *report);

/* ---- Receive ---- */

/* Received bytes, to be read only. They stay until released, also after the socket was closed and the sender is gone. */
struct zs_segment {
    const void *data;
    size_t len;
    uint64_t id;
    int copied; /* enum zs_copy_reason; 0: lent */
    int reserved;
};

/* Up to max segments of what has come, waiting for the first as recv(2) does. flags: 0 or MSG_DONTWAIT. report may be NULL.
 * How many; 0: end of the stream; -EAGAIN; -EINVAL; -ENOMEM; -ENOBUFS: no descriptor is free; others as recv(2). A datagram is one segment. */
ZSTACK_EXPORT int zs_recv(int fd, struct zs_segment *segments, unsigned max, int flags, struct zs_report *report);
/* Gives one back, in any order, from any thread. 0; -ESTALE: released before; -EINVAL; -EPERM. */
ZSTACK_EXPORT int zs_segment_release(const struct zs_segment *segment);
/* As zs_segment_release, for a finalizer: counted as forgotten. */
ZSTACK_EXPORT int zs_segment_forgotten(const struct zs_segment *segment);

/* ---- Quotas and information ---- */

/* Bytes that received segments may hold, and that may be lent out; 0 leaves one as it is (default: a quarter of the engine's memory
 * each). Over a quota data is copied. queue: where ZS_EVENT_HIGH and LOW go, or NULL. 0; -EPERM. */
ZSTACK_EXPORT int zs_quota_set(size_t held, size_t lent, struct zs_queue *queue);

struct zs_usage {
    size_t held, held_quota; /* bytes of received segments that were not copied */
    size_t lent, lent_quota; /* bytes lent out */
    uint64_t segments;       /* not released yet */
    uint64_t forgotten;      /* released by zs_segment_forgotten */
};
ZSTACK_EXPORT void zs_usage(struct zs_usage *usage);

enum zs_path { ZS_PATH_KERNEL, ZS_PATH_LOCAL, ZS_PATH_WIRE };
struct zs_socket_info {
    int path;            /* enum zs_path: served by the kernel, shared memory, the engine's stack */
    pid_t peer;          /* LOCAL: process at the other end, 0 not known */
    const char *reason;  /* as `zstack-run why` names it, "" none */
};
/* 0; -EBADF. */
ZSTACK_EXPORT int zs_socket_info(int fd, struct zs_socket_info *info);

#ifdef __cplusplus
}
#endif
#endif
