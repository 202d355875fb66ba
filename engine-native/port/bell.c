/* SPDX-License-Identifier: BSD-3-Clause
 * The bell between two engines that share a memif: the driver polls, so the sender has to wake the receiver. Each engine
 * has a page that says whether it sleeps, which the other maps read-only, and one byte on the socket between them rings.
 * The protocol is that of the doorbells: the sender publishes, full barrier, looks at the page; the sleeper writes its
 * page, full barrier, looks at the queue. The other end may be anything and may do anything: its page is sealed against
 * shrinking and only compared, its messages are counted and forgotten, and a send never blocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

#define HELLO_MAGIC 0x6c6c6562u
#define HELLO_VERSION 1u

struct hello {
    uint32_t magic, version;
};

static void hang_up(struct bell *b)
{
    if (b->theirs != NULL)
        munmap((void *)b->theirs, sizeof *b->theirs);
    b->theirs = NULL;
    b->up = false;
    if (b->conn >= 0)
        close(b->conn);
    b->conn = -1;
}

static bool say_hello(struct bell *b)
{
    struct hello hello = {HELLO_MAGIC, HELLO_VERSION};
    struct iovec io = {&hello, sizeof hello};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &b->page_fd, sizeof(int));
    return sendmsg(b->conn, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof hello;
}

/* A page that can be read for as long as it is mapped. */
static bool map_theirs(struct bell *b, int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof *b->theirs)
        return false;
    void *map = mmap(NULL, sizeof *b->theirs, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    b->theirs = map;
    b->rung = 0;
    return true;
}

/* Returns false when there is nothing more, or the other end is no bell. */
static bool receive(struct bell *b)
{
    struct hello hello = {0, 0};
    struct iovec io = {&hello, sizeof hello};
    union {
        char space[CMSG_SPACE(sizeof(int) * 4)];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(b->conn, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    int fd = -1;
    for (struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            if (fd >= 0)
                close(fd);
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        }
    }
    bool ring = n == 1 && fd < 0 && b->up;
    bool greets = n == sizeof hello && fd >= 0 && !b->up && hello.magic == HELLO_MAGIC &&
                  hello.version == HELLO_VERSION && map_theirs(b, fd);
    if (fd >= 0)
        close(fd);
    b->up = b->up || greets;
    if (!ring && !greets)
        hang_up(b);
    return ring || greets;
}

static void take(struct bell *b, int set, int conn)
{
    hang_up(b);
    b->conn = conn;
    if (!port_watch(set, conn, true) || !say_hello(b))
        hang_up(b);
}

static struct sockaddr_un address(const struct bell *b)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", b->path);
    return sun;
}

bool port_remove_stale_socket(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    if ((size_t)snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path) >= sizeof sun.sun_path)
        return false;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool dead = fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return dead && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(path) == 0;
}

/* Returns 0 or an errno. */
static int listen_at(struct bell *b, int set)
{
    struct sockaddr_un sun = address(b);
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int err = bind(fd, (struct sockaddr *)&sun, sizeof sun) == 0 ? 0 : errno;
    if (err == EADDRINUSE && port_remove_stale_socket(b->path))
        err = bind(fd, (struct sockaddr *)&sun, sizeof sun) == 0 ? 0 : errno;
    if (err == 0 && (listen(fd, 4) != 0 || !port_watch(set, fd, true)))
        err = errno;
    if (err != 0) {
        close(fd);
        return err;
    }
    if (lstat(b->path, &st) == 0) {
        b->bound_dev = st.st_dev;
        b->bound_ino = st.st_ino;
    }
    b->listen_fd = fd;
    return 0;
}

bool bell_start(struct bell *b, const char *path, bool listens, int set, struct port_failure *f)
{
    *b = (struct bell){.listens = listens, .listen_fd = -1, .conn = -1, .page_fd = -1};
    snprintf(b->path, sizeof b->path, "%s", path);
    b->page_fd = memfd_create("zstack-bell", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map = MAP_FAILED;
    if (b->page_fd >= 0 && ftruncate(b->page_fd, sizeof *b->mine) == 0)
        map = mmap(NULL, sizeof *b->mine, PROT_READ | PROT_WRITE, MAP_SHARED, b->page_fd, 0);
    if (map == MAP_FAILED ||
        fcntl(b->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
        port_fail(f, "free memory or descriptors", "bell %s: no page for it: %s", path, strerror(errno));
        return false;
    }
    b->mine = map;
    int err = listens ? listen_at(b, set) : 0;
    if (err != 0)
        port_fail(f,
                  err == EADDRINUSE ? "give each pair of engines a bell path of its own"
                                    : "name a path in a directory that the engine may write to",
                  "bell %s: cannot listen: %s", path, strerror(err));
    bell_service(b, set);
    return err == 0;
}

void bell_stop(struct bell *b)
{
    struct stat st;
    hang_up(b);
    if (b->listen_fd >= 0) {
        close(b->listen_fd);
        if (lstat(b->path, &st) == 0 && st.st_dev == b->bound_dev && st.st_ino == b->bound_ino)
            unlink(b->path);
    }
    if (b->mine != NULL)
        munmap(b->mine, sizeof *b->mine);
    if (b->page_fd >= 0)
        close(b->page_fd);
    *b = (struct bell){.listen_fd = -1, .conn = -1, .page_fd = -1};
}

void bell_service(struct bell *b, int set)
{
    if (b->listens || b->conn >= 0 || b->mine == NULL)
        return;
    struct sockaddr_un sun = address(b);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof sun) == 0)
        take(b, set, fd);
    else if (fd >= 0)
        close(fd);
}

void bell_event(struct bell *b, int set, int fd)
{
    if (fd == b->listen_fd) {
        /* The newest counts: the one before may be an engine that hangs. */
        int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (conn >= 0)
            take(b, set, conn);
        return;
    }
    for (int i = 0; fd == b->conn && i < 64 && receive(b); i++)
        ;
}

void bell_asleep(struct bell *b, bool asleep)
{
    uint32_t state = atomic_load_explicit(&b->mine->state, memory_order_relaxed);
    if ((state & 1) != asleep)
        atomic_store_explicit(&b->mine->state, state + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void bell_ring(struct bell *b)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t state = atomic_load_explicit(&b->theirs->state, memory_order_relaxed);
    if (!(state & 1) || state == b->rung)
        return;
    b->rung = state;
    /* EAGAIN: so many rings wait there that it is not asleep for want of one. */
    if (send(b->conn, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ENOBUFS)
        hang_up(b);
}
