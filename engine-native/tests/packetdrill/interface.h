/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What packetdrill asks of a stack in a shared object (`packetdrill --so_filename=...`): the object exports
 * packetdrill_interface_init(), which fills in this table. The order of its members is packetdrill's binary interface. Socket
 * calls return -1 with errno, as the system calls whose names they have. */
#ifndef ZSTACK_PACKETDRILL_INTERFACE_H
#define ZSTACK_PACKETDRILL_INTERFACE_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

struct packetdrill_interface {
    void *userdata; /* the first argument of all that follow */
    void (*free)(void *u);
    int (*socket)(void *u, int domain, int type, int protocol);
    int (*bind)(void *u, int fd, const struct sockaddr *addr, socklen_t len);
    int (*listen)(void *u, int fd, int backlog);
    int (*accept)(void *u, int fd, struct sockaddr *addr, socklen_t *len);
    int (*connect)(void *u, int fd, const struct sockaddr *addr, socklen_t len);
    ssize_t (*read)(void *u, int fd, void *buf, size_t n);
    ssize_t (*readv)(void *u, int fd, const struct iovec *iov, int niov);
    ssize_t (*recv)(void *u, int fd, void *buf, size_t n, int flags);
    ssize_t (*recvfrom)(void *u, int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
    ssize_t (*recvmsg)(void *u, int fd, struct msghdr *msg, int flags);
    ssize_t (*write)(void *u, int fd, const void *buf, size_t n);
    ssize_t (*writev)(void *u, int fd, const struct iovec *iov, int niov);
    ssize_t (*send)(void *u, int fd, const void *buf, size_t n, int flags);
    ssize_t (*sendto)(void *u, int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
    ssize_t (*sendmsg)(void *u, int fd, const struct msghdr *msg, int flags);
    int (*fcntl)(void *u, int fd, int cmd, ...);
    int (*ioctl)(void *u, int fd, unsigned long request, ...);
    int (*close)(void *u, int fd);
    int (*shutdown)(void *u, int fd, int how);
    int (*getsockopt)(void *u, int fd, int level, int name, void *val, socklen_t *len);
    int (*setsockopt)(void *u, int fd, int level, int name, const void *val, socklen_t len);
    int (*poll)(void *u, struct pollfd *fds, nfds_t n, int timeout_ms);
    /* An IP packet for the stack. 0, or -1. */
    int (*netdev_send)(void *u, const void *packet, size_t len);
    /* The next IP packet from the stack; *len is the buffer's size, then the packet's, 0: none will come. *us: when it left. */
    int (*netdev_receive)(void *u, void *packet, size_t *len, long long *us);
    int (*usleep)(void *u, useconds_t us);
    int (*gettimeofday)(void *u, struct timeval *tv, struct timezone *tz);
    int (*epoll_create)(void *u, int size);
    int (*epoll_ctl)(void *u, int epfd, int op, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *u, int epfd, struct epoll_event *events, int n, int timeout_ms);
    int (*pipe)(void *u, int fds[2]);
    int (*splice)(void *u, int in, loff_t *in_at, int out, loff_t *out_at, size_t n, unsigned flags);
};

__attribute__((visibility("default"))) void packetdrill_interface_init(const char *flags, struct packetdrill_interface *table);

#endif
