/* SPDX-License-Identifier: BSD-3-Clause
 * An echo server whose sockets are the C library's and whose wait is not: epoll_pwait2 by an instruction of its own, as in Bun. With LIBC
 * defined, the same by the C library. own-waits PORT: serves until it is ended; 0: on descriptor 9, which listens. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wait_for(int set, struct epoll_event *events, int most)
{
#ifdef LIBC
    return epoll_wait(set, events, most, -1);
#else
    long r;
    register void *timeout __asm__("r10") = NULL;
    register void *mask __asm__("r8") = NULL;
    register long size __asm__("r9") = 8;

    __asm__ volatile("movl %1, %%eax\n\tsyscall"
                     : "=&a"(r)
                     : "i"(SYS_epoll_pwait2), "D"((long)set), "S"(events), "d"((long)most), "r"(timeout), "r"(mask), "r"(size)
                     : "rcx", "r11", "memory");
    return (int)r;
#endif
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
        exit(1);
}

static void serve(int fd)
{
    char data[4096];
    ssize_t got = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (got > 0 && send(fd, data, (size_t)got, MSG_NOSIGNAL) == got)
        return;
    close(fd);
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0)
        exit(1);
    return listener;
}

int main(int argc, char **argv)
{
    struct epoll_event events[16];
    uint16_t port = (uint16_t)atoi(argc > 1 ? argv[1] : "0");
    int listener = port != 0 ? listen_at(port) : 9, set = epoll_create1(0);

    watch(set, listener);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = wait_for(set, events, 16);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                watch(set, accept(listener, NULL, NULL));
            else
                serve(events[i].data.fd);
        }
    }
}
