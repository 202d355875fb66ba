/* SPDX-License-Identifier: BSD-3-Clause
 * What servers do at their start: give up rights, leave the terminal, close everything, take sockets over. */
#include "lib.h"

#include <grp.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>

extern char **environ;

static void works(const char *what)
{
    int p[2];
    char buf[6] = "";
    tcp_pair(p);
    send_text(p[0], "hello");
    read_exact(p[1], buf, 5);
    OK(close(p[0]));
    char byte;
    long n = OK(read(p[1], &byte, 1));
    trace("%s: %s, end %ld", what, buf, n);
    OK(close(p[1]));
}

static void after_chroot(void)
{
    char path[] = "/tmp/zstack-chroot-XXXXXX";
    int p[2];
    char buf[6] = "";
    tcp_pair(p);
    CHECK(mkdtemp(path) != NULL);
    int root = OK(open("/", O_RDONLY | O_DIRECTORY));
    R(chroot(path) < 0 ? errno : 0);
    OK(chdir("/"));
    send_text(p[0], "hello");
    read_exact(p[1], buf, 5);
    trace("%s", buf);
    works("a new connection");
    OK(fchdir(root));
    chroot(".");
    rmdir(path);
    int fds[] = {root, p[0], p[1]};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void connects_to(void *arg)
{
    int s = tcp_connect(arg);
    send_text(s, "hello");
    OK(close(s));
}

/* A server that listens as root and goes on as somebody else. */
static void after_setuid(void)
{
    struct addr a;
    char buf[6] = "";
    int l = tcp_listen(AF_INET, 4, &a);
    trace("groups %d", setgroups(0, NULL) == 0 || errno == EPERM);
    if (getuid() == 0) {
        OK(setgid(65534));
        OK(setuid(65534));
    }
    pid_t pid = child(connects_to, &a);
    int c = tcp_accept(l);
    read_exact(c, buf, 5);
    trace("%s", buf);
    reap(pid);
    works("a new connection");
    OK(close(c));
    OK(close(l));
}

static void daemonizes(void *arg)
{
    int *p = arg;
    char buf[64];
    ssize_t n;
    OK(daemon(1, 1)); /* it forks once more, and the first child exits */
    OK(close(p[0]));
    while ((n = OK(read(p[1], buf, sizeof buf))) > 0)
        write_all(p[1], buf, (size_t)n);
}

static void daemon_goes_on(void)
{
    int p[2];
    char buf[6] = "";
    tcp_pair(p);
    pid_t pid = child(daemonizes, p);
    OK(close(p[1]));
    reap(pid);
    send_text(p[0], "hello");
    read_exact(p[0], buf, 5);
    trace("%s", buf);
    OK(shutdown(p[0], SHUT_WR));
    R(read(p[0], buf, 1));
    OK(close(p[0]));
}

/* Everything above the standard streams goes, in each way that programs know; what is opened then works. */
static void closes_all(void *arg)
{
    int p[2];
    struct rlimit r;
    tcp_pair(p);
    OK(dup2(p[1], 0)); /* the other end shows what was closed */
    OK(getrlimit(RLIMIT_NOFILE, &r));
    int top = r.rlim_cur < 70000 ? (int)r.rlim_cur : 70000;
    switch (*(int *)arg) {
    case 0:
        for (int fd = 3; fd < top; fd++)
            close(fd);
        break;
    case 1:
        OK(close_range(3, ~0u, 0));
        break;
    case 2:
        closefrom(3);
        break;
    default:
        OK(syscall(SYS_close_range, 3, ~0u, 0));
    }
    show_poll("the other end", 0, POLLIN | POLLRDHUP, 2000);
    show_recv("the other end", 0);
    int first = OK(socket(AF_INET, SOCK_STREAM, 0));
    trace("the first free number %d", first);
    OK(close(first));
    works("afterwards");
}

static void close_all(void)
{
    works("before");
    for (int way = 0; way < 4; way++)
        reap(child(closes_all, &way));
    works("in the end");
}

static void limits(void)
{
    struct rlimit was, r;
    int p[2];
    char buf[6] = "";
    OK(getrlimit(RLIMIT_NOFILE, &was));
    tcp_pair(p);
    r = was;
    r.rlim_cur = 64;
    OK(setrlimit(RLIMIT_NOFILE, &r));
    works("a low limit");
    R(fcntl(p[0], F_DUPFD, 64));
    r.rlim_cur = r.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &r));
    works("a high limit");
    int wrong = 0;
    for (int i = 1; i <= 200; i++) { /* the numbers that the library may have for itself */
        int fd = (int)r.rlim_max - i;
        wrong += dup2(p[0], fd) != fd;
    }
    trace("not to be had: %d", wrong);
    works("with the highest numbers taken");
    send_text((int)r.rlim_max - 7, "hello");
    read_exact(p[1], buf, 5);
    trace("%s", buf);
    for (int i = 1; i <= 200; i++)
        OK(close((int)r.rlim_max - i));
    works("with them free again");
    OK(setrlimit(RLIMIT_NOFILE, &was));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void high_numbers(void)
{
    int p[2], high = 5000;
    static uint8_t rd[1024], wr[1024];
    struct rlimit was, r;
    OK(getrlimit(RLIMIT_NOFILE, &was));
    r = was;
    r.rlim_cur = r.rlim_max < 8192 ? r.rlim_max : 8192;
    OK(setrlimit(RLIMIT_NOFILE, &r));
    tcp_pair(p);
    OK(dup2(p[1], high));
    OK(close(p[1]));
    int ep = OK(epoll_create1(0));
    ep_add(ep, high, EPOLLIN, 7);
    show_poll("nothing", high, POLLIN | POLLOUT, 0);
    send_text(p[0], "hello");
    show_poll("data", high, POLLIN | POLLOUT, 2000);
    show_epoll("data", ep, 2000);
    rd[high / 8] = wr[high / 8] = (uint8_t)(1 << (high % 8)); /* more than an fd_set: the kernel takes it */
    struct timeval t = {.tv_sec = 2};
    R(syscall(SYS_select, high + 1, rd, wr, NULL, &t));
    trace("readable %d writable %d", rd[high / 8] != 0, wr[high / 8] != 0);
    show_recv("data", high);
    OK(close(high));
    show_poll("end", p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("end", p[0]);
    OK(close(ep));
    OK(close(p[0]));
    OK(setrlimit(RLIMIT_NOFILE, &was));
}

/* As many connections as the limit allows, but for the few numbers that a library may have; each works. */
static void takes_all(void *arg)
{
    const int numbers = *(int *)arg, spared = 16;
    struct rlimit r = {.rlim_cur = (rlim_t)numbers, .rlim_max = (rlim_t)numbers};
    static int near[2000], far[2000];
    struct addr a;
    int n = 0, s, broken = 0;
    char byte;
    OK(setrlimit(RLIMIT_NOFILE, &r));
    int l = tcp_listen(AF_INET, 16, &a);
    while ((s = socket(AF_INET, SOCK_STREAM, 0)) >= 0) {
        OK(connect(s, SA(&a), a.len));
        int c = accept(l, NULL, NULL);
        if (c < 0) {
            OK(close(s));
            break;
        }
        near[n] = s;
        far[n++] = c;
    }
    trace("then %s", err_name(errno));
    for (int i = 0; i < n; i++) {
        send_text(near[i], "x");
        broken += read(far[i], &byte, 1) != 1;
    }
    trace("nearly all numbers are connections: %d, broken %d", 2 * n >= numbers - spared, broken);
    for (int i = 0; i < n; i++) {
        OK(close(near[i]));
        OK(close(far[i]));
    }
    works("afterwards");
}

static void all_numbers(void)
{
    works("before");
    for (int numbers = 400; numbers <= 2000; numbers += 1600)
        reap(child(takes_all, &numbers));
}

/* Until no number is left; one that comes free is the next one's, and then there is none for the connection it makes. */
static void until_none(void *arg)
{
    struct rlimit r = {400, 400};
    static int taken[400];
    const bool by_fcntl = *(bool *)arg;
    int warm[10][2], n = 0, fd;
    struct addr a;
    OK(setrlimit(RLIMIT_NOFILE, &r));
    int l = tcp_listen(AF_INET, 16, &a);
    for (int i = 0; i < 10; i++)
        tcp_pair(warm[i]);
    for (int i = 0; i < 10; i++) {
        OK(close(warm[i][0]));
        OK(close(warm[i][1]));
    }
    while ((fd = by_fcntl ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : dup(STDERR_FILENO)) >= 0)
        taken[n++] = fd;
    trace("no more: %s", err_name(errno));
    OK(close(taken[--n]));
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect(s, SA(&a), a.len));
    R(accept(l, NULL, NULL));
    R(socket(AF_INET, SOCK_STREAM, 0));
    R(socket(AF_INET, SOCK_DGRAM, 0));
    OK(close(taken[--n]));
    int c = F(accept(l, NULL, NULL));
    send_text(s, "x");
    show_recv("accepted then", c);
    for (int i = 0; i < n; i++)
        OK(close(taken[i]));
    works("afterwards");
}

static void no_number_left(void)
{
    works("before");
    for (int i = 0; i < 2; i++) {
        bool by_fcntl = i;
        reap(child(until_none, &by_fcntl));
    }
}

/* sd_listen_fds(3): listeners at 3 and 4, named by LISTEN_FDS, and nothing else. */
static void activate(void *arg)
{
    int *l = arg;
    char pid[16];
    char *args[] = {"conformance", "--inherited", "activated", "3", NULL};
    int high[2] = {OK(fcntl(l[0], F_DUPFD, 20)), OK(fcntl(l[1], F_DUPFD, 20))};
    OK(dup2(high[0], 3));
    OK(dup2(high[1], 4));
    OK(close_range(5, ~0u, 0));
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    execv(self_path, args);
    fail("execv: %s", err_name(errno));
}

static void socket_activation(void)
{
    struct addr a[2];
    int l[2] = {tcp_listen(AF_INET, 4, &a[0]), tcp_listen(AF_INET6, 4, &a[1])};
    char buf[16] = "";
    int early = tcp_connect(&a[0]); /* the manager starts the service for it */
    pid_t pid = child(activate, l);
    read_exact(early, buf, 9);
    trace("%s", buf);
    int s = tcp_connect(&a[1]);
    read_exact(s, buf, 9);
    trace("%s", buf);
    reap(pid);
    int again = tcp_connect(&a[0]); /* the manager has the listener still */
    int c = tcp_accept(l[0]);
    send_text(again, "for the manager");
    show_poll("manager", c, POLLIN, 2000);
    show_recv("manager", c);
    int fds[] = {early, s, again, c, l[0], l[1]};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

/* As inetd: the connection is all three standard streams of a shell. */
static void serve_by_shell(void *arg)
{
    int *p = arg;
    char *args[] = {"sh", "-c", "read line; echo \"out $line\"; echo \"err $line\" >&2; exit 3", NULL};
    for (int fd = 0; fd < 3; fd++)
        OK(dup2(p[1], fd));
    OK(close_range(3, ~0u, 0));
    execv("/bin/sh", args);
    _exit(99);
}

static void inetd(void)
{
    int p[2];
    char buf[64] = "";
    tcp_pair(p);
    pid_t pid = child(serve_by_shell, p);
    OK(close(p[1]));
    send_text(p[0], "a line\n");
    reap(pid);
    read_exact(p[0], buf, 22);
    trace("%s", buf);
    show_poll("end", p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("end", p[0]);
    OK(close(p[0]));
}

/* posix_spawn's own ways with descriptors: opened, closed, duplicated onto themselves, from a number on. */
static void spawn_actions(void)
{
    int p[2];
    char buf[8] = "", byte;
    pid_t pid;
    posix_spawn_file_actions_t fa;
    tcp_pair(p);
    OK(fcntl(p[0], F_SETFD, FD_CLOEXEC));
    OK(fcntl(p[1], F_SETFD, FD_CLOEXEC));
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, p[1], 1);
    posix_spawn_file_actions_adddup2(&fa, p[1], p[1]); /* clears close-on-exec */
    posix_spawn_file_actions_addclose(&fa, p[0]);
    posix_spawn_file_actions_addclosefrom_np(&fa, p[1] + 1);
    char line[64];
    snprintf(line, sizeof line, "echo one; echo two >&%d; cat", p[1]);
    char *args[] = {"sh", "-c", line, NULL};
    CHECK(posix_spawnp(&pid, "sh", &fa, NULL, args, environ) == 0);
    posix_spawn_file_actions_destroy(&fa);
    OK(close(p[1]));
    read_exact(p[0], buf, 8);
    trace("%.3s %.3s", buf, buf + 4);
    reap(pid);
    R(read(p[0], &byte, 1));
    OK(close(p[0]));
}

const struct conf_case daemons_cases[] = {
    {"daemon_chroot", after_chroot, TCP, NULL},
    {"daemon_setuid", after_setuid, TCP, NULL},
    {"daemon_daemon", daemon_goes_on, TCP, NULL},
    {"daemon_close_all", close_all, TCP, NULL},
    {"daemon_limits", limits, TCP, NULL},
    {"daemon_high_numbers", high_numbers, TCP, NULL},
    {"daemon_all_numbers", all_numbers, TCP, NULL},
    {"daemon_no_number_left", no_number_left, TCP, NULL},
    {"daemon_socket_activation", socket_activation, TCP, NULL},
    {"daemon_inetd", inetd, TCP, NULL},
    {"daemon_spawn_actions", spawn_actions, TCP, NULL},
    {0},
};
