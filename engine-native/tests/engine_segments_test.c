/* SPDX-License-Identifier: BSD-3-Clause
 * Segments of buffers as the engine hands them out: written by their owner alone, read by who holds something of them, and there
 * until the last of those is done. The owner is a child; this process is another program of the domain. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE ZS_BUFFERS_MIN
#define TEXT "of the owner"

/* A request whose answer brings a descriptor: reply.error. */
static int ask(struct fixture *f, struct test_client *c, uint32_t op, uint32_t a, uint32_t b, struct zs_ctl_reply *reply, int *fd)
{
    struct zs_ctl_request r = {.op = op, .a = a, .b = b};
    return rpc_full(f, c, &r, ZS_CTL_REQUEST_BASE, reply, fd);
}

static int map_request(struct fixture *f, struct test_client *c, uint32_t loan, uint32_t gen, int socket, int *fd)
{
    struct zs_ctl_reply reply;
    *fd = socket;
    return ask(f, c, ZS_CTL_BUFFERS_MAP, loan, gen, &reply, fd);
}

/* out: the segment; a root on it that nobody holds yet, and its generation; the owner's client id. */
static int owner_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply reply;
    int fd = -1, error = ask(NULL, c, ZS_CTL_BUFFERS_NEW, SIZE, 0, &reply, &fd);
    (void)arg;
    if (error != 0)
        return error;
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    error = p == MAP_FAILED ? ENOMEM : rpc(NULL, c, ZS_CTL_BUFFERS_READY, reply.a, 0, -1, NULL);
    if (error != 0)
        return error;
    strcpy(p, TEXT);
    out[0] = reply.a;
    out[1] = (uint32_t)zs_loan_new(&c->view, reply.a);
    out[2] = atomic_load(&c->view.arena->loan[out[1]].gen);
    out[3] = c->view.client;
    /* Not even its owner maps it for writing a second time. */
    return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM ? 0 : EBADF;
}

struct bed {
    struct fixture *f;
    struct test_client c;
    struct child owner;
    uint32_t segment, loan, gen;
    struct zs_loan *l;
};

static void bed_open(struct bed *b, void **state)
{
    *b = (struct bed){.f = *state};
    assert_int_equal(attach(b->f, b->f->name, &b->c, NULL), 0);
    child_start(b->f, &b->owner, owner_body, NULL);
    b->segment = b->owner.out[0];
    b->loan = b->owner.out[1];
    b->gen = b->owner.out[2];
    b->l = &b->c.view.arena->loan[b->loan];
}

static void bed_close(struct bed *b)
{
    detach(&b->c);
    settle(b->f);
}

static void give_to_me(struct bed *b)
{
    atomic_store(&b->l->holder, ZS_HOLD_CLIENT(b->c.view.client));
}

static uint64_t used(struct bed *b)
{
    return atomic_load(&b->c.view.arena->header.mem_used);
}

static bool all_freed(struct fixture *f, void *bed)
{
    struct bed *b = bed;
    (void)f;
    return used(b) == 0 && atomic_load(&b->c.view.arena->header.buffers[ZS_SEGMENT_INDEX(b->segment)]) == 0;
}

/* The dead owner's records are judged again a second after its death. */
static void until_freed(struct bed *b)
{
    for (int i = 0; i < 5; i++)
        advance(b->f, SECOND);
    until(b->f, all_freed, b);
}

static void test_who_holds_reads(void **state)
{
    struct bed b;
    int fd;
    bed_open(&b, state);
    assert_int_equal(used(&b), SIZE);
    give_to_me(&b);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), 0);
    char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    assert_string_equal(p, TEXT);
    /* For reading only, by whatever way. */
    assert_true(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    assert_true(mprotect(p, SIZE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    assert_true(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM);
    assert_true(ftruncate(fd, 0) == -1 && errno == EPERM);
    assert_true(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE) == -1 && errno == EPERM);
    assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        assert_true(mmap(NULL, SIZE, PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED && errno == EPERM);
        close(again);
    }
    assert_string_equal(p, TEXT);
    /* The owner dies: what is held stays, until it is not held any more. */
    child_kill(b.f, &b.owner);
    advance(b.f, 3 * SECOND);
    assert_int_equal(used(&b), SIZE);
    assert_string_equal(p, TEXT);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &again), 0);
    close(again);
    assert_true(zs_loan_end(&b.c.view, b.loan, b.gen, ZS_HOLD_CLIENT(b.c.view.client)));
    until_freed(&b);
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_OVER, b.segment, 0, -1, NULL), 0);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &again), EACCES);
    assert_int_equal(engine_counter(b.f->e, "segments_reclaimed"), 1);
    munmap(p, SIZE);
    close(fd);
    bed_close(&b);
}

static void test_others_are_refused(void **state)
{
    struct bed b;
    int fd;
    bed_open(&b, state);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES); /* nobody's */
    atomic_store(&b.l->holder, ZS_HOLD_CLIENT(b.c.view.client + 1));
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES);
    atomic_store(&b.l->holder, ZS_HOLD_DONE);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES);
    give_to_me(&b);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen + 1, -1, &fd), EACCES);
    assert_int_equal(map_request(b.f, &b.c, b.loan + 1, b.gen, -1, &fd), EACCES);
    assert_int_equal(map_request(b.f, &b.c, ZS_MAX_LOANS, b.gen, -1, &fd), EACCES);
    assert_int_equal(map_request(b.f, &b.c, UINT32_MAX, b.gen, -1, &fd), EACCES);
    /* A hold that names memory of somebody else than who lent, and segments that are none. */
    b.l->owner = b.c.view.client;
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES);
    b.l->owner = b.owner.out[3];
    const uint32_t wrong[] = {0, ZS_SEGMENT_RX, b.segment + (1u << 20), b.segment + (1u << 8), UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        b.l->segment = wrong[i];
        assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), ENOENT);
    }
    b.l->segment = b.segment;
    /* Nor may it be ended, or said to be ready, by another. */
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_END, b.segment, 0, -1, NULL), EPERM);
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_END, b.segment + (1u << 8), 0, -1, NULL), ESTALE);
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_READY, b.segment, 0, -1, NULL), ESTALE);
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_OVER, b.segment, 0, -1, NULL), EBUSY);
    assert_int_equal(rpc(b.f, &b.c, ZS_CTL_BUFFERS_OVER, b.segment + (1u << 20), 0, -1, NULL), 0);
    child_kill(b.f, &b.owner);
    zs_loan_end(&b.c.view, b.loan, b.gen, ZS_HOLD_CLIENT(b.c.view.client));
    until_freed(&b);
    bed_close(&b);
}

/* A session's holds: its owner's; and whose socket it is, when another process opened it. */
static void test_sessions(void **state)
{
    struct bed b;
    int fd, ends[2];
    bed_open(&b, state);
    int64_t s = zs_session_alloc(&b.c.view, ZS_KIND_TCP);
    assert_true(s >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct zs_session *session = zs_session_at(&b.c.view, (uint32_t)s);
    uint32_t gen = atomic_load(&session->gen);
    atomic_store(&b.l->holder, ZS_HOLD_SESSION((uint32_t)s, gen));
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), 0);
    close(fd);
    atomic_store(&b.l->holder, ZS_HOLD_SESSION((uint32_t)s, gen + 1));
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES);
    atomic_store(&b.l->holder, ZS_HOLD_SESSION((uint32_t)s, gen));
    assert_int_equal(rpc_share(b.f, &b.c, (uint32_t)s, gen, cookie_of(ends[0])), 0);
    atomic_store(&session->owner, b.c.view.client + 1);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, -1, &fd), EACCES);
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, ends[1], &fd), EACCES); /* another socket */
    assert_int_equal(map_request(b.f, &b.c, b.loan, b.gen, ends[0], &fd), 0);
    close(fd);
    atomic_store(&session->owner, b.c.view.client);
    child_kill(b.f, &b.owner);
    zs_loan_end(&b.c.view, b.loan, b.gen, ZS_HOLD_SESSION((uint32_t)s, gen));
    close(ends[0]);
    close(ends[1]);
    bed_close(&b);
}

/* One's own: sizes, the order of requests, and the end. */
static void test_own(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply reply, second;
    int fd = -1;
    const uint32_t sizes[] = {0, 1, SIZE - 1, SIZE + 4096, SIZE / 2, (uint32_t)ZS_BUFFERS_MAX * 2, UINT32_MAX};
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(ask(f, &c, ZS_CTL_BUFFERS_NEW, sizes[i], 0, &reply, &fd), EINVAL);
    assert_int_equal(ask(f, &c, ZS_CTL_BUFFERS_NEW, SIZE, 0, &reply, &fd), 0);
    int64_t loan = zs_loan_new(&c.view, reply.a);
    uint32_t gen = atomic_load(&c.view.arena->loan[loan].gen);
    atomic_store(&c.view.arena->loan[loan].holder, ZS_HOLD_CLIENT(c.view.client));
    int got = -1;
    assert_int_equal(map_request(f, &c, (uint32_t)loan, gen, -1, &got), ENOENT); /* not sealed yet: nobody gets it */
    assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_READY, reply.a, 0, -1, NULL), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_READY, reply.a, 0, -1, NULL), ESTALE);
    assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_END, reply.a, 0, -1, NULL), EBUSY);
    assert_true(zs_loan_end(&c.view, (uint32_t)loan, gen, ZS_HOLD_CLIENT(c.view.client)));
    zs_loan_free(&c.view, (uint32_t)loan);
    assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_END, reply.a, 0, -1, NULL), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_END, reply.a, 0, -1, NULL), ESTALE);
    close(fd);
    assert_int_equal(atomic_load(&c.view.arena->header.mem_used), 0);
    /* A name that was is not soon another's. */
    for (uint32_t i = 0; i < 20; i++) {
        fd = -1;
        assert_int_equal(ask(f, &c, ZS_CTL_BUFFERS_NEW, SIZE, 0, &second, &fd), 0);
        close(fd);
        assert_int_not_equal(ZS_SEGMENT_INDEX(second.a), ZS_SEGMENT_INDEX(reply.a));
        assert_int_equal(rpc(f, &c, ZS_CTL_BUFFERS_END, second.a, 0, -1, NULL), 0);
    }
    detach(&c);
    settle(f);
}

/* 1 MiB in all, a quarter of it for rings. */
static void test_limit(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply reply;
    int fd = -1, n = 0;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(ask(f, &c, ZS_CTL_BUFFERS_NEW, 1u << 20, 0, &reply, &fd), ENOBUFS);
    while (ask(f, &c, ZS_CTL_BUFFERS_NEW, SIZE, 0, &reply, &fd) == 0) {
        close(fd);
        fd = -1;
        n++;
    }
    assert_int_equal(n, 12);
    assert_int_not_equal(zs_block_alloc(&c.view, 4096, 5), 0);
    detach(&c); /* dies with segments that it never mapped */
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        T(test_who_holds_reads), T(test_others_are_refused), T(test_sessions), T(test_own),
        cmocka_unit_test_setup_teardown(test_limit, fixture_setup_small, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
