/* SPDX-License-Identifier: BSD-3-Clause
 * Attaching: who may, what is answered to malformed messages, what an ill-behaved client can do. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_hello_maps_the_arena(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    struct zs_arena_header *h = &c.view.arena->header;
    assert_int_equal(h->magic, ZS_SHM_MAGIC);
    assert_int_equal(h->layout_version, ZS_LAYOUT_VERSION);
    assert_int_equal(h->layout_size, sizeof(struct zs_arena));
    assert_int_equal(h->engine_pid, getpid());
    assert_int_equal(h->mem_limit, 64 << 20);
    assert_true(h->eph_low > 0 && h->eph_low <= h->eph_high);
    assert_true(c.view.client != 0 && c.view.client != ZS_CLIENT_ENGINE);
    struct zs_client *mine = c.view.stats;
    assert_int_equal(atomic_load(&mine->id), c.view.client);
    assert_int_equal(atomic_load(&mine->pid), getpid());
    assert_string_equal(mine->name, "tester");
    assert_string_equal(mine->run, "abc123");
    detach(&c);
    settle(f);
    assert_int_equal(atomic_load(&engine_arena(f->e)->client[ZS_CLIENT_SLOT(c.view.client)].id), 0);
}

static void test_arena_cannot_be_resized(void **state)
{
    struct fixture *f = *state;
    struct test_client c = {.fd = control_connect(f->name)};
    struct zs_ctl_request r = {.op = ZS_CTL_HELLO};
    struct zs_ctl_reply reply;
    int fd = -1;
    r.u.hello.version = ZS_CTL_VERSION;
    r.u.hello.layout = ZS_LAYOUT_VERSION;
    r.u.hello.layout_size = sizeof(struct zs_arena);
    assert_int_equal(rpc_full(f, &c, &r, ZS_CTL_REQUEST_BASE + sizeof r.u.hello, &reply, &fd), 0);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, (off_t)sizeof(struct zs_arena) + 4096), -1);
    close(fd);
    close(c.bell);
    close(c.fd);
    settle(f);
}

static void test_version_mismatch(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++) {
        struct test_client c = {.fd = control_connect(f->name)};
        struct zs_ctl_request r = {.op = ZS_CTL_HELLO};
        struct zs_ctl_reply reply;
        int fd = -1;
        r.u.hello.version = ZS_CTL_VERSION + (i == 0);
        r.u.hello.layout = ZS_LAYOUT_VERSION + (i == 1);
        r.u.hello.layout_size = sizeof(struct zs_arena) - (i == 2 ? 64 : 0);
        size_t len = ZS_CTL_REQUEST_BASE + sizeof r.u.hello - (i == 3);
        assert_int_equal(rpc_full(f, &c, &r, len, &reply, &fd), EPROTO);
        assert_int_equal(fd, -1);
        close(c.fd);
    }
}

static void test_malformed_messages(void **state)
{
    struct fixture *f = *state;
    struct test_client c = {.fd = control_connect(f->name)};
    struct zs_ctl_request r = {.op = ZS_CTL_WAITER_NEW};
    struct zs_ctl_reply reply;
    int fd = -1;
    assert_int_equal(rpc_full(f, &c, &r, ZS_CTL_REQUEST_BASE, &reply, &fd), ENOTCONN); /* before HELLO */
    close(c.fd);
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(rpc_full(f, &c, &r, 8, &reply, &fd), EPROTO);
    char large[sizeof(struct zs_ctl_request) + 64] = {0};
    memcpy(large, &r, sizeof r);
    assert_int_equal(rpc_full(f, &c, (struct zs_ctl_request *)large, sizeof large, &reply, &fd), EPROTO);
    assert_int_equal(rpc(f, &c, 0, 0, 0, -1, NULL), EPROTO);
    assert_int_equal(rpc(f, &c, 9999, 0, 0, -1, NULL), EPROTO);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, -1, NULL), EBADF);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, STDERR_FILENO, NULL), ENOTSOCK);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, UINT32_MAX, 7, -1, NULL), ESTALE);
    assert_int_equal(rpc(f, &c, ZS_CTL_DOORBELL, UINT32_MAX, 7, -1, NULL), ESTALE);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, UINT32_MAX, 7, -1, NULL), ESTALE);
    r = (struct zs_ctl_request){.op = ZS_CTL_SHARE, .count = ZS_CTL_SHARE_MAX + 1};
    assert_int_equal(rpc_full(f, &c, &r, sizeof r, &reply, &fd), EPROTO);
    r.count = 2; /* but room for one */
    assert_int_equal(rpc_full(f, &c, &r, ZS_CTL_REQUEST_BASE + sizeof r.u.share[0], &reply, &fd), EPROTO);
    assert_int_equal(rpc(f, &c, ZS_CTL_WAITER_NEW, 0, 0, -1, NULL), 0); /* still served */
    detach(&c);
    settle(f);
}

static int other_user(struct fixture *f, const uint8_t *token)
{
    char uid[16];
    snprintf(uid, sizeof uid, "%u", (unsigned)getuid());
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct test_client c;
        close_range(4, ~0u, 0);
        setenv("TEST_ENGINE_UID", uid, 1);
        if (setuid(65534) != 0)
            _exit(255);
        _exit(attach(NULL, f->name, &c, token));
    }
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        engine_poll(f->e, f->now);
        usleep(1000);
    }
    settle(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_other_user_needs_a_token(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    uint8_t forged[16] = {1, 2, 3}, none[16] = {0};
    if (getuid() != 0)
        skip();
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(other_user(f, NULL), EPERM);
    assert_int_equal(other_user(f, none), EPERM);
    assert_int_equal(other_user(f, forged), EPERM);
    assert_int_equal(other_user(f, c.token), 0);
    uint8_t token[16];
    memcpy(token, c.token, 16);
    detach(&c);
    settle(f);
    assert_int_equal(other_user(f, token), 0); /* the parent of a daemon is gone when its child attaches */
}

static void test_slow_client_is_disconnected(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_request r = {.op = ZS_CTL_CLAIM}; /* refused, but answered */
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100000 && engine_counter(f->e, "clients_disconnected_slow") == 0; i++) {
        if (send(c.fd, &r, ZS_CTL_REQUEST_BASE, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
        engine_poll(f->e, f->now);
    }
    assert_int_equal(engine_counter(f->e, "clients_disconnected_slow"), 1);
    /* It is still attached as far as its memory goes: its process lives. */
    assert_int_equal(atomic_load(&c.view.stats->id), c.view.client);
    struct test_client again;
    assert_int_equal(attach(f, f->name, &again, NULL), 0);
    assert_int_not_equal(again.view.client, c.view.client);
    detach(&c);
    detach(&again);
    settle(f);
}

static void test_many_silent_connections(void **state)
{
    struct fixture *f = *state;
    enum { N = 600 };
    static int fds[N];
    struct test_client c;
    for (int i = 0; i < N; i++) {
        fds[i] = control_connect(f->name);
        settle(f);
    }
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    settle(f);
    for (int i = 0; i < N; i++)
        engine_poll(f->e, f->now);
    detach(&c);
    settle(f);
}

static void test_waiters(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply w, got;
    struct zs_ctl_request r = {.op = ZS_CTL_WAITER_NEW};
    int bell = -1, same = -1;
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    assert_int_equal(rpc_full(f, &c, &r, ZS_CTL_REQUEST_BASE, &w, &bell), 0);
    assert_true(bell >= 0);
    assert_int_equal(atomic_load(&c.view.arena->waiter[w.a].owner), c.view.client);
    r = (struct zs_ctl_request){.op = ZS_CTL_DOORBELL, .a = w.a, .b = w.b};
    assert_int_equal(rpc_full(f, &c, &r, ZS_CTL_REQUEST_BASE, &got, &same), 0);
    uint64_t one = 1, value = 0;
    assert_int_equal(write(same, &one, sizeof one), sizeof one);
    assert_int_equal(read(bell, &value, sizeof value), sizeof value);
    assert_int_equal(value, 1);
    close(same);
    assert_int_equal(rpc(f, &c, ZS_CTL_DOORBELL, w.a, w.b + 1, -1, NULL), ESTALE);
    r = (struct zs_ctl_request){.op = ZS_CTL_WAITER_FREE, .a = w.a, .b = w.b}; /* no reply */
    assert_int_equal(send(c.fd, &r, ZS_CTL_REQUEST_BASE, 0), ZS_CTL_REQUEST_BASE);
    settle(f);
    assert_int_equal(atomic_load(&c.view.arena->waiter[w.a].owner), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_DOORBELL, w.a, w.b, -1, NULL), ESTALE);
    close(bell);
    assert_int_equal(rpc(f, &c, ZS_CTL_WAITER_NEW, 0, 0, -1, NULL), 0); /* left to the engine */
    detach(&c);
    settle(f);
}

static void test_exec_closes_what_was_not_shared(void **state)
{
    struct fixture *f = *state;
    struct test_client before, after;
    assert_int_equal(attach(f, f->name, &before, NULL), 0);
    assert_true(zs_session_alloc(&before.view, ZS_KIND_TCP) >= 0);
    /* The old connection stays open in a child; the new image says HELLO from the same process. */
    assert_int_equal(attach(f, f->name, &after, NULL), 0);
    assert_int_equal(sessions_in_use(after.view.arena), 0);
    assert_int_equal(engine_counter(f->e, "clients_execed"), 1);
    detach(&before);
    detach(&after);
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_hello_maps_the_arena),     T(test_arena_cannot_be_resized),  T(test_version_mismatch),
        T(test_malformed_messages),       T(test_other_user_needs_a_token), T(test_slow_client_is_disconnected),
        T(test_many_silent_connections),  T(test_waiters),                  T(test_exec_closes_what_was_not_shared),
    };
    return cmocka_run_group_tests_name("engine attach", tests, NULL, NULL);
}
