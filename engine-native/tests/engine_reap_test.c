/* SPDX-License-Identifier: BSD-3-Clause
 * Deaths: everything of a killed process is freed, what others share stays. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool closed_by_cookie(struct fixture *f, void *arg)
{
    return engine_counter(f->e, "closed_by_cookie") >= *(uint64_t *)arg;
}

/* Everything a process may have: listeners, UDP, connections in every state, blocks, waiters. */
static int busy_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply l, u;
    uint16_t tcp = 0, udp = 0;
    uint32_t client, server;
    (void)arg;
    int error = rpc(NULL, c, ZS_CTL_LISTEN, 50, 0, tcp_listener(&tcp), &l);
    error = error ? error : rpc(NULL, c, ZS_CTL_UDP_OPEN, 0, 0, udp_socket(&udp), &u);
    error = error ? error : rpc(NULL, c, ZS_CTL_WAITER_NEW, 0, 0, -1, NULL);
    for (int i = 0; i < 10 && error == 0; i++)
        error = shm_connect(&c->view, l.a, &client, &server); /* stays in the queue */
    for (int i = 0; i < 10 && error == 0; i++) {
        error = shm_connect(&c->view, l.a, &client, &server);
        int64_t accepted = zs_accept_pop(&c->view, zs_session_at(&c->view, l.a)->listener);
        atomic_store(&zs_session_at(&c->view, (uint32_t)accepted)->owner, c->view.client);
        atomic_store(&zs_session_at(&c->view, (uint32_t)accepted)->state, ZS_S_OPEN);
        atomic_store(&zs_session_at(&c->view, client)->rx_rings.ring[0], zs_block_alloc(&c->view, 4096, client));
    }
    zs_session_alloc(&c->view, ZS_KIND_TCP);       /* never paired */
    zs_block_alloc(&c->view, 1 << 20, client);     /* claimed, not yet attached */
    shm_connect(&c->view, l.a, &client, &server);  /* popped, not yet taken over */
    zs_accept_pop(&c->view, zs_session_at(&c->view, l.a)->listener);
    zs_hint_claim(c->view.arena->session_hint.summary, c->view.arena->session_hint.leaf, ZS_MAX_SESSIONS, 0);
    zs_hint_claim(c->view.arena->block[0].hint.summary, c->view.arena->block[0].hint.leaf, ZS_CLASS_COUNT(0), 0);
    atomic_fetch_add(&c->view.arena->header.spinners, 2);
    atomic_store(&c->view.stats->spinners, 2);
    out[0] = l.a;
    out[1] = tcp;
    return error;
}

static bool nothing_in_use(struct fixture *f, void *arg)
{
    struct zs_arena *a = engine_arena(f->e);
    (void)arg;
    return sessions_in_use(a) == 0 && blocks_in_use(a) == 0 && atomic_load(&a->header.mem_used) == 0;
}

static void test_sigkill_frees_everything(void **state)
{
    struct fixture *f = *state;
    struct child child;
    child_start(f, &child, busy_body, NULL);
    assert_true(sessions_in_use(engine_arena(f->e)) > 40);
    assert_true(blocks_in_use(engine_arena(f->e)) > 10);
    child_kill(f, &child);
    until(f, nothing_in_use, NULL);
    assert_int_equal(atomic_load(&engine_arena(f->e)->header.spinners), 0);
}

/* The same while another program stays: no wholesale cleaning. */
static bool only_the_survivors_left(struct fixture *f, void *arena)
{
    struct zs_arena *a = arena;
    (void)f;
    return sessions_in_use(a) == 1 && blocks_in_use(a) == 1 && atomic_load(&a->session_hint.leaf[0]) == 1;
}

static void test_sigkill_beside_a_survivor(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(zs_session_alloc(&c.view, ZS_KIND_TCP), 0);
    zs_block_ref block = zs_block_alloc(&c.view, 4096, 0);
    child_start(f, &child, busy_body, NULL);
    child_kill(f, &child);
    until(f, only_the_survivors_left, c.view.arena); /* odd slots are judged again a second later */
    assert_int_equal(atomic_load(&c.view.arena->header.mem_used), 4096);
    zs_block_free(&c.view, block, 0);
    zs_session_free(&c.view, 0);
    detach(&c);
    settle(f);
}

static int connect_body(struct test_client *c, uint32_t *out, void *arg)
{
    uint32_t client, server;
    int error = shm_connect(&c->view, *(uint32_t *)arg, &client, &server);
    out[0] = client;
    out[1] = server;
    atomic_store(&zs_session_at(&c->view, client)->rx_cons.lock, c->view.client);
    atomic_store(&zs_session_at(&c->view, server)->rx_prod.lock, c->view.client);
    return error;
}

static void test_peer_of_a_dead_client(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    struct zs_ctl_reply l;
    uint16_t port = 0;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &l), 0);
    child_start(f, &child, connect_body, &l.a);
    child_kill(f, &child);
    /* Still in the queue, as in Linux: accept gets it, then reads the end of file. */
    struct zs_session *s = zs_session_at(&c.view, child.out[1]);
    assert_int_equal(zs_accept_pop(&c.view, zs_session_at(&c.view, l.a)->listener), child.out[1]);
    assert_int_equal(atomic_load(&s->owner), ZS_CLIENT_ENGINE);
    assert_int_equal(atomic_load(&s->rx_prod.fin), ZS_FIN);
    assert_true(atomic_load(&s->flags) & ZS_F_PEER_CLOSED);
    assert_int_equal(atomic_load(&s->rx_prod.lock), 0);
    assert_int_equal(atomic_load(&zs_session_at(&c.view, child.out[0])->rx_cons.lock), 0);
    assert_int_equal(engine_counter(f->e, "locks_broken"), 2);
    atomic_store(&s->owner, c.view.client);
    atomic_store(&s->state, ZS_S_OPEN);
    zs_session_close(&c.view, child.out[1], false);
    close(fd);
    detach(&c);
    settle(f);
}

/* A process that prepared both ends and died before it enqueued the server's. */
static int embryo_body(struct test_client *c, uint32_t *out, void *arg)
{
    (void)arg;
    uint32_t ci = (uint32_t)zs_session_alloc(&c->view, ZS_KIND_TCP), si = (uint32_t)zs_session_alloc(&c->view, ZS_KIND_TCP);
    zs_session_pair(&c->view, ci, si);
    atomic_store(&zs_session_at(&c->view, si)->owner, ZS_CLIENT_ENGINE);
    out[0] = si;
    return 0;
}

static void test_death_between_prepare_and_push(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    child_start(f, &child, embryo_body, NULL);
    assert_int_equal(sessions_in_use(c.view.arena), 2);
    child_kill(f, &child);
    settle(f);
    assert_int_equal(sessions_in_use(c.view.arena), 0);
    detach(&c);
    settle(f);
}

static int share_body(struct test_client *c, uint32_t *out, void *arg)
{
    uint32_t client = 0, server;
    int fd = *(int *)arg; /* inherited below the line that children close */
    struct zs_ctl_reply l;
    uint16_t port = 0;
    int error = rpc(NULL, c, ZS_CTL_LISTEN, 5, 0, tcp_listener(&port), &l);
    error = error ? error : shm_connect(&c->view, l.a, &client, &server);
    error = error ? error
                  : rpc_share(NULL, c, client, atomic_load(&zs_session_at(&c->view, client)->gen), cookie_of(fd));
    out[0] = client;
    return error;
}

static void test_shared_session_outlives_its_owner(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    uint64_t want = 2; /* the child's listener, then the session */
    int placeholder = socket(AF_INET, SOCK_STREAM, 0), low = 0, saved = dup(0);
    /* Descriptor 0 survives into the child, as a socket that two processes hold. */
    assert_int_equal(dup2(placeholder, low), low);
    close(placeholder);
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    child_start(f, &child, share_body, &low);
    child_kill(f, &child);
    struct zs_session *s = zs_session_at(&c.view, child.out[0]);
    settle(f);
    assert_int_equal(atomic_load(&s->owner), ZS_CLIENT_ENGINE);
    assert_int_equal(atomic_load(&s->state), ZS_S_OPEN);
    dup2(saved, low); /* the last descriptor goes */
    close(saved);
    until(f, closed_by_cookie, &want);
    assert_int_equal(atomic_load(&s->owner) == 0 || atomic_load(&s->state) == ZS_S_CLOSED, 1);
    detach(&c);
    settle(f);
}

/* The kernel's report of a socket's end may be read before the request that shares its connection. */
static void test_shared_after_its_end(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply l, claim;
    uint16_t port = 0;
    uint32_t session[2], server;
    uint64_t want = 1, cookie[2];
    int fd = tcp_listener(&port), placeholder[2];
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &l), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shm_connect(&c.view, l.a, &session[i], &server), 0);
        placeholder[i] = socket(AF_INET, SOCK_STREAM, 0);
        cookie[i] = cookie_of(placeholder[i]);
    }
    uint64_t ends = engine_counter(f->e, "destroy_events");
    close(placeholder[0]);
    for (int i = 0; i < 2000 && engine_counter(f->e, "destroy_events") == ends; i++)
        advance(f, MS);
    for (int i = 0; i < 2; i++)
        tell_share(&c, session[i], atomic_load(&zs_session_at(&c.view, session[i])->gen), cookie[i]);
    until(f, closed_by_cookie, &want);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLAIM, 0, 0, placeholder[1], &claim), 0); /* the answer to this one is the only one */
    assert_int_equal(claim.a, session[1]);
    assert_int_equal(atomic_load(&zs_session_at(&c.view, session[0])->state), ZS_S_CLOSED);
    assert_int_equal(atomic_load(&zs_session_at(&c.view, session[1])->state), ZS_S_OPEN);
    want = 2;
    close(placeholder[1]);
    until(f, closed_by_cookie, &want);
    close(fd);
    detach(&c);
    settle(f);
}

static void test_memory_goes_back(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    zs_block_ref block[40];
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(zs_session_alloc(&c.view, ZS_KIND_TCP), 0);
    for (int i = 0; i < 40; i++) {
        block[i] = zs_block_alloc(&c.view, 1 << 20, 0);
        memset(zs_block_ptr(c.view.arena, block[i]), 'x', 1 << 20);
    }
    advance(f, 3 * SECOND);
    for (int i = 1; i < 40; i++)
        zs_block_free(&c.view, block[i], 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLAIM, 0, 0, 0, NULL) != 0, 1); /* any event makes the engine look */
    advance(f, 3 * SECOND);
    assert_true(engine_counter(f->e, "memory_trimmed_bytes") >= 39u << 20);
    assert_int_equal(zs_block_ptr(c.view.arena, block[0])[12345], 'x');
    assert_int_equal(zs_block_ptr(c.view.arena, block[1])[12345], 0);
    /* The blocks are free, not merely empty. */
    for (int i = 1; i < 40; i++)
        assert_int_not_equal(zs_block_alloc(&c.view, 1 << 20, 0), 0);
    zs_block_free_all(&c.view, 0);
    zs_session_free(&c.view, 0);
    detach(&c);
    settle(f);
}

static int charge_body(struct test_client *c, uint32_t *out, void *arg)
{
    (void)out;
    atomic_fetch_add(&c->view.arena->header.mem_used, *(int64_t *)arg);
    return 0;
}

/* Died between the charge for a block and its claim, or the other way round: the sum is right again, and what a survivor holds counts. */
static void test_death_between_charge_and_claim(void **state)
{
    struct fixture *f = *state;
    const int64_t off[] = {65536, 327680, -65536};
    struct test_client c;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    _Atomic uint64_t *used = &c.view.arena->header.mem_used;
    uint32_t session = (uint32_t)zs_session_alloc(&c.view, ZS_KIND_TCP);
    assert_int_not_equal(zs_block_alloc(&c.view, 1 << 20, session), 0);
    uint64_t held = atomic_load(used);
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        struct child child;
        child_start(f, &child, charge_body, (void *)&off[i]);
        assert_int_equal(atomic_load(used), held + (uint64_t)off[i]);
        child_kill(f, &child);
        for (int look = 0; look < 3; look++)
            advance(f, SECOND);
        assert_int_equal(atomic_load(used), held);
        assert_int_equal(engine_counter(f->e, "charges_mended"), i + 1);
    }
    zs_block_free_all(&c.view, session);
    assert_int_equal(atomic_load(used), 0);
    zs_session_free(&c.view, session);
    detach(&c);
    settle(f);
}

static int announce_body(struct test_client *c, uint32_t *out, void *arg)
{
    (void)arg;
    out[0] = (uint32_t)zs_announce(&c->view, ZS_ABOUT_TO_LISTEN, 1000);
    out[1] = (uint32_t)zs_announce(&c->view, ZS_ABOUT_TO_CONNECT, 1000);
    return 0;
}

/* Died between the announcement and the end of listen(2) or connect(2): nobody waits for it, and a survivor's stands. */
static void test_death_of_an_announcer(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    int mine = zs_announce(&c.view, ZS_ABOUT_TO_LISTEN, 2000);
    assert_true(mine >= 0);
    child_start(f, &child, announce_body, NULL);
    assert_true(zs_announced(&c.view, ZS_ABOUT_TO_LISTEN, 1000) && zs_announced(&c.view, ZS_ABOUT_TO_CONNECT, 1000));
    assert_false(zs_announced(&c.view, ZS_ABOUT_TO_CONNECT, 2000) || zs_announced(&c.view, ZS_ABOUT_TO_LISTEN, 1001));
    child_kill(f, &child);
    assert_false(zs_announced(&c.view, ZS_ABOUT_TO_LISTEN, 1000) || zs_announced(&c.view, ZS_ABOUT_TO_CONNECT, 1000));
    assert_true(zs_announced(&c.view, ZS_ABOUT_TO_LISTEN, 2000));
    zs_announce_end(&c.view, mine);
    assert_false(zs_announced(&c.view, ZS_ABOUT_TO_LISTEN, 2000));
    /* The table is full: the next one does without. */
    for (uint32_t i = 0; i < ZS_MAX_ANNOUNCED; i++)
        assert_true(zs_announce(&c.view, ZS_ABOUT_TO_CONNECT, 3000) >= 0);
    assert_int_equal(zs_announce(&c.view, ZS_ABOUT_TO_LISTEN, 2000), -ENOSPC);
    zs_announce_end(&c.view, -ENOSPC);
    for (uint32_t i = 0; i < ZS_MAX_ANNOUNCED; i++)
        zs_announce_end(&c.view, (int)i);
    detach(&c);
    settle(f);
}

/* ---- A listener that was shut down ---- */

static int stop_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply r;
    uint16_t port = 0;
    (void)arg;
    int fd = tcp_listener(&port);
    int error = rpc(NULL, c, ZS_CTL_STOP, 0, 0, fd, NULL) == ENOENT ? 0 : EINVAL; /* nobody's that is known */
    error = error ? error : rpc(NULL, c, ZS_CTL_LISTEN, 5, 0, fd, &r);
    error = error ? error : rpc_share(NULL, c, r.a, r.b, cookie_of(fd));
    pid_t holder = fork();
    if (holder == 0) {
        alarm(60); /* should the test fail before it ends this process */
        for (;;)
            pause();
    }
    error = error ? error : shutdown(fd, SHUT_RDWR) == 0 ? 0 : errno;
    error = error ? error : rpc(NULL, c, ZS_CTL_STOP, 0, 0, fd, NULL);
    error = error ? error : rpc(NULL, c, ZS_CTL_STOP, 0, 0, fd, NULL); /* once more is nothing */
    if (error == 0 && rpc(NULL, c, ZS_CTL_CLAIM, 0, 0, fd, NULL) != ENOENT)
        error = EINVAL; /* whoever gets it from now on has the kernel's */
    out[0] = r.a;
    out[1] = r.b;
    out[2] = port;
    out[3] = (uint32_t)holder;
    return error;
}

/* It is in no table of the kernel's, and stays what it is until the last process closes it. */
static void test_stopped_listener(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    uint64_t want = 1;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    child_start(f, &child, stop_body, NULL);
    struct zs_addr to = loopback((uint16_t)child.out[2]);
    assert_int_equal(zs_lookup_listener(&c.view, &to, 0, 1), -ECONNREFUSED);
    child_kill(f, &child);
    advance(f, 600 * MS);
    advance(f, 3 * SECOND);
    advance(f, 3 * SECOND);
    assert_int_equal(engine_counter(f->e, "closed_by_audit"), 0);
    assert_true(engine_counter(f->e, "audits") > 0);
    assert_int_equal(atomic_load(&zs_session_at(&c.view, child.out[0])->gen), child.out[1]);
    kill((pid_t)child.out[3], SIGKILL);
    until(f, closed_by_cookie, &want);
    advance(f, 101 * MS);
    assert_int_equal(sessions_in_use(engine_arena(f->e)), 0);
    detach(&c);
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_sigkill_frees_everything),       T(test_sigkill_beside_a_survivor),
        T(test_peer_of_a_dead_client),          T(test_death_between_prepare_and_push),
        T(test_shared_session_outlives_its_owner), T(test_shared_after_its_end), T(test_memory_goes_back),
        T(test_death_between_charge_and_claim), T(test_death_of_an_announcer),
        T(test_stopped_listener),
    };
    return cmocka_run_group_tests_name("engine reap", tests, NULL, NULL);
}
