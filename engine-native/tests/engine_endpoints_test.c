/* SPDX-License-Identifier: BSD-3-Clause
 * Listeners, UDP sockets, sockets shared between processes, connects that wait for room. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void attached(struct fixture *f, struct test_client *c)
{
    assert_int_equal(attach(f, f->name, c, NULL), 0);
}

static int64_t lookup_tcp(struct test_client *c, uint16_t port)
{
    struct zs_addr to = loopback(port);
    return zs_lookup_listener(&c->view, &to, 0, 1);
}

static bool closed_by_cookie(struct fixture *f, void *arg)
{
    return engine_counter(f->e, "closed_by_cookie") >= *(uint64_t *)arg;
}

static void test_listen_lookup_close(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r, again;
    uint16_t port = 0;
    attached(f, &c);
    int fd = tcp_listener(&port);
    assert_int_equal(lookup_tcp(&c, port), -ECONNREFUSED);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
    assert_int_equal(lookup_tcp(&c, port), r.a);
    struct zs_session *s = zs_session_at(&c.view, r.a);
    assert_int_equal(atomic_load(&s->gen), r.b);
    assert_int_equal(atomic_load(&s->owner), ZS_CLIENT_ENGINE);
    assert_int_equal(atomic_load(&s->creator), c.view.client);
    assert_int_equal(atomic_load(&c.view.arena->listener[s->listener].backlog), 5);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 9, 0, fd, &again), 0); /* the same socket: the backlog changes */
    assert_int_equal(again.a, r.a);
    assert_int_equal(atomic_load(&c.view.arena->listener[s->listener].backlog), 9);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, r.a, r.b + 1, -1, NULL), ESTALE);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL), 0);
    assert_int_equal(lookup_tcp(&c, port), -ECONNREFUSED);
    assert_int_not_equal(atomic_load(&s->owner), 0); /* rests */
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL), ESTALE);
    advance(f, 101 * MS);
    assert_int_equal(atomic_load(&s->owner), 0);
    assert_int_equal(atomic_load(&s->gen), r.b + 1);
    close(fd);
    detach(&c);
    settle(f);
}

static void test_closing_the_last_descriptor_is_enough(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply tcp, udp;
    uint16_t tcp_port = 0, udp_port = 0;
    uint64_t want = 1;
    attached(f, &c);
    int fd = tcp_listener(&tcp_port), copy = dup(fd), ufd = udp_socket(&udp_port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &tcp), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_UDP_OPEN, 0, 0, ufd, &udp), 0);
    struct zs_addr to = loopback(udp_port), from = loopback(1);
    assert_int_equal(zs_lookup_udp(&c.view, &to, &from, 0, 0), udp.a);
    close(ufd);
    until(f, closed_by_cookie, &want);
    assert_int_equal(zs_lookup_udp(&c.view, &to, &from, 0, 0), -ECONNREFUSED);
    close(fd);
    settle(f);
    assert_int_equal(lookup_tcp(&c, tcp_port), tcp.a); /* the copy holds it */
    close(copy);
    want = 2;
    until(f, closed_by_cookie, &want);
    assert_int_equal(lookup_tcp(&c, tcp_port), -ECONNREFUSED);
    detach(&c);
    settle(f);
}

static void test_what_is_refused(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    uint16_t tcp = 0, udp = 0;
    attached(f, &c);
    int l = tcp_listener(&tcp), u = udp_socket(&udp), plain = socket(AF_INET, SOCK_STREAM, 0), un = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_UDP_OPEN, 0, 0, l, NULL), EPROTONOSUPPORT);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 0, 0, u, NULL), EPROTONOSUPPORT);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 0, 0, plain, NULL), EINVAL); /* neither bound nor listening */
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 0, 0, un, NULL), EAFNOSUPPORT);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLAIM, 0, 0, l, NULL), ENOENT);
    close(l), close(u), close(plain), close(un);
    detach(&c);
    settle(f);
}

/* A socket of another network namespace. */
static int foreign_listener(void)
{
    int pair[2], fd = -1;
    char byte;
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNET) != 0)
            _exit(1);
        int s = socket(AF_INET, SOCK_STREAM, 0); /* listen binds it to a port */
        listen(s, 1);
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof s);
        memcpy(CMSG_DATA(h), &s, sizeof s);
        _exit(sendmsg(pair[1], &msg, 0) == 1 ? 0 : 1);
    }
    close(pair[1]);
    if (recvmsg(pair[0], &msg, 0) == 1 && CMSG_FIRSTHDR(&msg) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    close(pair[0]);
    waitpid(pid, NULL, 0);
    return fd;
}

static void test_other_network_namespace(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    int fd = getuid() == 0 ? foreign_listener() : -1;
    if (fd < 0)
        skip();
    attached(f, &c);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, NULL), EXDEV);
    close(fd);
    detach(&c);
    settle(f);
}

static void test_port_is_free_at_once(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    attached(f, &c);
    for (int i = 0; i < 20; i++) {
        int fd = tcp_listener(&port);
        assert_true(fd >= 0);
        assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
        assert_int_equal(lookup_tcp(&c, port), r.a); /* the new one, whether or not the report came first */
        close(fd);
    }
    detach(&c);
    settle(f);
}

static void test_queued_connections_are_reset(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    uint32_t client[3], server[3];
    attached(f, &c);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
    uint32_t listener = zs_session_at(&c.view, r.a)->listener, gen = zs_session_at(&c.view, r.a)->listener_gen;
    for (int i = 0; i < 3; i++)
        assert_int_equal(shm_connect(&c.view, r.a, &client[i], &server[i]), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct zs_session *s = zs_session_at(&c.view, client[i]);
        assert_int_equal(atomic_load(&s->error), ECONNRESET);
        assert_true(atomic_load(&s->flags) & ZS_F_PEER_CLOSED);
    }
    assert_int_equal(zs_accept_push(&c.view, listener, gen, client[0], 0), -ECONNREFUSED);
    for (int i = 0; i < 3; i++)
        zs_session_close(&c.view, client[i], false);
    advance(f, 101 * MS);
    assert_int_equal(sessions_in_use(c.view.arena), 0);
    close(fd);
    detach(&c);
    settle(f);
}

/* ---- Several processes ---- */

static int claim_body(struct test_client *c, uint32_t *out, void *arg)
{
    struct zs_ctl_reply r;
    uint16_t port = 0;
    (void)arg;
    int fd = tcp_listener(&port), copy = dup(fd);
    int error = rpc(NULL, c, ZS_CTL_LISTEN, 5, 0, fd, &r);
    if (error == 0)
        error = rpc_share(NULL, c, r.a, r.b, cookie_of(fd));
    if (error == 0)
        error = rpc(NULL, c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL) == EPERM ? 0 : EINVAL; /* shared: not his alone */
    struct zs_ctl_reply claim;
    if (error == 0)
        error = rpc(NULL, c, ZS_CTL_CLAIM, 0, 0, copy, &claim);
    out[0] = r.a;
    out[1] = claim.a;
    out[2] = port;
    return error;
}

static void test_shared_listener(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct child child;
    uint64_t want = 1;
    attached(f, &c);
    child_start(f, &child, claim_body, NULL);
    assert_int_equal(child.out[0], child.out[1]);
    assert_int_equal(lookup_tcp(&c, (uint16_t)child.out[2]), child.out[0]);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, child.out[0], atomic_load(&zs_session_at(&c.view, child.out[0])->gen), -1,
                         NULL), EPERM);
    child_kill(f, &child);
    until(f, closed_by_cookie, &want);
    assert_int_equal(lookup_tcp(&c, (uint16_t)child.out[2]), -ECONNREFUSED);
    detach(&c);
    settle(f);
}

static void test_destroy_event_closes_a_shared_connection(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    uint32_t client, server;
    uint64_t want = 1;
    attached(f, &c);
    int fd = tcp_listener(&port), placeholder = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
    assert_int_equal(shm_connect(&c.view, r.a, &client, &server), 0);
    struct zs_session *s = zs_session_at(&c.view, client);
    uint32_t gen = atomic_load(&s->gen);
    uint64_t cookie = cookie_of(placeholder);
    assert_int_equal(rpc_share(f, &c, client, gen + 1, cookie), ESTALE);
    assert_int_equal(rpc_share(f, &c, server, atomic_load(&zs_session_at(&c.view, server)->gen), cookie), EPERM);
    assert_int_equal(rpc_share(f, &c, client, gen, 0), EINVAL);
    assert_int_equal(rpc_share(f, &c, client, gen, cookie), 0);
    assert_int_equal(rpc_share(f, &c, client, gen, cookie), 0);
    assert_int_equal(rpc_share(f, &c, client, gen, cookie + 1), EEXIST);
    assert_true(atomic_load(&s->flags) & ZS_F_SHARED);
    assert_int_equal(atomic_load(&s->cookie), cookie);
    struct zs_ctl_reply claim;
    assert_int_equal(rpc(f, &c, ZS_CTL_CLAIM, 0, 0, placeholder, &claim), 0);
    assert_int_equal(claim.a, client);
    assert_int_equal(zs_accept_pop(&c.view, zs_session_at(&c.view, r.a)->listener), server);
    atomic_store(&zs_session_at(&c.view, server)->owner, c.view.client);
    atomic_store(&zs_session_at(&c.view, server)->state, ZS_S_OPEN);
    close(placeholder);
    until(f, closed_by_cookie, &want);
    assert_int_equal(atomic_load(&s->state), ZS_S_CLOSED);
    assert_int_equal(atomic_load(&zs_session_at(&c.view, server)->rx_prod.fin), ZS_FIN);
    zs_session_close(&c.view, server, false);
    close(fd);
    detach(&c);
    settle(f);
}

/* ---- Deferred connects ---- */

static uint32_t fill_queue(struct test_client *c, uint32_t session, uint32_t *clients, uint32_t *last_server)
{
    uint32_t n = 0;
    while (shm_connect(&c->view, session, &clients[n], last_server) == 0)
        n++;
    return n; /* clients[n] is the one that found no room */
}

static uint32_t state_of(struct test_client *c, uint32_t session)
{
    return atomic_load(&zs_session_at(&c->view, session)->state);
}

static void close_all(struct test_client *c, const uint32_t *ends, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        zs_session_close(&c->view, ends[i], true);
}

static void test_deferred_connect(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    uint32_t clients[8], server;
    attached(f, &c);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 2, 0, fd, &r), 0);
    struct zs_session *ls = zs_session_at(&c.view, r.a);
    uint32_t n = fill_queue(&c, r.a, clients, &server);
    assert_int_equal(n, 3); /* backlog + 1 */
    uint32_t gen = atomic_load(&zs_session_at(&c.view, clients[n])->gen);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, clients[n], gen + 1, -1, NULL), ESTALE);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, clients[n], gen, -1, NULL), 0);
    assert_true(atomic_load(&ls->flags) & ZS_F_NOTIFY_ENGINE);
    advance(f, 250 * MS);
    assert_int_equal(state_of(&c, clients[n]), ZS_S_EMBRYO);
    assert_true(zs_accept_pop(&c.view, ls->listener) >= 0);
    uint64_t one = 1;
    assert_int_equal(write(c.bell, &one, sizeof one), sizeof one);
    settle(f);
    assert_int_equal(state_of(&c, clients[n]), ZS_S_OPEN);
    assert_int_equal(state_of(&c, server), ZS_S_QUEUED);
    assert_false(atomic_load(&ls->flags) & ZS_F_NOTIFY_ENGINE);
    assert_true(zs_accept_contains(&c.view, ls->listener, server));
    close(fd);
    close_all(&c, clients, n + 1);
    detach(&c);
    settle(f);
}

static void test_deferred_connect_ends(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    uint32_t clients[8], server, late, late_server;
    attached(f, &c);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 1, 0, fd, &r), 0);
    uint32_t n = fill_queue(&c, r.a, clients, &server);
    struct zs_session *first = zs_session_at(&c.view, clients[n]);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, clients[n], atomic_load(&first->gen), -1, NULL), 0);
    advance(f, 100 * SECOND);
    assert_int_equal(atomic_load(&first->error), 0);
    assert_int_equal(shm_connect(&c.view, r.a, &late, &late_server), -EAGAIN);
    struct zs_session *second = zs_session_at(&c.view, late);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, late, atomic_load(&second->gen), -1, NULL), 0);
    advance(f, 28 * SECOND);
    assert_int_equal(atomic_load(&first->error), ETIMEDOUT);
    assert_int_equal(atomic_load(&second->error), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_CLOSE, r.a, r.b, -1, NULL), 0);
    assert_int_equal(atomic_load(&second->error), ECONNREFUSED);
    assert_int_equal(engine_counter(f->e, "deferred_connects_timed_out"), 1);
    uint32_t left[] = {server, late, late_server};
    close(fd);
    close_all(&c, clients, n + 1);
    close_all(&c, left, 3);
    detach(&c);
    settle(f);
}

/* A client that gives up while it waits must not find its slots touched. */
static void test_deferred_connect_given_up(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    uint32_t clients[8], server;
    attached(f, &c);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 1, 0, fd, &r), 0);
    uint32_t n = fill_queue(&c, r.a, clients, &server);
    assert_int_equal(rpc(f, &c, ZS_CTL_CONNECT, clients[n], atomic_load(&zs_session_at(&c.view, clients[n])->gen), -1,
                         NULL), 0);
    zs_session_close(&c.view, server, true);
    zs_session_close(&c.view, clients[n], true);
    assert_true(zs_accept_pop(&c.view, zs_session_at(&c.view, r.a)->listener) >= 0);
    advance(f, 250 * MS);
    assert_int_equal(engine_counter(f->e, "deferred_connects_done"), 0);
    assert_int_equal(zs_accept_count(&c.view, zs_session_at(&c.view, r.a)->listener), n - 1);
    close(fd);
    close_all(&c, clients, n);
    detach(&c);
    settle(f);
}

/* More sockets close than reports fit: what is gone is found by looking for it. */
static bool session_closed(struct fixture *f, void *arg)
{
    f->now += SECOND; /* the audits are two seconds apart */
    return atomic_load(&((struct zs_session *)arg)->state) == ZS_S_CLOSED;
}

/* Whether this process, which the engine is in, has a descriptor of that socket. */
static bool is_ours(unsigned long inode)
{
    char want[32], is[64];
    bool found = false;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    for (struct dirent *d; !found && (d = readdir(dir)) != NULL;) {
        ssize_t n = readlinkat(dirfd(dir), d->d_name, is, sizeof is - 1);
        is[n < 0 ? 0 : n] = 0;
        found = strcmp(is, want) == 0;
    }
    closedir(dir);
    return found;
}

/* Reports that the kernel could not deliver to the engine, so far. Other engines lose some, too, and at another time. */
static unsigned long drops(void)
{
    char line[256];
    unsigned long sum = 0, value, inode;
    int protocol;
    FILE *f = fopen("/proc/net/netlink", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "%*s %d %*s %*s %*s %*s %*s %*s %lu %lu", &protocol, &value, &inode) == 3 && protocol == 4 && is_ours(inode))
            sum += value;
    fclose(f);
    return sum;
}

/* The kernel reports in the background, behind other work: waits until it has worked off the flood and lost some of it. */
static void flood_lost_something(unsigned long before)
{
    unsigned long last = before, now;
    for (int i = 0, same = 0; i < 300 && same < 10; i++, last = now) {
        usleep(100000);
        now = drops();
        same = now > before && now == last ? same + 1 : 0;
    }
    if (last == before)
        fail_msg("no report was lost");
}

static void test_lost_reports(void **state)
{
    struct fixture *f = *state;
    struct test_client c;
    struct zs_ctl_reply gone, kept;
    uint16_t port = 0, kept_port = 0;
    uint32_t client[2], server[2];
    attached(f, &c);
    int fd = tcp_listener(&port), stays = tcp_listener(&kept_port);
    int placeholder[2] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &gone), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, stays, &kept), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shm_connect(&c.view, kept.a, &client[i], &server[i]), 0);
        assert_int_equal(rpc_share(f, &c, client[i], atomic_load(&zs_session_at(&c.view, client[i])->gen),
                                   cookie_of(placeholder[i])), 0);
    }
    /* Another one holds a descriptor of the second placeholder; this process is the engine's own and not looked at. */
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t holder = fork();
    if (holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(placeholder[1], 3);
        close_range(4, ~0u, 0);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* until it has let go of all others */
    close(ready[0]);
    unsigned long before = drops();
    for (int i = 0; i < 120000; i++)
        close(socket(AF_INET, SOCK_STREAM, 0));
    close(fd);
    close(placeholder[0]);
    close(placeholder[1]);
    flood_lost_something(before);
    until(f, session_closed, zs_session_at(&c.view, client[0]));
    assert_true(engine_counter(f->e, "destroy_overflows") >= 1);
    assert_true(engine_counter(f->e, "closed_by_audit") >= 2);
    assert_int_equal(lookup_tcp(&c, port), -ECONNREFUSED);
    assert_int_equal(lookup_tcp(&c, kept_port), kept.a);
    assert_int_equal(state_of(&c, client[1]), ZS_S_OPEN);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    until(f, session_closed, zs_session_at(&c.view, client[1])); /* by report, or by audit when the flood still lasts */
    close(stays);
    detach(&c);
    settle(f);
}

/* The kernel reports a closed listener only once nobody is half connected to it any more: TCP_DEFER_ACCEPT makes that last. */
static void test_late_report(void **state)
{
    struct fixture *f = *state;
    struct test_client c, other;
    struct zs_ctl_reply r;
    uint16_t port = 0;
    attached(f, &c);
    int fd = tcp_listener(&port), wait_s = 30, peer = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &wait_s, sizeof wait_s), 0);
    assert_int_equal(rpc(f, &c, ZS_CTL_LISTEN, 5, 0, fd, &r), 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&to, sizeof to), 0);
    close(fd);
    attached(f, &other); /* a process has one attachment: the first one is over */
    settle(f);
    advance(f, 600 * MS);
    assert_int_equal(lookup_tcp(&other, port), r.a); /* missing once may mean: under way to another process */
    advance(f, 2 * SECOND);
    assert_int_equal(lookup_tcp(&other, port), -ECONNREFUSED);
    assert_int_equal(engine_counter(f->e, "closed_by_audit"), 1);
    close(peer);
    detach(&c);
    detach(&other);
    settle(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_listen_lookup_close),
        T(test_closing_the_last_descriptor_is_enough),
        T(test_what_is_refused),
        T(test_other_network_namespace),
        T(test_port_is_free_at_once),
        T(test_queued_connections_are_reset),
        T(test_shared_listener),
        T(test_destroy_event_closes_a_shared_connection),
        T(test_deferred_connect),
        T(test_deferred_connect_ends),
        T(test_deferred_connect_given_up),
        T(test_lost_reports),
        T(test_late_report),
    };
    return cmocka_run_group_tests_name("engine endpoints", tests, NULL, NULL);
}
