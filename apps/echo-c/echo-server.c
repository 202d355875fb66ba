/* SPDX-License-Identifier: BSD-3-Clause */
/* echo-server PORT: sends back what it receives, any number of connections, epoll, one thread. */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Echoes once. Returns 0 when the connection is over. */
static int echo(int fd)
{
    char data[16384];
    ssize_t count = read(fd, data, sizeof(data));

    if (count < 0)
        return errno == EINTR || errno == EAGAIN;
    for (ssize_t done = 0; done < count;) {
        ssize_t written = send(fd, data + done, (size_t)(count - done), MSG_NOSIGNAL);

        if (written < 0 && errno != EINTR)
            return 0;
        if (written > 0)
            done += written;
    }
    return count > 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: echo-server PORT\n");
        return 2;
    }
    exit_on_signals();

    int listener = listen_at((int)number(argv[1], "PORT", 1, 65535));
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll");
    printf("listening on %s\n", argv[1]);
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(set, ready, 64, -1);

        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;

            if (fd != listener) {
                if (!echo(fd))
                    close(fd);
                continue;
            }
            event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (event.data.fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
                close(event.data.fd);
        }
    }
}
