// SPDX-License-Identifier: BSD-3-Clause
/* A program that no library is preloaded into (built with -static). It has a socket as descriptor argv[2] and
 *   accept    serves connections one after the other, echoing each
 *   echo      echoes one connection until it ends
 *   datagram  answers one datagram with itself
 *   reset     reads something, then resets the connection
 * It waits as a program does that was given a blocking socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void echo(int in, int out)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(in, buf, sizeof buf)) > 0)
        for (ssize_t at = 0, put; at < n; at += put)
            if ((put = write(out, buf + at, (size_t)(n - at))) <= 0)
                fail("write");
    if (n < 0)
        fail("read");
}

static void datagram(int fd)
{
    char buf[2048];
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
    if (n < 0 || sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len) != n)
        fail("datagram");
}

static void reset(int fd)
{
    char byte;
    const struct linger now = {.l_onoff = 1};
    if (read(fd, &byte, 1) != 1 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) != 0)
        fail("reset");
    close(fd);
}

int main(int argc, char **argv)
{
    int fd = argc == 3 ? atoi(argv[2]) : -1;
    if (fd < 0)
        return 2;
    if (strcmp(argv[1], "echo") == 0)
        echo(fd, fd == 0 ? 1 : fd);
    else if (strcmp(argv[1], "datagram") == 0)
        datagram(fd);
    else if (strcmp(argv[1], "reset") == 0)
        reset(fd);
    else
        for (;;) {
            int c = accept(fd, NULL, NULL);
            if (c < 0)
                fail("accept");
            echo(c, c);
            close(c);
        }
    return 0;
}
