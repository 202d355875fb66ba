/* SPDX-License-Identifier: BSD-3-Clause
 * The same by liburing, whose system calls nobody sees who stands in front of the C library. Built where it is installed. */
#include "lib.h"

#include <liburing.h>
#include <sys/mman.h>

static int done(struct io_uring *r)
{
    struct io_uring_cqe *cqe;
    OK(io_uring_submit(r));
    CHECK(io_uring_wait_cqe(r, &cqe) == 0);
    int res = cqe->res;
    io_uring_cqe_seen(r, cqe);
    return res;
}

#define DO(r, what, ...) ({ struct io_uring_sqe *sqe_ = io_uring_get_sqe(r); io_uring_prep_##what(sqe_, __VA_ARGS__); done(r); })

/* A file, and a connection where the ring is tried first, or asked. */
static void use(struct io_uring *r, int p[2], struct io_uring_probe *probe)
{
    char buf[32] = "";
    int fd = OK(memfd_create("file", MFD_CLOEXEC));
    trace("write %d", DO(r, write, fd, "content", 7, 0));
    trace("read %d %s", DO(r, read, fd, buf, sizeof buf, 0), buf);
    bool send_by_ring = io_uring_opcode_supported(probe, IORING_OP_SEND);
    int n = send_by_ring ? DO(r, send, p[0], "asked", 5, 0) : (int)send(p[0], "asked", 5, 0);
    trace("asked: %d", n);
    memset(buf, 0, sizeof buf);
    n = DO(r, recv, p[1], buf, sizeof buf, 0);
    trace("tried: %d %s", n < 0 ? (int)recv(p[1], buf, sizeof buf, 0) : n, buf);
    trace("files %d %d %d", io_uring_opcode_supported(probe, IORING_OP_READ), io_uring_opcode_supported(probe, IORING_OP_WRITEV),
          io_uring_opcode_supported(probe, IORING_OP_STATX));
    OK(close(fd));
}

static void liburing_init(void)
{
    struct io_uring r;
    int p[2], made = io_uring_queue_init(8, &r, 0);
    tcp_pair(p);
    trace("ring: %s", err_name(-made));
    if (made == 0) {
        struct io_uring_probe *probe = io_uring_get_probe();
        CHECK(probe != NULL);
        use(&r, p, probe);
        io_uring_free_probe(probe);
        io_uring_queue_exit(&r);
    }
    OK(close(p[0]));
    OK(close(p[1]));
}

static void liburing_init_params(void)
{
    struct io_uring r;
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = 64};
    int p[2], made = io_uring_queue_init_params(8, &r, &params);
    tcp_pair(p);
    trace("ring: %s, flags %x, %u entries", err_name(-made), params.flags, params.cq_entries);
    if (made == 0) {
        struct io_uring_probe *probe = io_uring_get_probe_ring(&r);
        CHECK(probe != NULL);
        use(&r, p, probe);
        io_uring_free_probe(probe);
        io_uring_queue_exit(&r);
    }
    trace("none: %s", err_name(-io_uring_queue_init(0, &r, 0)));
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case liburing_cases[] = {
    {"liburing_init", liburing_init, TCP, NULL},
    {"liburing_init_params", liburing_init_params, TCP, NULL},
    {0},
};
