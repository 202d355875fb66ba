/* SPDX-License-Identifier: BSD-3-Clause
 * Attaching to an engine and talking to it. */
#define _GNU_SOURCE
#include "buffers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define RPC_TIMEOUT_S 5

static void ring_doorbell(struct zs_view *v, uint32_t waiter, uint32_t gen);

/* ---- Requests ---- */

static long send_request(int sock, const struct zs_ctl_request *req, int fd)
{
    size_t len = ZS_CTL_REQUEST_BASE;
    if (req->op == ZS_CTL_HELLO)
        len += sizeof req->u.hello;
    else if (req->op == ZS_CTL_SHARE)
        len += req->count * sizeof req->u.share[0];
    else if (req->op == ZS_CTL_GROUP)
        len += sizeof req->u.group;
    struct iovec iov = {(void *)req, len};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof control.buf;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return zs_sys(SYS_sendmsg, sock, &msg, MSG_NOSIGNAL);
}

static void close_fds(const int *fd)
{
    for (uint32_t i = 0; i < ZS_CTL_REPLY_FDS; i++)
        if (fd[i] >= 0)
            zs_sys(SYS_close, fd[i]);
}

/* fd: the only descriptor that came, -1 none; ZS_CTL_REPLY_FDS of them. */
static long receive_reply(int sock, struct zs_ctl_reply *reply, int *fd)
{
    struct iovec iov = {reply, sizeof *reply};
    union {
        char buf[CMSG_SPACE(ZS_CTL_REPLY_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof control.buf};
    fd[0] = fd[1] = -1;
    struct timespec limit = {.tv_sec = RPC_TIMEOUT_S};
    struct pollfd p = {.fd = sock, .events = POLLIN};
    long r;
    do {
        r = zs_sys(SYS_ppoll, &p, 1, &limit, NULL, 0);
    } while (r == -EINTR);
    /* EINVAL: a process that gave up all descriptors (RLIMIT_NOFILE 0) may not even poll one that it has. An engine that ends is
     * seen all the same. */
    if (r <= 0 && r != -EINVAL)
        return r == 0 ? -ETIMEDOUT : r;
    do {
        r = zs_sys(SYS_recvmsg, sock, &msg, MSG_CMSG_CLOEXEC);
    } while (r == -EINTR);
    if (r <= 0)
        return r == 0 ? -EPIPE : r;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(fd, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    if (msg.msg_flags & MSG_CTRUNC) { /* no descriptor was free: the first of two would be taken for the only one */
        close_fds(fd);
        fd[0] = fd[1] = -1;
    }
    return r;
}

/* fd: what comes with the reply, closed by the caller. */
static int exchange(struct zs_domain *d, struct zs_ctl_request *req, struct zs_ctl_reply *reply, int send_fd, int fd[ZS_CTL_REPLY_FDS])
{
    fd[0] = fd[1] = -1;
    if (!atomic_load(&d->alive))
        return -EPIPE;
    if (d->ctl_fd < 0) /* a forked child that is no client yet: the engine may be well */
        return -ENOTCONN;
    if (d->view.confined) /* the request would be the end of this process */
        return -EPERM;
    /* Signals wait: a handler that ran in the middle of an exchange could start another. */
    uint64_t all = ~UINT64_C(0), old;
    zs_sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof all);
    zs_lock(&d->view, &d->rpc_lock, false);
    req->seq = ++d->seq;
    long r;
    do {
        r = send_request(d->ctl_fd, req, send_fd);
    } while (r == -EINTR);
    bool answered = !zs_ctl_silent(req);
    while (r >= 0 && answered) {
        r = receive_reply(d->ctl_fd, reply, fd);
        if (r < (long)sizeof *reply || reply->seq == req->seq)
            break;
        close_fds(fd); /* a late answer to a request that timed out */
    }
    if (r < 0 || (answered && r < (long)sizeof *reply))
        atomic_store(&d->alive, false);
    zs_unlock(&d->view, &d->rpc_lock);
    zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof old);
    if (r < 0)
        return r == -ETIMEDOUT ? -ETIMEDOUT : -EPIPE;
    return answered ? -(int)reply->error : 0;
}

int zs_rpc(struct zs_domain *d, struct zs_ctl_request *req, struct zs_ctl_reply *reply, int *fd)
{
    int got[ZS_CTL_REPLY_FDS];
    int r = exchange(d, req, reply, *fd, got);
    *fd = got[0];
    got[0] = -1;
    close_fds(got);
    return r;
}

int zs_rpc2(struct zs_domain *d, uint32_t op, uint32_t a, uint32_t b, int send_fd, struct zs_ctl_reply *reply, int *got_fd)
{
    struct zs_ctl_request req = {.op = op, .a = a, .b = b};
    struct zs_ctl_reply own;
    int fd = send_fd;
    int r = zs_rpc(d, &req, reply ? reply : &own, &fd);
    if (got_fd != NULL)
        *got_fd = fd;
    else if (fd >= 0)
        zs_sys(SYS_close, fd);
    return r;
}

/* ---- Attach ---- */

/* A socket looks names up in the network namespace that it was made in. Takes `home1`. */
static int connect_engine(const char *engine, int home1, pid_t *pid)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int n = snprintf(sun.sun_path + 1, sizeof sun.sun_path - 1, ZS_CTL_NAME_PREFIX "%s", engine);
    if (n < 0 || (size_t)n >= sizeof sun.sun_path - 1)
        return -EINVAL;
    int sock = home1 > 0 ? home1 - 1 : (int)zs_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return sock;
    long r;
    do {
        r = zs_sys(SYS_connect, sock, &sun, offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    } while (r == -EINTR);
    if (r == 0) {
        /* An abstract name belongs to whoever binds it first: only the announced user's engine is ours. */
        struct ucred cred;
        socklen_t len = sizeof cred;
        r = zs_sys(SYS_getsockopt, sock, SOL_SOCKET, SO_PEERCRED, &cred, &len);
        if (r == 0 && cred.uid != (uid_t)strtoul(engine, NULL, 10))
            r = -EPERM;
        *pid = cred.pid;
    }
    if (r < 0) {
        zs_sys(SYS_close, sock);
        return (int)r;
    }
    return sock;
}

void zs_domain_mapped(const struct zs_domain *d, int64_t bytes)
{
    if (d->host->mapped != NULL)
        d->host->mapped(bytes);
}

#define ARENA_ALIGN _Alignof(struct zs_arena)
#define ARENA_SPACE ((int64_t)(sizeof(struct zs_arena) + ARENA_ALIGN)) /* while it is mapped; a little less afterwards */

/* The arena at the alignment of its type: a page-aligned mapping would not do for huge pages. */
static void *map_aligned(int fd)
{
    const size_t align = ARENA_ALIGN, size = sizeof(struct zs_arena);
    uint8_t *space = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NULL;
    uint8_t *p = (uint8_t *)(((uintptr_t)space + align - 1) & ~(uintptr_t)(align - 1));
    if (zs_map_sparse(p, size, PROT_READ | PROT_WRITE, fd) == NULL) {
        munmap(space, size + align);
        return NULL;
    }
    if (p > space)
        munmap(space, (size_t)(p - space));
    munmap(p + size, (size_t)(space + align - p));
    return p;
}

static void unmap_arena(struct zs_domain *d)
{
    munmap(d->view.arena, sizeof(struct zs_arena));
    zs_domain_mapped(d, -ARENA_SPACE);
    d->view.arena = NULL;
}

static int map_arena(struct zs_domain *d, int fd)
{
    if (d->view.arena != NULL) /* from its parent, and of another engine: that one would not have sent it */
        return -ESTALE;
    zs_domain_mapped(d, ARENA_SPACE);
    void *p = map_aligned(fd);
    if (p == NULL) {
        zs_domain_mapped(d, -ARENA_SPACE);
        return -ENOMEM;
    }
    madvise(p, sizeof(struct zs_arena), MADV_DONTDUMP);
    struct zs_arena_header *h = &((struct zs_arena *)p)->header;
    d->view.arena = p;
    if (h->magic != ZS_SHM_MAGIC || h->layout_version != ZS_LAYOUT_VERSION || h->layout_size != sizeof(struct zs_arena)) {
        unmap_arena(d);
        return -EPROTO;
    }
    d->view.mem_limit = h->mem_limit;
    d->epoch = h->epoch;
    d->ncpu = h->ncpu;
    return 0;
}

/* The segment of received packets, for reading: its size is the descriptor's, which is sealed; what stands in the arena only
 * tells that there is one. A forked child has the mapping already. */
static int map_segment(struct zs_domain *d)
{
    struct stat st;
    int fd = -1;
    if (d->view.rx_seg != NULL || d->view.arena->header.rx_size == 0)
        return 0;
    int r = zs_rpc2(d, ZS_CTL_SEGMENT, 0, 0, -1, NULL, &fd);
    if (r < 0 || fd < 0)
        return r == -ENOENT ? 0 : r < 0 ? r : -EPROTO;
    r = (int)zs_sys(SYS_fstat, fd, &st);
    if (r == 0 && st.st_size > 0) {
        zs_domain_mapped(d, st.st_size);
        void *p = zs_map_sparse(NULL, (uint64_t)st.st_size, PROT_READ, fd);
        r = p == NULL ? -ENOMEM : 0;
        if (r == 0) {
            madvise(p, (size_t)st.st_size, MADV_DONTDUMP);
            d->view.rx_seg = p;
            d->view.rx_size = (uint64_t)st.st_size;
        } else {
            zs_domain_mapped(d, -st.st_size);
        }
    } else if (r == 0) {
        r = -EPROTO;
    }
    zs_sys(SYS_close, fd);
    return r;
}

/* The program's name. */
static void read_comm(char name[16])
{
    if (zs_sys(SYS_gettid) == zs_sys(SYS_getpid) && zs_sys(SYS_prctl, PR_GET_NAME, name) == 0)
        return;
    long fd = zs_sys(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);
    long n = fd >= 0 ? zs_sys(SYS_read, fd, name, 15) : 0;
    if (fd >= 0)
        zs_sys(SYS_close, fd);
    n = n > 0 ? n : 0;
    if (n > 0 && name[n - 1] == '\n')
        n--;
    name[n] = 0;
}

/* The arena and the engine's doorbell, or the doorbell alone. */
static int take_hello(struct zs_domain *d, const struct zs_ctl_reply *reply, int fd[ZS_CTL_REPLY_FDS])
{
    bool both = fd[1] >= 0;
    if (fd[0] < 0 || (!both && d->view.arena == NULL))
        return -EPROTO;
    memcpy(d->token, reply->token, sizeof d->token);
    d->view.client = reply->a;
    int r = both ? map_arena(d, fd[0]) : 0;
    if (r == 0) {
        d->bell_fd = d->host->keep_fd(fd[both]);
        fd[both] = -1;
        r = d->bell_fd < 0 ? d->bell_fd : 0;
    }
    return r;
}

static int hello(struct zs_domain *d, const struct zs_attach_args *args)
{
    struct zs_ctl_request req = {.op = ZS_CTL_HELLO};
    struct zs_ctl_reply reply;
    req.u.hello.version = ZS_CTL_VERSION;
    req.u.hello.layout = ZS_LAYOUT_VERSION;
    req.u.hello.layout_size = sizeof(struct zs_arena);
    if (args->token != NULL)
        memcpy(req.u.hello.token, args->token, sizeof req.u.hello.token);
    read_comm(req.u.hello.name);
    snprintf(req.u.hello.run, sizeof req.u.hello.run, "%s", args->run);
    req.u.hello.mapped = d->view.arena != NULL ? d->epoch : 0;
    int fd[ZS_CTL_REPLY_FDS];
    int r = exchange(d, &req, &reply, -1, fd);
    if (r == 0)
        r = take_hello(d, &reply, fd);
    close_fds(fd);
    return r;
}

static int establish(struct zs_domain *d, const struct zs_attach_args *args)
{
    int sock = connect_engine(args->engine, args->home1, &d->engine_pid);
    if (sock < 0)
        return sock;
    d->ctl_fd = d->host->keep_fd(sock);
    if (d->ctl_fd < 0)
        return d->ctl_fd;
    atomic_store(&d->alive, true);
    int r = hello(d, args);
    if (r == 0)
        r = map_segment(d);
    if (r < 0)
        zs_domain_disconnect(d);
    else
        d->view.stats = &d->view.arena->client[ZS_CLIENT_SLOT(d->view.client) % ZS_MAX_CLIENTS];
    return r;
}

static void *private_table(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int zs_domain_attach(struct zs_domain *d, const struct zs_attach_args *args)
{
    memset(d, 0, sizeof *d);
    d->host = args->host;
    d->bell_fd = d->ctl_fd = -1;
    d->view.client = 1; /* any non-zero value: names us in rpc_lock until the engine gave an id */
    d->view.ring = ring_doorbell;
    d->view.map = zs_buffers_map;
    d->doorbell = private_table(ZS_MAX_WAITERS * sizeof *d->doorbell);
    d->view.mapped = private_table(ZS_MAX_SEGMENTS * sizeof *d->view.mapped);
    int r = d->doorbell == NULL || d->view.mapped == NULL ? -ENOMEM : establish(d, args);
    if (r < 0) { /* no socket uses the mappings; who retries must not collect them */
        if (d->view.rx_seg != NULL) {
            munmap((void *)(uintptr_t)d->view.rx_seg, d->view.rx_size);
            zs_domain_mapped(d, -(int64_t)d->view.rx_size);
        }
        if (d->view.arena != NULL)
            unmap_arena(d);
        if (d->doorbell != NULL)
            munmap(d->doorbell, ZS_MAX_WAITERS * sizeof *d->doorbell);
        if (d->view.mapped != NULL)
            munmap(d->view.mapped, ZS_MAX_SEGMENTS * sizeof *d->view.mapped);
        d->view.rx_seg = NULL;
        d->view.mapped = NULL;
        d->doorbell = NULL;
    }
    return r;
}

int zs_domain_reattach(struct zs_domain *d, const struct zs_attach_args *args)
{
    atomic_store(&d->rpc_lock, 0);
    d->seq = 0;
    return establish(d, args);
}

void zs_domain_disconnect(struct zs_domain *d)
{
    if (d->ctl_fd >= 0)
        d->host->drop_fd(d->ctl_fd);
    if (d->bell_fd >= 0)
        d->host->drop_fd(d->bell_fd);
    d->ctl_fd = d->bell_fd = -1;
    atomic_store(&d->alive, false);
    for (uint32_t i = 0; d->doorbell != NULL && i < ZS_MAX_WAITERS; i++) {
        int fd = atomic_load_explicit(&d->doorbell[i].fd, memory_order_relaxed);
        if (fd != 0 && atomic_exchange(&d->doorbell[i].fd, 0) == fd)
            d->host->drop_fd(fd - 1);
    }
}

bool zs_domain_check(struct zs_domain *d)
{
    if (!atomic_load(&d->alive))
        return false;
    struct pollfd p = {.fd = d->ctl_fd, .events = POLLRDHUP};
    struct timespec now = {0};
    long r = zs_sys(SYS_ppoll, &p, 1, &now, NULL, 0);
    if (r > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)))
        atomic_store(&d->alive, false);
    return atomic_load(&d->alive);
}

bool zs_domain_engine_dead(const struct zs_domain *d)
{
    return !d->view.confined && d->engine_pid > 0 && zs_sys(SYS_kill, d->engine_pid, 0) == -ESRCH;
}

/* ---- Doorbells ---- */

static void write_bell(int fd)
{
    uint64_t one = 1;
    zs_sys(SYS_write, fd, &one, sizeof one);
}

void zs_domain_ring_engine(struct zs_domain *d)
{
    if (d->bell_fd >= 0)
        write_bell(d->bell_fd);
}

/* The engine is to ring a waiter whose doorbell this process cannot have. */
static void ring_through_engine(struct zs_domain *d, uint32_t waiter)
{
    struct zs_arena_header *h = &d->view.arena->header;
    atomic_fetch_or(&h->ring_asked[waiter / 64], UINT64_C(1) << (waiter % 64));
    atomic_store(&h->ring_any, 1);
    zs_domain_ring_engine(d);
}

/* A doorbell is fetched from the engine once per (waiter, generation) and kept. Where that is not possible any more (a filter,
 * no descriptor left) the engine rings. Without an engine the sleeper's own bounded sleep finds the bit. */
static void ring_doorbell(struct zs_view *v, uint32_t waiter, uint32_t gen)
{
    struct zs_domain *d = (struct zs_domain *)v;
    struct zs_doorbell *b = &d->doorbell[waiter];
    int fd = atomic_load(&b->fd);
    if (fd != 0 && atomic_load(&b->gen) == gen) {
        write_bell(fd - 1);
        return;
    }
    int got = -1, r = zs_rpc2(d, ZS_CTL_DOORBELL, waiter, gen, -1, NULL, &got);
    if (r == 0 && got >= 0)
        got = d->host->keep_fd(got);
    if (got < 0) {
        if (r == 0 || r == -EPERM)
            ring_through_engine(d, waiter);
        return;
    }
    write_bell(got);
    int old = atomic_exchange(&b->fd, got + 1);
    atomic_store(&b->gen, gen);
    if (old != 0)
        d->host->drop_fd(old - 1);
}
