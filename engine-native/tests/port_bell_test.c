/* SPDX-License-Identifier: BSD-3-Clause
 * The bell of a memif alone: enemies at its other end, and whose its file is. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../port/internal.h"
#include "port_bed.h"

static struct sockaddr_un bell_address(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    return sun;
}

static void bell_events(struct bell *b, int set)
{
    struct epoll_event e[4];
    for (int n; (n = epoll_wait(set, e, 4, 20)) > 0;)
        for (int i = 0; i < n; i++)
            bell_event(b, set, e[i].data.fd);
}

static int page(size_t size, int seals)
{
    int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int dial(const char *path)
{
    struct sockaddr_un sun = bell_address(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    return fd;
}

static void greet(int conn, const void *data, size_t len, const int *fds, size_t n)
{
    struct iovec io = {(void *)data, len};
    char control[CMSG_SPACE(sizeof(int) * 8)] = "";
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1};
    if (n > 0) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_len = CMSG_LEN(sizeof(int) * n);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
    }
    assert_int_equal(sendmsg(conn, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

/* Whatever comes, the bell lives, keeps no descriptor, never blocks, and takes the next that is right. */
static void test_bell_enemies(void **state)
{
    static const uint32_t hello[2] = {0x6c6c6562, 1}, version[2] = {0x6c6c6562, 2}, magic[2] = {1, 1};
    const char *path = "/tmp/zsbell_test";
    char name[64];
    struct port_failure f;
    struct bell b;
    struct bed_fds before;
    (void)state;
    snprintf(name, sizeof name, "%s%d", path, (int)getpid());
    int set = epoll_create1(EPOLL_CLOEXEC);
    int none = page(4096, F_SEAL_SEAL), little = page(100, F_SEAL_SHRINK), good = page(4096, F_SEAL_SHRINK);
    int many[8] = {good, good, good, good, good, good, good, good};
    const struct {
        const void *data;
        size_t len;
        const int *fds;
        size_t n;
    } bad[] = {{"", 1, NULL, 0},         {hello, 8, NULL, 0},   {hello, 8, &none, 1},   {hello, 8, &little, 1},
               {version, 8, &good, 1},   {magic, 8, &good, 1},  {hello, 7, &good, 1},   {hello, 8, &set, 1},
               {"0123456789", 10, many, 8}};
    assert_true(bell_start(&b, name, true, set, &f));
    bed_fds(&before);
    for (size_t i = 0; i < RTE_DIM(bad); i++) {
        int conn = dial(name);
        greet(conn, bad[i].data, bad[i].len, bad[i].fds, bad[i].n);
        bell_events(&b, set);
        assert_false(b.up);
        assert_int_equal(b.conn, -1);
        close(conn);
        assert_true(bed_no_new_fds(&before));
    }
    /* One that is right rings without end, writes nonsense into its page and reads nothing. */
    int conn = dial(name);
    greet(conn, hello, 8, &good, 1);
    bell_events(&b, set);
    assert_true(b.up);
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, good, 0);
    for (uint32_t i = 0; i < 5000; i++) {
        *word = i * 2654435761u | 1;
        bell_ring(&b);
        send(conn, "", 1, MSG_DONTWAIT);
        if (i % 50 == 0)
            bell_events(&b, set);
    }
    bell_events(&b, set);
    assert_true(b.up);
    /* The next one takes its place, and its end is noticed. */
    int other = dial(name);
    greet(other, hello, 8, &good, 1);
    bell_events(&b, set);
    assert_true(b.up);
    close(other);
    bell_events(&b, set);
    assert_false(b.up);
    munmap((void *)word, 4096);
    close(conn);
    bell_stop(&b);
    assert_int_equal(access(name, F_OK), -1);
    close(set);
    close(none);
    close(little);
    close(good);
}

/* A socket file is taken over from the dead only, and removed only by the one that made it. */
static void test_bell_file(void **state)
{
    char name[64];
    struct port_failure f;
    struct bell one, two;
    (void)state;
    snprintf(name, sizeof name, "/tmp/zsbell_file%d", (int)getpid());
    struct sockaddr_un sun = bell_address(name);
    int set = epoll_create1(EPOLL_CLOEXEC), dead = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&sun, sizeof sun), 0);
    close(dead);
    assert_true(bell_start(&one, name, true, set, &f));
    assert_false(bell_start(&two, name, true, set, &f));
    assert_non_null(strstr(f.text, name));
    assert_non_null(strstr(f.hint, "bell path"));
    bell_stop(&two);
    assert_int_equal(access(name, F_OK), 0);
    bell_stop(&one);
    assert_int_equal(access(name, F_OK), -1);
    assert_false(bell_start(&two, "/nonexistent/bell", true, set, &f));
    bell_stop(&two);
    /* A client waits for its server. */
    assert_true(bell_start(&two, name, false, set, &f));
    assert_int_equal(two.conn, -1);
    assert_true(bell_start(&one, name, true, set, &f));
    bell_service(&two, set);
    for (int i = 0; i < 100 && !(one.up && two.up); i++) {
        bell_event(&one, set, i % 2 != 0 ? one.listen_fd : one.conn);
        bell_event(&two, set, two.conn);
    }
    assert_true(one.up && two.up);
    bell_asleep(&two, true);
    bell_ring(&one);
    struct pollfd fd = {.fd = two.conn, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 1000), 1);
    bell_stop(&one);
    bell_stop(&two);
    close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bell_enemies),
        cmocka_unit_test(test_bell_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
