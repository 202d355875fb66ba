/* SPDX-License-Identifier: BSD-3-Clause
 * sendfile, splice and the ioctls about queues. */
#include "lib.h"

#include <linux/sockios.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static int file_of(size_t size)
{
    int fd = OK(memfd_create("file", MFD_CLOEXEC));
    for (size_t i = 0; i < size; i++) {
        static uint8_t block[4096];
        block[i % sizeof block] = pattern(i);
        if (i % sizeof block == sizeof block - 1 || i + 1 == size)
            write_all(fd, block, i % sizeof block + 1);
    }
    OK(lseek(fd, 0, SEEK_SET));
    return fd;
}

static void expect(int fd, size_t from, size_t n)
{
    uint8_t buf[10000];
    CHECK(n <= sizeof buf);
    read_exact(fd, buf, n);
    for (size_t i = 0; i < n; i++)
        CHECK(buf[i] == pattern(from + i));
}

static void sendfile_offset(void)
{
    int p[2], file = file_of(10000);
    off_t off = 1000;
    tcp_pair(p);
    R(sendfile(p[0], file, &off, 500));
    trace("offset %ld, position %ld", (long)off, (long)lseek(file, 0, SEEK_CUR));
    expect(p[1], 1000, 500);
    R(sendfile(p[0], file, NULL, 2000));
    trace("position %ld", (long)lseek(file, 0, SEEK_CUR));
    expect(p[1], 0, 2000);
    off = 9900;
    R(sendfile(p[0], file, &off, 100000));
    trace("offset %ld", (long)off);
    expect(p[1], 9900, 100);
    R(sendfile(p[0], file, &off, 10));
    R(sendfile(p[0], file, NULL, 0));
    off = 20000;
    R(sendfile(p[0], file, &off, 10));
    off = -1;
    R(sendfile(p[0], file, &off, 10));
    OK(close(file));
    done(p);
}

/* What is written to a peer that closed is taken as far as the send buffer goes, the file's position with it; then EPIPE. */
static void sendfile_closed(void)
{
    int p[2], small = 4096, size = 300000, file = file_of((size_t)size);
    tcp_pair(p);
    OK(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    OK(close(p[1]));
    show_poll("closed", p[0], POLLRDHUP, 2000);
    signal(SIGPIPE, SIG_IGN);
    long r = OK(sendfile(p[0], file, NULL, (size_t)size));
    trace("a part %d, position as told %d", r > 0 && r < size, lseek(file, 0, SEEK_CUR) == r);
    R(sendfile(p[0], file, NULL, (size_t)size));
    OK(close(p[0]));
    tcp_pair(p);
    OK(close(p[1]));
    show_poll("closed", p[0], POLLRDHUP, 2000);
    OK(lseek(file, size - 100, SEEK_SET));
    R(sendfile(p[0], file, NULL, (size_t)size));
    R(sendfile(p[0], file, NULL, (size_t)size));
    OK(close(p[0]));
    OK(close(file));
}

static void sendfile_errors(void)
{
    int p[2], file = file_of(100), zero = OK(open("/dev/zero", O_RDONLY)), null = OK(open("/dev/null", O_WRONLY));
    int dir = OK(open("/", O_RDONLY | O_DIRECTORY));
    off_t off = 0;
    tcp_pair(p);
    R(sendfile(p[0], -1, &off, 10));
    R(sendfile(-1, file, &off, 10));
    R(sendfile(p[0], null, NULL, 10));
    R(sendfile(p[0], dir, NULL, 10));
    R(sendfile(p[0], p[1], NULL, 10));
    R(sendfile(p[0], zero, NULL, 1000));
    char buf[1000];
    read_exact(p[1], buf, 1000);
    OK(close(p[1]));
    settle();
    handler(SIGPIPE, SIG_IGN, 0);
    R(sendfile(p[0], file, &off, 10));
    settle();
    R(sendfile(p[0], file, &off, 10));
    OK(close(p[0]));
    OK(close(file));
    OK(close(zero));
    OK(close(null));
    OK(close(dir));
}

static void *read_slowly(void *arg)
{
    uint8_t buf[70000];
    uint64_t at = 0;
    ssize_t n;
    while ((n = OK(read(*(int *)arg, buf, sizeof buf))) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            CHECK(buf[i] == pattern(at));
    trace("received %llu", (unsigned long long)at);
    return NULL;
}

static void sendfile_large(void)
{
    int p[2], file = file_of(20000000);
    off_t off = 0;
    tcp_pair(p);
    set_nonblock(p[0], true);
    ssize_t n = sendfile(p[0], file, &off, 20000000); /* nobody reads: a part */
    trace("a part %d, offset agrees %d", n > 0 && n < 20000000, off == n);
    R(sendfile(p[0], file, &off, 20000000));
    trace("offset kept %d", off == n);
    set_nonblock(p[0], false);
    pthread_t t = thread(read_slowly, &p[1]);
    while (off < 20000000)
        OK(sendfile(p[0], file, &off, 20000000 - (size_t)off));
    OK(shutdown(p[0], SHUT_WR));
    join(t);
    OK(close(file));
    done(p);
}

static void splice_both(void)
{
    int p[2], pipefd[2];
    char buf[16] = "";
    tcp_pair(p);
    OK(pipe(pipefd));
    R(write(pipefd[1], "through a pipe", 14));
    R(splice(pipefd[0], NULL, p[0], NULL, 100, 0));
    settle();
    R(splice(p[1], NULL, pipefd[1], NULL, 7, 0));
    R(read(pipefd[0], buf, 15));
    trace("%s", buf);
    show_recv("the rest", p[1]);
    set_nonblock(p[1], true);
    R(splice(p[1], NULL, pipefd[1], NULL, 7, 0));
    set_nonblock(p[1], false);
    loff_t off = 0;
    R(splice(p[1], &off, pipefd[1], NULL, 7, 0));
    R(splice(p[1], NULL, p[0], NULL, 7, 0));
    OK(close(p[0]));
    settle();
    R(splice(p[1], NULL, pipefd[1], NULL, 7, 0));
    OK(close(p[1]));
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
}

static int queue(int fd, unsigned long req)
{
    int n = -1;
    OK(ioctl(fd, req, &n));
    return n;
}

static void queues(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    trace("empty: in %d out %d mark %d", queue(p[1], FIONREAD), queue(p[0], SIOCOUTQ), queue(p[1], SIOCATMARK));
    send_text(p[0], "12345678");
    settle();
    trace("sent: in %d out %d", queue(p[1], SIOCINQ), queue(p[1], SIOCOUTQ));
    read_exact(p[1], buf, 3);
    trace("read 3: in %d, mark %d", queue(p[1], FIONREAD), sockatmark(p[1]));
    OK(close(p[0]));
    settle();
    trace("closed: in %d", queue(p[1], FIONREAD));
    read_exact(p[1], buf, 5);
    trace("at the end: in %d", queue(p[1], FIONREAD));
    OK(close(p[1]));
}

static void queue_listener(void)
{
    struct addr a;
    int n = 0, l = tcp_listen(AF_INET, 1, &a);
    R(ioctl(l, FIONREAD, &n));
    R(ioctl(l, SIOCOUTQ, &n));
    OK(close(l));
}

static int both_ways[2], spliced[2];
static _Atomic bool reads_over;

static void *splices(void *arg)
{
    static const char chunk[65536];
    struct pollfd room = {.fd = both_ways[0], .events = POLLOUT};
    while (!reads_over) {
        (void)write(spliced[1], chunk, sizeof chunk);
        if (splice(spliced[0], NULL, both_ways[0], NULL, sizeof chunk, SPLICE_F_NONBLOCK) < 0)
            poll(&room, 1, 10);
    }
    return arg;
}

static void *drains(void *arg)
{
    char buf[8192];
    while (read(both_ways[1], buf, sizeof buf) > 0)
        ;
    return arg;
}

/* While one thread splices to a connection, another one's read does not wait: no descriptor is made blocking for it. */
static void splice_and_read(void)
{
    int waited = 0;
    char c;
    tcp_pair(both_ways);
    set_nonblock(both_ways[0], true);
    OK(pipe2(spliced, O_NONBLOCK));
    pthread_t writer = thread(splices, NULL), reader = thread(drains, NULL);
    for (int64_t until = now_ms() + 500; now_ms() < until;)
        waited += recv(both_ways[0], &c, 1, 0) >= 0 || errno != EAGAIN;
    trace("reads that were not told EAGAIN: %d", waited);
    reads_over = true;
    join(writer);
    OK(shutdown(both_ways[0], SHUT_WR));
    join(reader);
    for (int i = 0; i < 2; i++) {
        OK(close(both_ways[i]));
        OK(close(spliced[i]));
    }
}

const struct conf_case files_cases[] = {
    {"tcp_sendfile", sendfile_offset, TCP, NULL},
    {"tcp_sendfile_closed", sendfile_closed, TCP, NULL},
    {"tcp_sendfile_errors", sendfile_errors, TCP, NULL},
    {"tcp_sendfile_large", sendfile_large, TCP, NULL},
    {"tcp_splice", splice_both, TCP, NULL},
    {"tcp_splice_and_read", splice_and_read, TCP, NULL},
    {"tcp_ioctl_queues", queues, TCP, NULL},
    {"tcp_ioctl_listener", queue_listener, LISTEN, NULL},
    {0},
};
