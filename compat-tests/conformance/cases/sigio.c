/* SPDX-License-Identifier: BSD-3-Clause
 * Signals of O_ASYNC sockets as handlers see them, and other owners than the process itself. */
#include "lib.h"

static _Atomic int caught, code, named, band;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    code = info->si_code;
    band = sig != SIGIO ? (int)info->si_band : 0;
    named = sig != SIGIO ? info->si_fd : 0;
    caught++;
}

static void catch_it(int sig)
{
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    OK(sigaction(sig, &act, NULL));
}

/* The handler may run at any call from the time of the send on: wait for it. */
static void came(int n)
{
    for (int i = 0; caught < n && i < 5000; i++)
        msleep(1);
    trace("caught %d", caught >= n ? n : caught); /* an end is told twice by the kernel */
}

static void handlers(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    catch_it(SIGIO);
    OK(fcntl(p[1], F_SETOWN, getpid()));
    OK(fcntl(p[1], F_SETFL, O_ASYNC));
    send_text(p[0], "one");
    came(1);
    trace("code of the kernel: %d", code == SI_KERNEL);
    R(read(p[1], buf, sizeof buf));
    catch_it(SIGRTMIN + 3);
    OK(fcntl(p[1], F_SETSIG, SIGRTMIN + 3));
    send_text(p[0], "two");
    came(2);
    trace("code %d, descriptor %d, %s", code, named == p[1], revents_text((short)band));
    R(read(p[1], buf, sizeof buf));
    OK(close(p[0]));
    came(3);
    trace("code %d, descriptor %d, %s", code, named == p[1], revents_text((short)band));
    OK(close(p[1]));
}

/* A blocked reader gets its data; nothing interrupts it. */
static void *sender(void *arg)
{
    msleep(100);
    send_text(*(int *)arg, "late");
    return NULL;
}

static void blocked_reader(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    catch_it(SIGIO);
    OK(fcntl(p[1], F_SETOWN, getpid()));
    OK(fcntl(p[1], F_SETFL, O_ASYNC));
    pthread_t t = thread(sender, &p[0]);
    R(recv(p[1], buf, sizeof buf, 0));
    join(t);
    trace("caught %d", caught);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* A child that waits for the signal, which has no sockets of its own; it says when it is ready, and ends by what it saw. */
static pid_t waiter(void)
{
    int ready[2];
    char byte;
    OK(pipe(ready));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    pid_t pid = fork();
    if (pid == 0) {
        OK(setpgid(0, 0));
        OK(sigprocmask(SIG_BLOCK, &set, NULL));
        OK(write(ready[1], "r", 1));
        struct timespec limit = {.tv_sec = 8};
        _exit(sigtimedwait(&set, NULL, &limit) == SIGIO ? 7 : 1);
    }
    OK(read(ready[0], &byte, 1));
    OK(close(ready[0]));
    OK(close(ready[1]));
    return pid;
}

static void other_process(void)
{
    int p[2];
    tcp_pair(p);
    pid_t pid = waiter();
    OK(fcntl(p[1], F_SETOWN, pid));
    trace("owner %d", fcntl(p[1], F_GETOWN) == pid);
    OK(fcntl(p[1], F_SETFL, O_ASYNC));
    send_text(p[0], "x");
    reap(pid);
    send_text(p[0], "y"); /* nobody is there any more */
    show_recv("far", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* Two holders of one socket: either of them may ask for signals, and the other may write to its peer. */
static void shared(void)
{
    int p[2], status;
    tcp_pair(p);
    catch_it(SIGIO);
    OK(fcntl(p[1], F_SETOWN, getpid()));
    pid_t pid = fork();
    if (pid == 0) {
        OK(fcntl(p[1], F_SETFL, O_ASYNC));
        send_text(p[0], "from the child");
        _exit(0);
    }
    OK(waitpid(pid, &status, 0) < 0 && errno != EINTR ? -1 : 0);
    came(1);
    show_recv("parent", p[1]);
    OK(fcntl(p[1], F_SETFL, 0));
    send_text(p[0], "x");
    show_recv("parent", p[1]);
    trace("caught %d", caught);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case sigio_cases[] = {
    {"sigio_handlers", handlers, TCP, NULL},
    {"sigio_blocked_reader", blocked_reader, TCP, NULL},
    {"sigio_other_process", other_process, TCP, NULL},
    {"sigio_shared", shared, TCP, NULL},
    {0},
};
