/* SPDX-License-Identifier: BSD-3-Clause
 * io_uring: files go through a ring; what a ring does not do with a socket is refused so that a program does it by a call. A case
 * does what such a program does, asks the ring or tries it, and prints what came of it, not the way. */
#include "lib.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct ring {
    int fd;
    uint8_t *mem;
    size_t size;
    struct io_uring_sqe *sqes;
    struct io_uring_params p;
};

static bool ring_make(struct ring *r, unsigned entries, unsigned flags)
{
    *r = (struct ring){.p = {.flags = flags}};
    r->fd = (int)syscall(SYS_io_uring_setup, entries, &r->p);
    if (r->fd < 0)
        return false;
    size_t sq = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
    size_t cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
    r->size = sq > cq ? sq : cq;
    r->mem = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    r->sqes = mmap(NULL, r->p.sq_entries * sizeof *r->sqes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    CHECK(r->mem != MAP_FAILED && (void *)r->sqes != MAP_FAILED);
    return true;
}

/* False, with a line: the kernel has none for us. */
static bool ring_open(struct ring *r, unsigned flags)
{
    bool made = ring_make(r, 8, flags);
    trace("ring: %s", made ? "yes" : err_name(errno));
    return made;
}

static void ring_close(struct ring *r)
{
    OK(munmap(r->mem, r->size));
    OK(munmap(r->sqes, r->p.sq_entries * sizeof *r->sqes));
    OK(close(r->fd));
}

static _Atomic uint32_t *word(struct ring *r, uint32_t offset)
{
    return (_Atomic uint32_t *)(void *)(r->mem + offset);
}

/* Submits one operation and waits for it: its result, or a negative errno. */
static int op(struct ring *r, struct io_uring_sqe sqe)
{
    uint32_t tail = atomic_load(word(r, r->p.sq_off.tail)), mask = atomic_load(word(r, r->p.sq_off.ring_mask));
    r->sqes[tail & mask] = sqe;
    atomic_store(word(r, r->p.sq_off.array + 4 * (tail & mask)), tail & mask);
    atomic_store(word(r, r->p.sq_off.tail), tail + 1);
    OK(syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
    uint32_t head = atomic_load(word(r, r->p.cq_off.head));
    CHECK(head != atomic_load(word(r, r->p.cq_off.tail)));
    const struct io_uring_cqe *cqe = (void *)(r->mem + r->p.cq_off.cqes);
    int res = cqe[head & atomic_load(word(r, r->p.cq_off.ring_mask))].res;
    atomic_store(word(r, r->p.cq_off.head), head + 1);
    return res;
}

#define OP(ring, code, ...) op(ring, (struct io_uring_sqe){.opcode = IORING_OP_##code, __VA_ARGS__})

static bool can(struct ring *r, unsigned code)
{
    struct {
        struct io_uring_probe head;
        struct io_uring_probe_op ops[256];
    } probe = {0};
    OK(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_PROBE, &probe, 256));
    CHECK(code <= probe.head.last_op);
    return probe.ops[code].flags & IO_URING_OP_SUPPORTED;
}

static int file_open(struct ring *r)
{
    char path[64];
    int dir = OK(memfd_create("ring", 0));
    write_all(dir, "0123456789", 10);
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    int fd = OP(r, OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path, .open_flags = O_RDWR);
    CHECK(fd >= 0);
    OK(close(dir));
    return fd;
}

/* Everything that is usual with files, beside a connection. */
static void uring_files(void)
{
    struct ring r;
    int p[2];
    char buf[32] = "", more[32] = "";
    tcp_pair(p);
    if (ring_open(&r, 0)) {
        int fd = file_open(&r);
        trace("read %d", OP(&r, READ, .fd = fd, .addr = (uintptr_t)buf, .len = sizeof buf, .off = 2));
        trace("%s", buf);
        trace("write %d", OP(&r, WRITE, .fd = fd, .addr = (uintptr_t) "abc", .len = 3, .off = 8));
        struct iovec iov[2] = {{buf, 4}, {more, 20}};
        trace("readv %d", OP(&r, READV, .fd = fd, .addr = (uintptr_t)iov, .len = 2));
        trace("%.4s %s", buf, more);
        trace("writev %d", OP(&r, WRITEV, .fd = fd, .addr = (uintptr_t)iov, .len = 2));
        trace("fsync %d", OP(&r, FSYNC, .fd = fd));
        trace("fallocate %d", OP(&r, FALLOCATE, .fd = fd, .addr = 4096));
        struct statx st = {0};
        trace("statx %d", OP(&r, STATX, .fd = fd, .addr = (uintptr_t) "", .len = STATX_SIZE, .statx_flags = AT_EMPTY_PATH, .off = (uintptr_t)&st));
        trace("size %llu", (unsigned long long)st.stx_size);
        trace("fadvise %d", OP(&r, FADVISE, .fd = fd));
        trace("nop %d", OP(&r, NOP, .fd = -1));
        struct __kernel_timespec t = {.tv_nsec = 1000000};
        trace("timeout %s", err_name(-OP(&r, TIMEOUT, .fd = -1, .addr = (uintptr_t)&t, .len = 1)));
        trace("bad descriptor %s", err_name(-OP(&r, READ, .fd = 9999, .addr = (uintptr_t)buf, .len = 1)));
        OK(close(fd));
        ring_close(&r);
    }
    send_text(p[0], buf[0] != 0 ? buf : "0123");
    show_recv("far", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* Files and buffers that are registered; a ring that starts disabled. */
static void uring_registered(void)
{
    struct ring r;
    int p[2];
    char buf[64] = "";
    tcp_pair(p);
    if (ring_open(&r, 0)) {
        int fd = file_open(&r);
        struct iovec iov = {buf, sizeof buf};
        R(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &iov, 1));
        R(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, &fd, 1));
        trace("fixed %d", OP(&r, READ_FIXED, .fd = 0, .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)buf, .len = 5));
        trace("%s", buf);
        R(syscall(SYS_io_uring_register, r.fd, IORING_UNREGISTER_FILES, NULL, 0));
        R(syscall(SYS_io_uring_register, r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
        R(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
        R(syscall(SYS_io_uring_register, r.fd, 9999, NULL, 0));
        OK(close(fd));
        ring_close(&r);
    }
    if (ring_open(&r, IORING_SETUP_R_DISABLED)) {
        R(syscall(SYS_io_uring_enter, r.fd, 1, 0, 0, NULL, 0));
        R(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
        trace("nop %d", OP(&r, NOP, .fd = -1));
        ring_close(&r);
    }
    R(syscall(SYS_io_uring_setup, 0, &r.p));
    R(syscall(SYS_io_uring_setup, 8, NULL));
    OK(close(p[0]));
    OK(close(p[1]));
}

/* A program that asks first. */
static void uring_probe(void)
{
    struct ring r;
    int p[2];
    char buf[32] = "";
    tcp_pair(p);
    if (!ring_open(&r, 0))
        return;
    trace("read %d write %d openat %d", can(&r, IORING_OP_READ), can(&r, IORING_OP_WRITE), can(&r, IORING_OP_OPENAT));
    int n = can(&r, IORING_OP_SEND) ? OP(&r, SEND, .fd = p[0], .addr = (uintptr_t) "by a ring or not", .len = 16) : (int)send(p[0], "by a ring or not", 16, 0);
    trace("sent %d", n);
    struct pollfd in = {.fd = p[1], .events = POLLIN};
    if (can(&r, IORING_OP_POLL_ADD))
        in.revents = (short)OP(&r, POLL_ADD, .fd = p[1], .poll32_events = POLLIN);
    else
        OK(poll(&in, 1, 1000));
    trace("polled %s", revents_text(in.revents));
    n = can(&r, IORING_OP_RECV) ? OP(&r, RECV, .fd = p[1], .addr = (uintptr_t)buf, .len = sizeof buf) : (int)recv(p[1], buf, sizeof buf, 0);
    trace("received %d: %s", n, buf);
    ring_close(&r);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* A program that tries, and does by a call what fails. */
static void uring_tries(void)
{
    struct ring r;
    int p[2];
    char buf[32] = "";
    signal(SIGPIPE, SIG_IGN);
    tcp_pair(p);
    if (!ring_open(&r, 0))
        return;
    int n = OP(&r, SEND, .fd = p[0], .addr = (uintptr_t) "one", .len = 3);
    trace("send %d", n < 0 ? (int)send(p[0], "one", 3, 0) : n);
    n = OP(&r, RECV, .fd = p[1], .addr = (uintptr_t)buf, .len = sizeof buf);
    trace("recv %d %s", n < 0 ? (int)recv(p[1], buf, sizeof buf, 0) : n, buf);
    n = OP(&r, WRITE, .fd = p[0], .addr = (uintptr_t) "two", .len = 3);
    trace("write %d", n < 0 ? (int)write(p[0], "two", 3) : n);
    n = OP(&r, READ, .fd = p[1], .addr = (uintptr_t)buf, .len = sizeof buf);
    trace("read %d %s", n < 0 ? (int)read(p[1], buf, sizeof buf) : n, buf);
    int ep = OK(epoll_create1(0));
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 7};
    n = OP(&r, EPOLL_CTL, .fd = ep, .len = EPOLL_CTL_ADD, .off = (uint64_t)p[1], .addr = (uintptr_t)&ev);
    trace("added %d", n < 0 ? epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &ev) : n);
    send_text(p[0], "three");
    show_epoll("set", ep, 1000);
    n = OP(&r, SHUTDOWN, .fd = p[0], .len = SHUT_WR);
    trace("shutdown %d", n < 0 ? shutdown(p[0], SHUT_WR) : n);
    show_epoll("set", ep, 1000);
    OK(close(ep));
    ring_close(&r);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* A socket that a ring closed: its number is free for whatever comes then. */
static void uring_close(void)
{
    struct ring r;
    int p[2];
    char buf[32] = "";
    tcp_pair(p);
    if (!ring_open(&r, 0))
        return;
    int n = can(&r, IORING_OP_CLOSE) ? OP(&r, CLOSE, .fd = p[0]) : -EACCES;
    trace("close %d", n < 0 ? close(p[0]) : n);
    int fd = file_open(&r);
    trace("the file's content: %d", (int)pread(fd, buf, sizeof buf, 0));
    trace("%s", buf);
    show_poll("far", p[1], POLLIN | POLLRDHUP, 1000);
    show_recv("far", p[1]);
    OK(close(fd));
    ring_close(&r);
    OK(close(p[1]));
}

/* As libuv does it for epoll_ctl, by the number of entries: it needs no ring, and aborts when an operation of one fails. */
static void uring_libuv(void)
{
    struct ring r;
    int p[2], ep = OK(epoll_create1(0));
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 7};
    tcp_pair(p);
    if (ring_make(&r, 256, 0)) {
        CHECK(OP(&r, EPOLL_CTL, .fd = ep, .len = EPOLL_CTL_ADD, .off = (uint64_t)p[1], .addr = (uintptr_t)&ev) == 0);
        ring_close(&r);
    } else {
        OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &ev));
    }
    send_text(p[0], "x");
    show_epoll("set", ep, 1000);
    OK(close(ep));
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case uring_cases[] = {
    {"uring_files", uring_files, TCP, NULL},
    {"uring_registered", uring_registered, TCP, NULL},
    {"uring_probe", uring_probe, TCP, NULL},
    {"uring_tries", uring_tries, TCP, NULL},
    {"uring_close", uring_close, TCP, NULL},
    {"uring_libuv", uring_libuv, TCP, NULL},
    {0},
};
