/* SPDX-License-Identifier: BSD-3-Clause
 * zstackd itself: exit statuses, the ready line, the race for the name, idleness, and that nothing is left behind. */
#define _GNU_SOURCE
#include "engine_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct daemon {
    pid_t pid;
    int ready; /* what it writes to descriptor 3 */
};

static char engine_name[32];
static pid_t running[32]; /* what a failed test leaves */

static int kill_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof running / sizeof running[0]; i++) {
        if (running[i] != 0 && kill(running[i], SIGKILL) == 0)
            waitpid(running[i], NULL, 0);
        running[i] = 0;
    }
    return 0;
}

static void remember(pid_t old, pid_t new)
{
    for (size_t i = 0; i < sizeof running / sizeof running[0]; i++) {
        if (running[i] == old) {
            running[i] = new;
            return;
        }
    }
}

/* A network namespace of our own: every socket that anybody closes in it wakes the engine, which would count against
 * its idleness. Where that is not permitted the machine has to be quiet. */
static void own_network(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (unshare(CLONE_NEWNET) != 0)
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ioctl(fd, SIOCSIFFLAGS, &lo);
    close(fd);
}

static struct daemon start(const char *const *args)
{
    struct daemon d;
    int ends[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const char *argv[24] = {ZSTACKD};
    int n = 1;
    while (*args != NULL)
        argv[n++] = *args++;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    d.pid = fork();
    if (d.pid == 0) {
        dup2(null, STDERR_FILENO);
        if (ends[1] == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(ends[1], 3);
        execv(ZSTACKD, (char **)argv);
        _exit(127);
    }
    remember(0, d.pid);
    close(ends[1]);
    close(null);
    d.ready = ends[0];
    return d;
}

static const char *first_line(struct daemon *d)
{
    static char text[1024];
    size_t n = 0;
    ssize_t got;
    while (n + 1 < sizeof text && (got = read(d->ready, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(d->ready);
    return text;
}

static int ended(struct daemon *d)
{
    int status;
    assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
    remember(d->pid, 0);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_exit_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *args[6];
        int status;
        const char *says;
    } cases[] = {
        {{"--frobnicate"}, 2, "error ZS2010: unknown option '--frobnicate' - hint: "},
        {{"--linger", "soon"}, 2, "error ZS2010: --linger"},
        {{"--cores", "2-1"}, 2, "error ZS2010: --cores"},
        {{"--cores", "0,"}, 2, "error ZS2010: --cores"},
        {{"--memory", "0"}, 2, "error ZS2010: --memory"},
        {{"--name", "a/b"}, 2, "error ZS2010: --name"},
        {{"--name"}, 2, "error ZS2010: --name needs a value"},
        {{"--log-level=loud"}, 2, "error ZS2010: --log-level"},
        {{"--no-dpdk", "--name", engine_name, "--log-file", "/nonexistent/log"}, 1, "error ZS2103: "},
        {{"--no-dpdk", "--name", engine_name, "--cores", "1023"}, 1, "error ZS2104: "},
        {{"--name", engine_name, "--", "--frobnicate"}, 4, "error ZS2110: DPDK cannot start: unrecognized option"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct daemon d = start(cases[i].args);
        const char *said = first_line(&d);
        assert_int_equal(strncmp(said, cases[i].says, strlen(cases[i].says)), 0);
        assert_non_null(strstr(said, " - hint: "));
        assert_int_equal(ended(&d), cases[i].status);
    }
}

static void test_cores(void **state)
{
    (void)state;
    cpu_set_t mine, its;
    char cpu[16];
    sched_getaffinity(0, sizeof mine, &mine);
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &mine))
        last--;
    snprintf(cpu, sizeof cpu, "%d", last);
    const char *const args[] = {"--no-dpdk", "--cores", cpu, "--name", engine_name, NULL};
    struct daemon d = start(args);
    assert_string_equal(first_line(&d), "ready\n");
    assert_int_equal(sched_getaffinity(d.pid, sizeof its, &its), 0);
    assert_int_equal(CPU_COUNT(&its), 1);
    assert_true(CPU_ISSET(last, &its));
    kill(d.pid, SIGTERM);
    assert_int_equal(ended(&d), 0);
}

static void test_ten_race_and_one_wins(void **state)
{
    (void)state;
    struct daemon d[10];
    int ready = 0, taken = 0;
    const char *const args[] = {"--no-dpdk", "--name", engine_name, NULL};
    for (int i = 0; i < 10; i++)
        d[i] = start(args);
    for (int i = 0; i < 10; i++) {
        const char *said = first_line(&d[i]);
        if (strcmp(said, "ready\n") == 0) {
            ready++;
            kill(d[i].pid, SIGTERM);
            assert_int_equal(ended(&d[i]), 0);
        } else {
            assert_int_equal(strncmp(said, "error ZS2100: ", 14), 0);
            taken += ended(&d[i]) == 3;
        }
    }
    /* The winner is ended as soon as it is found; those started later than that may win again. */
    assert_true(ready >= 1);
    assert_int_equal(ready + taken, 10);
}

static void test_name_is_taken(void **state)
{
    (void)state;
    const char *const args[] = {"--no-dpdk", "--name", engine_name, NULL};
    const char *const with_dpdk[] = {"--name", engine_name, NULL};
    struct daemon first = start(args);
    assert_string_equal(first_line(&first), "ready\n");
    for (int i = 0; i < 9; i++) {
        struct daemon d = start(with_dpdk);
        assert_int_equal(strncmp(first_line(&d), "error ZS2100: ", 14), 0);
        assert_int_equal(ended(&d), 3);
    }
    kill(first.pid, SIGINT);
    assert_int_equal(ended(&first), 0);
}

/* Voluntary context switches of all its threads: each is one time that it went to sleep again. */
static long switches(pid_t pid)
{
    char path[300], line[256];
    long sum = 0, value;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, d->d_name);
        FILE *f = d->d_name[0] != '.' ? fopen(path, "r") : NULL;
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &value) == 1 ||
                sscanf(line, "nonvoluntary_ctxt_switches: %ld", &value) == 1)
                sum += value;
        if (f != NULL)
            fclose(f);
    }
    closedir(dir);
    return sum;
}

static void check_idle(const char *const *args)
{
    double t0 = seconds();
    struct daemon d = start(args);
    assert_string_equal(first_line(&d), "ready\n");
    double t1 = seconds();
    struct test_client c;
    assert_int_equal(attach(NULL, engine_name, &c, NULL), 0);
    usleep(200000);
    long before = switches(d.pid);
    sleep(1);
    long slept = switches(d.pid) - before;
    print_message("%-12s ready after %.0f ms, %ld context switches in an idle second\n", args[0], (t1 - t0) * 1e3, slept);
    assert_in_range(slept, 0, 3);
    detach(&c);
    kill(d.pid, SIGTERM);
    assert_int_equal(ended(&d), 0);
}

static void test_idle(void **state)
{
    (void)state;
    const char *const args[] = {"--no-dpdk", "--name", engine_name, NULL};
    check_idle(args);
}

static void test_idle_with_dpdk_and_nothing_is_left(void **state)
{
    (void)state;
    char own[64], path[160];
    snprintf(own, sizeof own, "zstack-%u-%s-", (unsigned)getuid(), engine_name);
    const char *const args[] = {"--linger=2", "--name", engine_name, NULL};
    check_idle(args);
    const char *const bases[] = {"/var/run/dpdk", "/tmp/dpdk", getenv("XDG_RUNTIME_DIR")};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, i == 2 ? "%s/dpdk" : "%s", bases[i] != NULL ? bases[i] : "");
        DIR *dir = opendir(path);
        for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;)
            assert_int_not_equal(strncmp(d->d_name, own, strlen(own)), 0);
        if (dir != NULL)
            closedir(dir);
    }
}

static void test_ends_by_itself(void **state)
{
    (void)state;
    const char *const args[] = {"--no-dpdk", "--linger=1", "--name", engine_name, NULL};
    struct daemon d = start(args);
    assert_string_equal(first_line(&d), "ready\n");
    struct test_client c;
    assert_int_equal(attach(NULL, engine_name, &c, NULL), 0);
    detach(&c);
    assert_int_equal(ended(&d), 0);
    assert_int_equal(control_connect(engine_name), -1);
}

/* Same-host pairs go on without their engine: the memory stays, only new requests fail. */
static void test_engine_dies(void **state)
{
    (void)state;
    const char *const args[] = {"--no-dpdk", "--name", engine_name, NULL};
    struct daemon d = start(args);
    struct zs_ctl_reply l;
    uint16_t port = 0;
    uint32_t client, server;
    assert_string_equal(first_line(&d), "ready\n");
    struct test_client c;
    assert_int_equal(attach(NULL, engine_name, &c, NULL), 0);
    int fd = tcp_listener(&port);
    assert_int_equal(rpc(NULL, &c, ZS_CTL_LISTEN, 5, 0, fd, &l), 0);
    assert_int_equal(shm_connect(&c.view, l.a, &client, &server), 0);
    kill(d.pid, SIGKILL);
    waitpid(d.pid, NULL, 0);
    remember(d.pid, 0);
    assert_int_equal(zs_accept_pop(&c.view, zs_session_at(&c.view, l.a)->listener), server);
    assert_int_equal(rpc(NULL, &c, ZS_CTL_LISTEN, 5, 0, fd, &l), EPIPE);
    d = start(args); /* the name is free at once */
    assert_string_equal(first_line(&d), "ready\n");
    kill(d.pid, SIGTERM);
    assert_int_equal(ended(&d), 0);
    close(fd);
    detach(&c);
}

int main(void)
{
    snprintf(engine_name, sizeof engine_name, "d%d", (int)getpid());
    signal(SIGPIPE, SIG_IGN);
    own_network();
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_teardown(fn, kill_left)
        T(test_exit_statuses), T(test_cores),
        T(test_ten_race_and_one_wins),
        T(test_name_is_taken),
        T(test_idle),
        T(test_idle_with_dpdk_and_nothing_is_left),
        T(test_ends_by_itself),
        T(test_engine_dies),
    };
    return cmocka_run_group_tests_name("zstackd", tests, NULL, NULL);
}
