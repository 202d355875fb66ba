/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state, uint32_t memory_mib)
{
    static int serial;
    struct fixture *f = calloc(1, sizeof *f);
    struct engine_failure failure = {0};
    snprintf(f->name, sizeof f->name, "t%d-%d", (int)getpid(), serial++);
    f->now = 1000 * SECOND;
    struct engine_options o = {.name = f->name, .linger_s = 3, .memory_mib = memory_mib, .poll_us = 50, .log_level = LOG_L_ERROR,
                               .no_dpdk = true};
    signal(SIGPIPE, SIG_IGN);
    f->e = engine_open(&o, f->now, &failure);
    if (f->e == NULL)
        fprintf(stderr, "%s\n", failure.text);
    *state = f;
    return f->e == NULL ? -1 : 0;
}

int fixture_setup(void **state)
{
    return setup(state, 64);
}

int fixture_setup_small(void **state)
{
    return setup(state, 1);
}

int fixture_teardown_unclean(void **state)
{
    struct fixture *f = *state;
    engine_close(f->e);
    free(f);
    return 0;
}

static bool all_gone(struct fixture *f, void *arg)
{
    (void)arg;
    return sessions_in_use(engine_arena(f->e)) == 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    struct zs_arena *a = engine_arena(f->e);
    until(f, all_gone, NULL);
    advance(f, 1100 * MS); /* slots that rested, and those to be looked at again */
    advance(f, 1100 * MS);
    assert_int_equal(sessions_in_use(a), 0);
    assert_int_equal(blocks_in_use(a), 0);
    assert_int_equal(atomic_load(&a->header.mem_used), 0);
    for (uint32_t i = 0; i < ZS_HINT_WORDS(ZS_MAX_SESSIONS); i++)
        assert_int_equal(atomic_load(&a->session_hint.leaf[i]), 0);
    for (uint32_t i = 0; i < ZS_HINT_WORDS(ZS_MAX_WAITERS); i++)
        assert_int_equal(atomic_load(&a->waiter_hint.leaf[i]), 0);
    return fixture_teardown_unclean(state);
}

void settle(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        engine_poll(f->e, f->now);
}

void advance(struct fixture *f, uint64_t ns)
{
    f->now += ns;
    settle(f);
}

void until(struct fixture *f, bool (*done)(struct fixture *f, void *arg), void *arg)
{
    for (int i = 0; i < 5000; i++) {
        engine_poll(f->e, f->now);
        if (done(f, arg))
            return;
        f->now += MS;
        usleep(1000);
    }
    fail_msg("the engine did not get there in five seconds");
}

/* ---- Control protocol ---- */

int control_connect(const char *name)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int n = snprintf(sun.sun_path + 1, sizeof sun.sun_path - 1, ZS_CTL_NAME_PREFIX "%u-%s", (unsigned)getuid(), name);
    const char *uid = getenv("TEST_ENGINE_UID"); /* for children that changed theirs */
    if (uid != NULL)
        n = snprintf(sun.sun_path + 1, sizeof sun.sun_path - 1, ZS_CTL_NAME_PREFIX "%s-%s", uid, name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool send_request(int sock, const void *r, size_t len, int fd)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {(void *)r, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
    }
    return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The arena, or what else comes, into *fd; what comes with the arena into *second. */
static bool receive_reply(int sock, struct zs_ctl_reply *reply, int *fd, int *second)
{
    union {
        char space[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {reply, sizeof *reply};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    *fd = -1;
    if (h != NULL && h->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(h), sizeof *fd);
    if (*fd >= 0 && h->cmsg_len == CMSG_LEN(2 * sizeof *fd))
        memcpy(second, CMSG_DATA(h) + sizeof *fd, sizeof *fd);
    return n == (ssize_t)sizeof *reply;
}

int rpc_full(struct fixture *f, struct test_client *c, struct zs_ctl_request *r, size_t len, struct zs_ctl_reply *reply,
             int *fd)
{
    struct pollfd p = {c->fd, POLLIN, 0};
    r->seq = ++c->seq;
    if (!send_request(c->fd, r, len, *fd))
        return EPIPE;
    for (int i = 0; poll(&p, 1, f == NULL ? 5000 : 1) == 0 && i < 2000; i++)
        if (f != NULL)
            engine_poll(f->e, f->now);
    if (!receive_reply(c->fd, reply, fd, &c->bell))
        return EPIPE;
    return reply->seq == r->seq ? (int)reply->error : EBADMSG;
}

int rpc(struct fixture *f, struct test_client *c, uint32_t op, uint32_t a, uint32_t b, int fd, struct zs_ctl_reply *reply)
{
    struct zs_ctl_request r = {.op = op, .a = a, .b = b};
    struct zs_ctl_reply own;
    int error = rpc_full(f, c, &r, ZS_CTL_REQUEST_BASE, reply != NULL ? reply : &own, &fd);
    if (fd >= 0)
        close(fd);
    return error;
}

void tell_share(struct test_client *c, uint32_t session, uint32_t gen, uint64_t cookie)
{
    struct zs_ctl_request r = {.op = ZS_CTL_SHARE, .seq = ++c->seq, .a = 1, .count = 1};
    r.u.share[0] = (struct zs_ctl_share_entry){session, gen, cookie};
    assert_true(send_request(c->fd, &r, ZS_CTL_REQUEST_BASE + sizeof r.u.share[0], -1));
}

int rpc_share(struct fixture *f, struct test_client *c, uint32_t session, uint32_t gen, uint64_t cookie)
{
    struct zs_ctl_request r = {.op = ZS_CTL_SHARE, .count = 1};
    struct zs_ctl_reply reply;
    int fd = -1;
    r.u.share[0] = (struct zs_ctl_share_entry){session, gen, cookie};
    return rpc_full(f, c, &r, ZS_CTL_REQUEST_BASE + sizeof r.u.share[0], &reply, &fd);
}

static void ring_nothing(struct zs_view *view, uint32_t waiter, uint32_t gen)
{
    (void)view;
    (void)waiter;
    (void)gen;
}

int attach(struct fixture *f, const char *name, struct test_client *c, const uint8_t *token)
{
    struct zs_ctl_request r = {.op = ZS_CTL_HELLO};
    struct zs_ctl_reply reply;
    int fd = -1;
    memset(c, 0, sizeof *c);
    c->fd = control_connect(name);
    if (c->fd < 0)
        return ENOENT;
    r.u.hello.version = ZS_CTL_VERSION;
    r.u.hello.layout = ZS_LAYOUT_VERSION;
    r.u.hello.layout_size = sizeof(struct zs_arena);
    strcpy(r.u.hello.name, "tester");
    strcpy(r.u.hello.run, "abc123");
    if (token != NULL)
        memcpy(r.u.hello.token, token, 16);
    int error = rpc_full(f, c, &r, ZS_CTL_REQUEST_BASE + sizeof r.u.hello, &reply, &fd);
    if (error != 0)
        return error;
    memcpy(c->token, reply.token, 16);
    c->view.client = reply.a;
    c->view.ring = ring_nothing;
    const size_t align = _Alignof(struct zs_arena), size = sizeof(struct zs_arena);
    char *space = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    space += (align - (uintptr_t)space % align) % align; /* what is left over stays reserved */
    c->view.arena = mmap(space, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    close(fd);
    if (c->view.arena == MAP_FAILED || reply.layout_size != sizeof(struct zs_arena))
        return ENOMEM;
    c->view.mem_limit = c->view.arena->header.mem_limit;
    c->view.stats = &c->view.arena->client[ZS_CLIENT_SLOT(reply.a)];
    return 0;
}

void detach(struct test_client *c)
{
    munmap(c->view.arena, sizeof(struct zs_arena));
    close(c->bell);
    close(c->fd);
}

/* ---- Children ---- */

struct start {
    struct fixture *f;
    int pipe;
    bool reported;
    struct child *child;
};

static bool reported(struct fixture *f, void *arg)
{
    struct start *s = arg;
    (void)f;
    return read(s->pipe, s->child->out, sizeof s->child->out) == (ssize_t)sizeof s->child->out;
}

void child_start(struct fixture *f, struct child *child, int (*body)(struct test_client *c, uint32_t *out, void *arg),
                 void *arg)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    memset(child, 0, sizeof *child);
    fflush(NULL);
    child->pid = fork();
    if (child->pid == 0) {
        /* None of the parent's descriptors: an inherited one would keep sockets and names alive. */
        struct test_client c;
        uint32_t out[8] = {0};
        int report = dup2(ends[1], 3);
        close_range(4, ~0u, 0);
        int error = attach(NULL, f->name, &c, NULL);
        error = error != 0 ? error : body(&c, out, arg);
        if (error == 0 && write(report, out, sizeof out) == (ssize_t)sizeof out)
            for (;;)
                pause();
        fprintf(stderr, "child: error %d (%s)\n", error, strerror(error));
        _exit(1);
    }
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    struct start s = {.f = f, .pipe = ends[0], .child = child};
    until(f, reported, &s);
    close(ends[0]);
}

static bool detached(struct fixture *f, void *arg)
{
    return engine_counter(f->e, "clients_died") > *(uint64_t *)arg;
}

void child_kill(struct fixture *f, struct child *child)
{
    uint64_t before = engine_counter(f->e, "clients_died");
    kill(child->pid, SIGKILL);
    assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
    until(f, detached, &before);
}

/* ---- Sockets and shared memory ---- */

static int bound(int type, uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&in, len) != 0 || getsockname(fd, (struct sockaddr *)&in, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(in.sin_port);
    return fd;
}

int tcp_listener(uint16_t *port)
{
    int fd = bound(SOCK_STREAM, port);
    if (fd >= 0)
        listen(fd, 16);
    return fd;
}

int udp_socket(uint16_t *port)
{
    return bound(SOCK_DGRAM, port);
}

uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
    return cookie;
}

struct zs_addr loopback(uint16_t port)
{
    struct zs_addr a = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}, .port = htons(port), .family = AF_INET};
    return a;
}

uint32_t sessions_in_use(struct zs_arena *a)
{
    uint32_t n = 0;
    for (uint32_t i = zs_hint_next(a->session_hint.leaf, ZS_MAX_SESSIONS, 0); i < ZS_MAX_SESSIONS;
         i = zs_hint_next(a->session_hint.leaf, ZS_MAX_SESSIONS, i + 1))
        n += atomic_load(&a->session[i].owner) != 0;
    return n;
}

uint32_t blocks_in_use(struct zs_arena *a)
{
    uint32_t used = 0;
    for (uint32_t c = 0; c < ZS_NCLASS; c++)
        for (uint32_t n = ZS_CLASS_COUNT(c), i = zs_hint_next(a->block[c].hint.leaf, n, 0); i < n;
             i = zs_hint_next(a->block[c].hint.leaf, n, i + 1))
            used += atomic_load(&a->block[c].owner[i]) != 0;
    return used;
}

int shm_connect(struct zs_view *v, uint32_t listener_session, uint32_t *client_end, uint32_t *server_end)
{
    struct zs_session *ls = zs_session_at(v, listener_session);
    int64_t ci = zs_session_alloc(v, ZS_KIND_TCP), si = zs_session_alloc(v, ZS_KIND_TCP);
    if (ci < 0 || si < 0)
        return -ENOBUFS;
    struct zs_session *c = zs_session_at(v, (uint32_t)ci), *s = zs_session_at(v, (uint32_t)si);
    c->listener = s->listener = ls->listener;
    c->listener_gen = s->listener_gen = ls->listener_gen;
    zs_session_pair(v, (uint32_t)ci, (uint32_t)si);
    *client_end = (uint32_t)ci;
    *server_end = (uint32_t)si;
    atomic_store(&s->owner, ZS_CLIENT_ENGINE);
    atomic_store(&s->state, ZS_S_QUEUED);
    atomic_store(&c->state, ZS_S_OPEN);
    int r = zs_accept_push(v, ls->listener, ls->listener_gen, (uint32_t)si, atomic_load(&s->gen));
    if (r != 0) {
        atomic_store(&c->state, ZS_S_EMBRYO);
        atomic_store(&s->state, ZS_S_EMBRYO);
    }
    return r;
}
