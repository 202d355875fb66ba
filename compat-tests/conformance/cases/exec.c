/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets that a new program inherits: exec, vfork, posix_spawn. */
#include "lib.h"

#include <spawn.h>

extern char **environ;

/* A service that a manager started for its listeners (sd_listen_fds(3)): one answer for each. */
static int activated(int first)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    CHECK(pid != NULL && atoi(pid) == getpid() && count != NULL);
    for (int i = 0; i < atoi(count); i++) {
        int listens = get_int(first + i, SOL_SOCKET, SO_ACCEPTCONN), c = tcp_accept(first + i);
        trace("service: listens %d, family %d", listens, get_int(first + i, SOL_SOCKET, SO_DOMAIN));
        send_text(c, "activated");
        OK(close(c));
    }
    return 0;
}

static char **new_args(const char *what, int fd);

/* conformance --inherited echo FD | bare FD | accept FD | listen FD | udp FD | closed FD | activated FD | stdio 0 */
int inherited_main(int argc, char **argv);
int inherited_main(int argc, char **argv)
{
    char buf[256];
    ssize_t n;
    int fd = argc == 2 ? atoi(argv[1]) : -1;
    if (fd < 0)
        return 2;
    if (strcmp(argv[0], "closed") == 0) {
        trace("new program: F_GETFD %d %s", fcntl(fd, F_GETFD), err_name(errno));
        return 0;
    }
    if (strcmp(argv[0], "bare") == 0 || strcmp(argv[0], "barer") == 0) { /* clears its own environment, too, and starts another */
        OK(clearenv());
        execv(self_path, new_args(strcmp(argv[0], "bare") == 0 ? "barer" : "echo", fd));
        return 1;
    }
    if (strcmp(argv[0], "activated") == 0)
        return activated(fd);
    if (strcmp(argv[0], "stdio") == 0) {
        char line[64];
        while (fgets(line, sizeof line, stdin) != NULL)
            printf("%d: %s", fileno(stdin) + fileno(stdout), line);
        return 0;
    }
    if (strcmp(argv[0], "listen") == 0)
        R(listen(fd, 4));
    if (strcmp(argv[0], "accept") == 0 || strcmp(argv[0], "listen") == 0)
        fd = tcp_accept(fd);
    trace("new program: type %d, nonblock %d", get_int(fd, SOL_SOCKET, SO_TYPE), (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    while ((n = OK(read(fd, buf, sizeof buf))) > 0) {
        write_all(fd, buf, (size_t)n);
        if (strcmp(argv[0], "udp") == 0)
            return 0;
    }
    OK(close(fd));
    return 0;
}

static char **new_args(const char *what, int fd)
{
    static char number[16], text[16];
    static char *args[] = {"conformance", "--inherited", text, number, NULL};
    snprintf(text, sizeof text, "%s", what);
    snprintf(number, sizeof number, "%d", fd);
    return args;
}

static void talk(int fd)
{
    char buf[6] = "";
    for (int i = 0; i < 2; i++) {
        send_text(fd, "hello");
        read_exact(fd, buf, 5);
        trace("%s", buf);
    }
    OK(shutdown(fd, SHUT_WR));
    R(read(fd, buf, 1));
}

/* A child that becomes another program with one end of a connection. */
static void talk_to(void (*become)(void *arg))
{
    int p[2];
    tcp_pair(p);
    pid_t pid = child(become, p);
    OK(close(p[1]));
    talk(p[0]);
    reap(pid);
    OK(close(p[0]));
}

static void do_exec(void *arg)
{
    int *p = arg;
    OK(close(p[0]));
    execv(self_path, new_args("echo", p[1]));
    fail("execv: %s", err_name(errno));
}

static void after_fork(void)
{
    talk_to(do_exec);
}

static void do_exec_bare(void *arg)
{
    int *p = arg;
    char *none[] = {"PATH=/bin", NULL};
    OK(close(p[0]));
    execve(self_path, new_args("echo", p[1]), none);
    fail("execve: %s", err_name(errno));
}

static void do_exec_stdio(void *arg)
{
    int *p = arg;
    OK(dup2(p[1], STDIN_FILENO));
    OK(dup2(p[1], STDOUT_FILENO));
    OK(close(p[0]));
    OK(close(p[1]));
    execv(self_path, new_args("stdio", 0));
    fail("execv: %s", err_name(errno));
}

/* As a super-server starts its programs: the connection is standard input and output. */
static void as_standard_streams(void)
{
    int p[2];
    char buf[32] = "";
    tcp_pair(p);
    pid_t pid = child(do_exec_stdio, p);
    OK(close(p[1]));
    send_text(p[0], "one\ntwo\n");
    OK(shutdown(p[0], SHUT_WR));
    reap(pid);
    read_exact(p[0], buf, 14);
    trace("%s", buf);
    show_poll("end", p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("end", p[0]);
    OK(close(p[0]));
}

#define MANY 300

static void exec_with_many(void *arg)
{
    int fd = -1;
    for (int i = 0; i < MANY; i++)
        fd = tcp_connect(arg);
    execv(self_path, new_args("echo", fd));
    fail("execv: %s", err_name(errno));
}

/* More connections than their list in the environment has room for: the last of them is known, and all end with the program. */
static void many_inherited(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, MANY, &a), fd[MANY], ended = 0;
    char byte;
    pid_t pid = child(exec_with_many, &a);
    for (int i = 0; i < MANY; i++)
        fd[i] = tcp_accept(l);
    talk(fd[MANY - 1]);
    reap(pid);
    for (int i = 0; i < MANY; i++) {
        ended += OK(read(fd[i], &byte, 1)) == 0;
        OK(close(fd[i]));
    }
    trace("%d of %d ended", ended, MANY);
    OK(close(l));
}

/* A program that rebuilds its environment. */
static void bare_environment(void)
{
    talk_to(do_exec_bare);
}

static void do_exec_barer(void *arg)
{
    int *p = arg;
    OK(close(p[0]));
    execve(self_path, new_args("bare", p[1]), (char *[]){NULL});
    fail("execve: %s", err_name(errno));
}

/* And so do the programs that it starts. */
static void bare_environments(void)
{
    talk_to(do_exec_barer);
}

static void do_exec_listener(void *arg)
{
    execv(self_path, new_args("accept", *(int *)arg));
    fail("execv: %s", err_name(errno));
}

static void listener(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    pid_t pid = child(do_exec_listener, &l);
    int s = tcp_connect(&a);
    OK(close(l));
    talk(s);
    reap(pid);
    OK(close(s));
}

static void do_exec_bound(void *arg)
{
    execv(self_path, new_args("listen", *(int *)arg));
    fail("execv: %s", err_name(errno));
}

/* Bound by one program, listened on and accepted from by the next. */
static void bound(void)
{
    struct addr a;
    int l = OK(socket(AF_INET, SOCK_STREAM, 0)), s = -1;
    loopback(&a, AF_INET, 0);
    OK(bind(l, SA(&a), a.len));
    local_addr(l, &a);
    pid_t pid = child(do_exec_bound, &l);
    OK(close(l));
    for (int tries = 0; tries < 1000 && s < 0; tries++) { /* until it listens */
        s = OK(socket(AF_INET, SOCK_STREAM, 0));
        if (connect(s, SA(&a), a.len) == 0)
            break;
        OK(close(s));
        s = -1;
        usleep(10000);
    }
    count_connect();
    talk(s);
    reap(pid);
    OK(close(s));
}

static void set_keepidle(void *arg)
{
    int idle = 100;
    R(setsockopt(*(int *)arg, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle));
}

/* Options of a listener that two processes have: what one sets stays when the other sets something else. */
static void options_of_two(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), interval = 7;
    OK(setsockopt(l, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval));
    reap(child(set_keepidle, &l));
    R(setsockopt(l, IPPROTO_TCP, TCP_KEEPCNT, &interval, sizeof interval));
    int s = tcp_connect(&a), c = tcp_accept(l);
    trace("idle %d, interval %d, count %d", get_int(c, IPPROTO_TCP, TCP_KEEPIDLE), get_int(c, IPPROTO_TCP, TCP_KEEPINTVL),
          get_int(c, IPPROTO_TCP, TCP_KEEPCNT));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void do_exec_closed(void *arg)
{
    execv(self_path, new_args("closed", *(int *)arg));
    fail("execv: %s", err_name(errno));
}

/* Close-on-exec: the connection ends when the new program starts. */
static void cloexec(void)
{
    int p[2];
    tcp_pair(p);
    OK(fcntl(p[1], F_SETFD, FD_CLOEXEC));
    OK(fcntl(p[0], F_SETFD, FD_CLOEXEC));
    pid_t pid = child(do_exec_closed, &p[1]);
    OK(close(p[1]));
    reap(pid); /* its line comes before ours */
    show_poll("ended", p[0], POLLIN | POLLRDHUP, 3000);
    show_recv("read", p[0]);
    OK(close(p[0]));
}

static void vforked(void)
{
    int p[2];
    tcp_pair(p);
    OK(fcntl(p[0], F_SETFD, FD_CLOEXEC));
    char **args = new_args("echo", p[1]);
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(p[1], 90);
        close(90);
        execv(self_path, args);
        _exit(99);
    }
    OK(close(p[1]));
    talk(p[0]);
    reap(pid);
    OK(close(p[0]));
}

static void vfork_exits(void)
{
    int p[2];
    tcp_pair(p);
    pid_t pid = vfork();
    if (pid == 0) {
        close(p[0]);
        close(p[1]);
        _exit(5);
    }
    reap(pid);
    send_text(p[0], "untouched");
    settle();
    show_recv("peer", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void spawned(void)
{
    int p[2];
    pid_t pid;
    posix_spawn_file_actions_t fa;
    tcp_pair(p);
    OK(fcntl(p[0], F_SETFD, FD_CLOEXEC));
    OK(fcntl(p[1], F_SETFD, FD_CLOEXEC));
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, p[1], 90);
    CHECK(posix_spawn(&pid, self_path, &fa, NULL, new_args("echo", 90), environ) == 0);
    posix_spawn_file_actions_destroy(&fa);
    OK(close(p[1]));
    talk(p[0]);
    reap(pid);
    OK(close(p[0]));
    R(posix_spawn(&pid, "/no/such/program", NULL, NULL, new_args("echo", 0), environ));
}

static void exec_fails(void)
{
    int p[2];
    char *args[] = {"none", NULL};
    tcp_pair(p);
    R(execv("/no/such/program", args));
    R(execv("/", args));
    send_text(p[0], "untouched");
    settle();
    show_recv("peer", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void through_shell(void)
{
    int p[2];
    char buf[16] = "";
    tcp_pair(p);
    R(system("exit 3") >> 8);
    FILE *f = popen("echo popen", "r");
    trace("%s", strtok(fgets(buf, sizeof buf, f), "\n"));
    R(pclose(f));
    send_text(p[0], "untouched");
    settle();
    show_recv("peer", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* What system starts inherits sockets like any program. */
static void shell_writes(void)
{
    int p[2];
    char line[64];
    tcp_pair(p);
    snprintf(line, sizeof line, "echo shell >&%d", p[1]);
    R(system(line));
    settle();
    show_recv("from the shell", p[0]);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case exec_cases[] = {
    {"exec_connection", after_fork, TCP, NULL},
    {"exec_bare_environment", bare_environment, TCP, NULL},
    {"exec_bare_environments", bare_environments, TCP, NULL},
    {"exec_standard_streams", as_standard_streams, TCP, NULL},
    {"exec_listener", listener, TCP, NULL},
    {"exec_bound", bound, TCP, NULL},
    {"fork_listener_options", options_of_two, TCP, NULL},
    {"exec_cloexec", cloexec, TCP, NULL},
    {"exec_fails", exec_fails, TCP, NULL},
    {"vfork_exec", vforked, TCP, NULL},
    {"vfork_exit", vfork_exits, TCP, NULL},
    {"posix_spawn", spawned, TCP, NULL},
    {"exec_system_popen", through_shell, TCP, NULL},
    {"exec_many_inherited", many_inherited, TCP, NULL},
    {"exec_system_inherits", shell_writes, TCP, NULL},
    {0},
};
