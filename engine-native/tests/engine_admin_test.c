/* SPDX-License-Identifier: BSD-3-Clause
 * The administration protocol, leases, events and the end of an engine that nobody needs. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int admin_connect(struct fixture *f)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int n = snprintf(sun.sun_path + 1, sizeof sun.sun_path - 1, ZS_CTL_NAME_PREFIX "%u-%s-admin", (unsigned)getuid(), f->name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)), 0);
    settle(f);
    return fd;
}

/* The next line that the engine sends. */
static json_t *line(struct fixture *f, int fd)
{
    static char text[1 << 20];
    size_t n = 0;
    struct pollfd p = {fd, POLLIN, 0};
    for (int i = 0; i < 2000 && (n == 0 || text[n - 1] != '\n'); i++) {
        engine_poll(f->e, f->now);
        while (poll(&p, 1, 1) == 1 && read(fd, text + n, 1) == 1)
            if (text[n++] == '\n')
                break;
    }
    json_t *object = json_loadb(text, n, 0, NULL);
    assert_non_null(object);
    return object;
}

static json_t *ask(struct fixture *f, int fd, const char *request)
{
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    return line(f, fd);
}

static const char *text_at(json_t *object, const char *a, const char *b)
{
    json_t *at = json_object_get(object, a);
    return json_string_value(b != NULL ? json_object_get(at, b) : at);
}

static json_int_t number_at(json_t *object, const char *a, const char *b)
{
    json_t *at = json_object_get(object, a);
    at = b != NULL ? json_object_get(at, b) : at;
    assert_true(json_is_integer(at));
    return json_integer_value(at);
}

static void test_ping_and_errors(void **state)
{
    struct fixture *f = *state;
    int fd = admin_connect(f);
    json_t *a = ask(f, fd, "{\"id\": 7, \"cmd\": \"ping\"}\n");
    assert_int_equal(number_at(a, "id", NULL), 7);
    assert_true(json_is_true(json_object_get(a, "ok")));
    assert_int_equal(number_at(a, "result", "pid"), getpid());
    assert_int_equal(number_at(a, "result", "layout"), ZS_LAYOUT_VERSION);
    json_decref(a);
    static const struct {
        const char *request, *code;
    } wrong[] = {
        {"nonsense\n", "ZS2001"},
        {"[1]\n", "ZS2001"},
        {"{\"cmd\": 5}\n", "ZS2002"},
        {"{\"cmd\": \"fly\"}\n", "ZS2002"},
        {"{\"cmd\": \"lease\"}\n", "ZS2005"},
        {"{\"cmd\": \"lease\", \"run\": \"XYZ\"}\n", "ZS2005"},
        {"{\"cmd\": \"why\"}\n", "ZS2005"},
        {"{\"cmd\": \"why\", \"pid\": \"one\"}\n", "ZS2005"},
        {"{\"cmd\": \"why\", \"pid\": 2147483647}\n", "ZS2004"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        a = ask(f, fd, wrong[i].request);
        assert_true(json_is_false(json_object_get(a, "ok")));
        assert_string_equal(text_at(a, "error", "code"), wrong[i].code);
        assert_non_null(text_at(a, "error", "hint"));
        json_decref(a);
    }
    char *large = malloc(70000);
    memset(large, 'x', 70000);
    assert_true(send(fd, large, 70000, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
    free(large);
    a = line(f, fd);
    assert_string_equal(text_at(a, "error", "code"), "ZS2001");
    json_decref(a);
    char byte;
    settle(f);
    assert_true(read(fd, &byte, 1) <= 0); /* that connection is over */
    close(fd);
}

static void test_status_and_why(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply l;
    uint16_t port = 0;
    uint32_t client, server;
    char request[64], address[32];
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    int fd = admin_connect(f), tcp = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, tcp, &l), 0);
    assert_int_equal(shm_connect(&c.view, l.a, &client, &server), 0);
    atomic_store(&c.view.stats->bytes_in, 123);
    struct zs_why *why = &c.view.stats->why[tcp % ZS_WHY_ENTRIES];
    why->verdict = ZS_VERDICT_BOTH;
    why->reason = ZS_REASON_LISTENER;
    why->proto = IPPROTO_TCP;
    why->session = l.a;
    why->session_gen = l.b;
    atomic_store(&why->fd1, (uint32_t)tcp + 1);
    c.view.stats->why[900].verdict = 99; /* nonsense is left out */
    atomic_store(&c.view.stats->why[900].fd1, 1);

    json_t *a = ask(f, fd, "{\"id\": 1, \"cmd\": \"status\"}\n"), *r = json_object_get(a, "result");
    assert_string_equal(text_at(r, "name", NULL), f->name);
    assert_int_equal(number_at(r, "memory", "limit"), 64 << 20);
    assert_int_equal(number_at(r, "sessions", "in_use"), 3);
    assert_int_equal(number_at(r, "sessions", "tcp"), 2);
    assert_int_equal(number_at(r, "sessions", "listeners"), 1);
    assert_int_equal(number_at(r, "sessions", "accept_queued"), 1);
    assert_int_equal(number_at(r, "totals", "rpc_listen"), 1);
    assert_true(json_is_false(json_object_get(json_object_get(r, "dpdk"), "enabled")));
    json_t *me = json_array_get(json_object_get(r, "clients"), 0);
    assert_int_equal(number_at(me, "pid", NULL), getpid());
    assert_int_equal(number_at(me, "bytes_in", NULL), 123);
    assert_string_equal(text_at(me, "name", NULL), "tester");
    json_decref(a);

    snprintf(request, sizeof request, "{\"id\": 2, \"cmd\": \"why\", \"pid\": %d}\n", (int)getpid());
    a = ask(f, fd, request);
    r = json_object_get(a, "result");
    assert_true(json_is_true(json_object_get(r, "attached")));
    assert_int_equal(json_array_size(json_object_get(r, "sockets")), 1);
    json_t *s = json_array_get(json_object_get(r, "sockets"), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(number_at(s, "fd", NULL), tcp);
    assert_string_equal(text_at(s, "verdict", NULL), "both");
    assert_string_equal(text_at(s, "reason", NULL), "LISTENER");
    assert_string_equal(text_at(s, "local", NULL), address);
    json_decref(a);
    close(tcp); /* the entry outlives the descriptor; it is not shown any more */
    a = ask(f, fd, request);
    assert_int_equal(json_array_size(json_object_get(json_object_get(a, "result"), "sockets")), 0);
    json_decref(a);
    zs_session_close(&c.view, client, false);
    close(fd);
    detach(&c);
    settle(f);
}

static void test_lease_events_and_linger(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply l;
    uint16_t port = 0;
    int mine = admin_connect(f), other = admin_connect(f);
    json_decref(ask(f, mine, "{\"id\": 1, \"cmd\": \"lease\", \"run\": \"abc123\", \"pid\": 1}\n"));
    json_decref(ask(f, other, "{\"id\": 1, \"cmd\": \"lease\", \"run\": \"def456\", \"pid\": 1}\n"));
    int terse = admin_connect(f); /* declines attach and detach */
    json_t *refused = ask(f, terse, "{\"id\": 1, \"cmd\": \"lease\", \"run\": \"abc123\", \"lives\": 1}\n");
    assert_string_equal(text_at(refused, "error", "code"), "ZS2005");
    json_decref(refused);
    json_decref(ask(f, terse, "{\"id\": 2, \"cmd\": \"lease\", \"run\": \"abc123\", \"lives\": false}\n"));
    advance(f, 60 * SECOND);
    assert_false(engine_finished(f->e));
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    json_t *event = line(f, mine);
    assert_string_equal(text_at(event, "event", NULL), "attach");
    assert_int_equal(number_at(event, "pid", NULL), getpid());
    json_decref(event);
    int tcp = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, tcp, &l), 0);
    event = line(f, mine);
    assert_string_equal(text_at(event, "event", NULL), "listen");
    assert_string_equal(text_at(event, "proto", NULL), "tcp");
    assert_string_equal(text_at(event, "address", NULL), "127.0.0.1");
    assert_int_equal(number_at(event, "port", NULL), port);
    assert_string_equal(text_at(event, "verdict", NULL), "both");
    json_decref(event);
    /* A UDP socket that only sends is nobody's to be told of. */
    uint16_t own = 0, known = 0;
    int client = udp_socket(&own), server = udp_socket(&known);
    assert_int_equal(rpc(f, &c, ZS_CTL_UDP_OPEN, 0, 1, client, NULL), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_UDP_OPEN, 0, 0, server, NULL), 0);
    event = line(f, mine);
    assert_string_equal(text_at(event, "proto", NULL), "udp");
    assert_int_equal(number_at(event, "port", NULL), known);
    json_decref(event);
    close(client);
    close(server);
    close(tcp);
    detach(&c);
    event = line(f, mine);
    assert_string_equal(text_at(event, "event", NULL), "detach");
    json_decref(event);
    struct pollfd p = {other, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0); /* another run's events */
    for (int i = 0; i < 2; i++) {
        event = line(f, terse);
        assert_string_equal(text_at(event, "event", NULL), "listen");
        json_decref(event);
    }
    p.fd = terse;
    assert_int_equal(poll(&p, 1, 0), 0);
    close(terse);
    close(mine);
    settle(f);
    advance(f, 60 * SECOND);
    assert_false(engine_finished(f->e));
    close(other);
    settle(f);
    advance(f, 2 * SECOND);
    assert_false(engine_finished(f->e));
    advance(f, 1 * SECOND);
    assert_true(engine_finished(f->e));
}

static void test_linger_when_nobody_came(void **state)
{
    struct fixture *f = *state;
    advance(f, 2900 * MS);
    assert_false(engine_finished(f->e));
    advance(f, 200 * MS);
    assert_true(engine_finished(f->e));
}

static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    int fd = admin_connect(f);
    assert_int_equal(attach(f, f->name, &c, NULL), 0);
    json_t *a = ask(f, fd, "{\"id\": 1, \"cmd\": \"stop\"}\n");
    assert_string_equal(text_at(a, "error", "code"), "ZS2003");
    json_decref(a);
    assert_false(engine_finished(f->e));
    a = ask(f, fd, "{\"id\": 2, \"cmd\": \"stop\", \"force\": true}\n");
    assert_true(json_is_true(json_object_get(a, "ok")));
    json_decref(a);
    assert_true(engine_finished(f->e));
    close(fd);
    detach(&c);
    settle(f);
}

static void test_reader_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    int fd = admin_connect(f);
    static const char request[] = "{\"id\": 1, \"cmd\": \"status\"}\n";
    bool closed = false;
    for (int i = 0; i < 200000 && !closed; i++) {
        closed = send(fd, request, sizeof request - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && i > 20000;
        engine_poll(f->e, f->now);
        struct pollfd p = {fd, POLLOUT, 0};
        closed = closed || (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    }
    assert_true(closed);
    close(fd);
    fd = admin_connect(f);
    json_decref(ask(f, fd, "{\"id\": 1, \"cmd\": \"ping\"}\n"));
    close(fd);
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_ping_and_errors),         T(test_status_and_why), T(test_lease_events_and_linger),
        T(test_linger_when_nobody_came), T(test_stop),           T(test_reader_that_does_not_read),
    };
    return cmocka_run_group_tests_name("engine admin", tests, NULL, NULL);
}
