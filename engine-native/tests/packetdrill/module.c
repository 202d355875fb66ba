/* SPDX-License-Identifier: BSD-3-Clause
 * packetdrill's table of functions over the stack: `packetdrill --so_filename=zstack_packetdrill.so SCRIPT`. See interface.h. */
#include "pd.h"

#include <errno.h>
#include <sys/mman.h>

static int result(long r)
{
    if (r >= 0)
        return (int)r;
    errno = (int)-r;
    return -1;
}

/* The call with the lock held, of the socket `s` that fd names. */
#define CALL(fd, expression)                        \
    do {                                            \
        struct pd *p = u;                           \
        pthread_mutex_lock(&p->lock);               \
        struct pd_sock *s = pd_at(p, fd);           \
        long r = s == NULL ? -EBADF : (expression); \
        pthread_mutex_unlock(&p->lock);             \
        return result(r);                           \
    } while (0)

static int on_socket(void *u, int domain, int type, int protocol)
{
    struct pd *p = u;
    (void)protocol;
    pthread_mutex_lock(&p->lock);
    int r = pd_socket(p, domain, type);
    pthread_mutex_unlock(&p->lock);
    return result(r);
}

static int on_bind(void *u, int fd, const struct sockaddr *addr, socklen_t len)
{
    CALL(fd, pd_bind(s, addr, len));
}

static int on_listen(void *u, int fd, int backlog)
{
    CALL(fd, pd_listen(s, backlog));
}

static int on_accept(void *u, int fd, struct sockaddr *addr, socklen_t *len)
{
    CALL(fd, pd_accept(s, addr, len));
}

static int on_connect(void *u, int fd, const struct sockaddr *addr, socklen_t len)
{
    CALL(fd, pd_connect(s, addr, len));
}

static ssize_t on_read(void *u, int fd, void *buf, size_t n)
{
    const struct iovec iov = {buf, n};
    CALL(fd, pd_recv(s, &iov, 1, 0));
}

static ssize_t on_readv(void *u, int fd, const struct iovec *iov, int niov)
{
    CALL(fd, pd_recv(s, iov, niov, 0));
}

static ssize_t on_recv(void *u, int fd, void *buf, size_t n, int flags)
{
    const struct iovec iov = {buf, n};
    CALL(fd, pd_recv(s, &iov, 1, flags));
}

static ssize_t on_recvfrom(void *u, int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
    const struct iovec iov = {buf, n};
    (void)addr;
    if (len != NULL)
        *len = 0; /* as of a stream */
    CALL(fd, pd_recv(s, &iov, 1, flags));
}

static ssize_t on_recvmsg(void *u, int fd, struct msghdr *msg, int flags)
{
    msg->msg_namelen = 0;
    msg->msg_controllen = 0;
    msg->msg_flags = 0;
    CALL(fd, pd_recv(s, msg->msg_iov, (int)msg->msg_iovlen, flags));
}

static ssize_t on_write(void *u, int fd, const void *buf, size_t n)
{
    const struct iovec iov = {(void *)buf, n};
    CALL(fd, pd_send(s, &iov, 1, 0, NULL, 0));
}

static ssize_t on_writev(void *u, int fd, const struct iovec *iov, int niov)
{
    CALL(fd, pd_send(s, iov, niov, 0, NULL, 0));
}

static ssize_t on_send(void *u, int fd, const void *buf, size_t n, int flags)
{
    const struct iovec iov = {(void *)buf, n};
    CALL(fd, pd_send(s, &iov, 1, flags, NULL, 0));
}

static ssize_t on_sendto(void *u, int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    const struct iovec iov = {(void *)buf, n};
    CALL(fd, pd_send(s, &iov, 1, flags, addr, len));
}

static ssize_t on_sendmsg(void *u, int fd, const struct msghdr *msg, int flags)
{
    CALL(fd, pd_send(s, msg->msg_iov, (int)msg->msg_iovlen, flags, msg->msg_name, msg->msg_namelen));
}

static int on_fcntl(void *u, int fd, int cmd, ...)
{
    va_list args;
    va_start(args, cmd);
    long arg = va_arg(args, long);
    va_end(args);
    CALL(fd, pd_fcntl(s, cmd, arg));
}

static int on_ioctl(void *u, int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    int *val = va_arg(args, int *);
    va_end(args);
    CALL(fd, pd_ioctl(s, request, val));
}

static int on_close(void *u, int fd)
{
    CALL(fd, pd_close(p, fd));
}

static int on_shutdown(void *u, int fd, int how)
{
    CALL(fd, pd_shutdown(s, how));
}

static int on_getsockopt(void *u, int fd, int level, int name, void *val, socklen_t *len)
{
    CALL(fd, pd_getsockopt(s, level, name, val, len));
}

static int on_setsockopt(void *u, int fd, int level, int name, const void *val, socklen_t len)
{
    CALL(fd, pd_setsockopt(s, level, name, val, len));
}

static int on_poll(void *u, struct pollfd *fds, nfds_t n, int timeout_ms)
{
    struct pd *p = u;
    pthread_mutex_lock(&p->lock);
    int r = pd_poll(p, fds, n, timeout_ms);
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* ---- What this binding does not have: a script that needs it fails with ENOSYS ---- */

static int no_epoll_create(void *u, int size)
{
    (void)u, (void)size;
    return result(-ENOSYS);
}

static int no_epoll_ctl(void *u, int epfd, int op, int fd, struct epoll_event *event)
{
    (void)u, (void)epfd, (void)op, (void)fd, (void)event;
    return result(-ENOSYS);
}

static int no_epoll_wait(void *u, int epfd, struct epoll_event *events, int n, int timeout_ms)
{
    (void)u, (void)epfd, (void)events, (void)n, (void)timeout_ms;
    return result(-ENOSYS);
}

static int no_pipe(void *u, int fds[2])
{
    (void)u, (void)fds;
    return result(-ENOSYS);
}

static int no_splice(void *u, int in, loff_t *in_at, int out, loff_t *out_at, size_t n, unsigned flags)
{
    (void)u, (void)in, (void)in_at, (void)out, (void)out_at, (void)n, (void)flags;
    return result(-ENOSYS);
}

/* ---- Begin and end ---- */

static void on_free(void *u)
{
    struct pd *p = u;
    pthread_mutex_lock(&p->lock);
    pd_tell(p);
    pd_close_all(p);
    pd_wire_close(p);
    pd_forget_closed(p);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->moved);
    free(p);
}

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *table)
{
    struct pd *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->counters = flags != NULL && strcmp(flags, "counters") == 0;
    STAILQ_INIT(&p->sent);
    STAILQ_INIT(&p->answers);
    TAILQ_INIT(&p->closed);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, NULL);
    p->script = pthread_self();
    munlockall(); /* packetdrill locks what will be mapped, and the arena is 13 GiB of addresses. Time is virtual: faults cost none */
    bed_start(&p->bed);
    pd_wire_open(p);
    *table = (struct packetdrill_interface){
        .userdata = p, .free = on_free, .socket = on_socket, .bind = on_bind, .listen = on_listen, .accept = on_accept,
        .connect = on_connect, .read = on_read, .readv = on_readv, .recv = on_recv, .recvfrom = on_recvfrom,
        .recvmsg = on_recvmsg, .write = on_write, .writev = on_writev, .send = on_send, .sendto = on_sendto,
        .sendmsg = on_sendmsg, .fcntl = on_fcntl, .ioctl = on_ioctl, .close = on_close, .shutdown = on_shutdown,
        .getsockopt = on_getsockopt, .setsockopt = on_setsockopt, .poll = on_poll, .netdev_send = pd_netdev_send,
        .netdev_receive = pd_netdev_receive, .usleep = pd_usleep, .gettimeofday = pd_gettimeofday,
        .epoll_create = no_epoll_create, .epoll_ctl = no_epoll_ctl, .epoll_wait = no_epoll_wait, .pipe = no_pipe,
        .splice = no_splice};
}
