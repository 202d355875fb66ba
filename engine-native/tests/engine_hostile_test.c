/* SPDX-License-Identifier: BSD-3-Clause
 * Shared memory that an application scribbled over: the engine neither crashes nor hangs, and serves on. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEED 20240607u

static void scribble(void *at, size_t n, unsigned *seed)
{
    uint32_t *words = at;
    for (size_t i = 0; i < n / 4; i++) {
        uint32_t r = (uint32_t)rand_r(seed) * 2654435761u ^ (uint32_t)rand_r(seed);
        /* Small numbers name real slots, which is worse than nonsense. */
        words[i] = r & 3 ? r % 64 : r;
    }
}

static void works(struct fixture *f, struct test_client *c)
{
    struct zs_ctl_reply r;
    uint16_t port = 0;
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
    assert_int_equal(rpc(f, c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL), 0);
    close(fd);
    advance(f, 1100 * MS);
    advance(f, 1100 * MS);
}

static int connections_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply l;
    uint16_t port = 0;
    uint32_t client, server;
    unsigned seed = *(unsigned *)arg;
    int error = rpc(NULL, c, ZS_CTL_LISTEN, 50, 0, tcp_listener(&port), &l);
    for (int i = 0; i < 20 && error == 0; i++) {
        error = shm_connect(&c->view, l.a, &client, &server);
        atomic_store(&zs_session_at(&c->view, client)->rx_rings.ring[0], zs_block_alloc(&c->view, 4096, client));
        scribble(zs_session_at(&c->view, client), sizeof(struct zs_session), &seed);
        atomic_store(&zs_session_at(&c->view, client)->owner, c->view.client);
    }
    out[0] = l.a;
    return error;
}

static void test_scribbled_connections(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    for (unsigned round = 0; round < 10; round++) {
        struct child child;
        unsigned seed = SEED + round;
        child_start(f, &child, connections_body, &seed);
        child_kill(f, &child);
        works(f, &c);
    }
    detach(&c);
    settle(f);
}

/* Connections of others go on. */
static void test_bystander(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply l;
    struct child child;
    uint16_t port = 0;
    uint32_t client, server;
    unsigned seed = SEED;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &l), 0);
    assert_int_equal(shm_connect(&c.view, l.a, &client, &server), 0);
    child_start(f, &child, connections_body, &seed);
    child_kill(f, &child);
    advance(f, 1100 * MS);
    struct zs_session *s = zs_session_at(&c.view, client);
    assert_int_equal(atomic_load(&s->state), ZS_S_OPEN);
    assert_int_equal(atomic_load(&s->error), 0);
    assert_int_equal(atomic_load(&s->flags) & ZS_F_PEER_CLOSED, 0);
    assert_int_equal(zs_accept_pop(&c.view, zs_session_at(&c.view, l.a)->listener), server);
    close(fd);
    detach(&c);
    settle(f);
}

/* Whole tables, while listeners, waiters and a deferred connect exist. */
static int tables_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply l;
    uint16_t port = 0;
    unsigned seed = *(unsigned *)arg;
    struct zs_arena *a = c->view.arena;
    int error = rpc(NULL, c, ZS_CTL_LISTEN, 1, 0, tcp_listener(&port), &l);
    error = error ? error : rpc(NULL, c, ZS_CTL_WAITER_NEW, 0, 0, -1, NULL);
    uint32_t client, server;
    while (error == 0 && shm_connect(&c->view, l.a, &client, &server) == 0)
        ;
    rpc(NULL, c, ZS_CTL_CONNECT, client, atomic_load(&zs_session_at(&c->view, client)->gen), -1, NULL);
    scribble(&a->session_hint, 4096, &seed);
    scribble(a->session, 256 * sizeof a->session[0], &seed);
    scribble(a->listener, 2 * sizeof a->listener[0], &seed);
    scribble(a->waiter, sizeof a->waiter[0], &seed);
    scribble(a->tcp_ports.head, sizeof a->tcp_ports.head, &seed);
    for (uint32_t k = 0; k < ZS_NCLASS; k++) {
        scribble((void *)a->block[k].owner, 4096, &seed);
        scribble(&a->block[k].hint, 4096, &seed);
    }
    scribble((char *)&a->header + 64, sizeof a->header - 64, &seed);
    scribble((void *)c->view.stats, sizeof *c->view.stats, &seed);
    for (uint32_t i = 0; i < 256; i++) /* make the reaper look at them */
        if (i & 1)
            atomic_store(&a->session[i].owner, i & 2 ? c->view.client : ZS_CLIENT_ENGINE);
    (void)out;
    return error;
}

static void test_scribbled_tables(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    for (unsigned round = 0; round < 10; round++) {
        struct child child;
        unsigned seed = SEED + 100 + round;
        child_start(f, &child, tables_body, &seed);
        advance(f, 300 * MS); /* the deferred connect is tried again */
        child_kill(f, &child);
        advance(f, 1100 * MS);
        assert_int_equal(attach(f, f->name, &c, NULL), 0);
        works(f, &c);
        detach(&c);
        settle(f);
    }
}

static void test_memory_exhausted(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(zs_session_alloc(&c.view, ZS_KIND_TCP), 0);
    while (zs_block_alloc(&c.view, 65536, 0) != 0)
        ;
    assert_true(atomic_load(&c.view.arena->header.mem_used) <= 1 << 20);
    works(f, &c);
    zs_block_free_all(&c.view, 0);
    zs_session_free(&c.view, 0);
    detach(&c);
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scribbled_connections, fixture_setup, fixture_teardown_unclean),
        cmocka_unit_test_setup_teardown(test_bystander, fixture_setup, fixture_teardown_unclean),
        cmocka_unit_test_setup_teardown(test_scribbled_tables, fixture_setup, fixture_teardown_unclean),
        cmocka_unit_test_setup_teardown(test_memory_exhausted, fixture_setup_small, fixture_teardown),
    };
    return cmocka_run_group_tests_name("engine hostile", tests, NULL, NULL);
}
