/* SPDX-License-Identifier: BSD-3-Clause
 * Handlers: jumps out of them, what sigaction tells, storms; cancellation. */
#include "lib.h"

#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

static sigjmp_buf back;

static void on_jump(int sig)
{
    siglongjmp(back, sig);
}

static void *signal_late(void *arg)
{
    msleep(80);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void jump_out(void)
{
    int p[2];
    char buf[8] = "";
    pthread_t self = pthread_self();
    tcp_pair(p);
    handler(SIGUSR1, on_jump, 0);
    for (volatile int i = 0; i < 3; i++) {
        pthread_t t = thread(signal_late, &self);
        if (sigsetjmp(back, 1) == 0) {
            R(i == 0 ? read(p[1], buf, 8) : i == 1 ? poll(&(struct pollfd){.fd = p[1], .events = POLLIN}, 1, -1)
                                                   : recv(p[1], buf, 8, MSG_WAITALL));
            trace("not reached");
        }
        join(t);
        send_text(p[0], "after");
        read_exact(p[1], buf, 5);
        trace("sockets work: %s", buf);
        show_recv("empty", p[1]);
    }
    OK(close(p[0]));
    OK(close(p[1]));
}

static void a_handler(int sig)
{
    (void)sig;
}

static void an_action(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
}

static void query(void)
{
    struct sigaction set = {.sa_sigaction = an_action, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER}, got;
    sigaddset(&set.sa_mask, SIGUSR2);
    int p[2];
    tcp_pair(p);
    R(sigaction(SIGUSR1, NULL, &got));
    trace("default %d", got.sa_handler == SIG_DFL);
    R(sigaction(SIGUSR1, &set, &got));
    R(sigaction(SIGUSR1, NULL, &got));
    trace("what was set %d, flags %x, mask %d %d", got.sa_sigaction == an_action,
          (unsigned)got.sa_flags & ~0x04000000u, sigismember(&got.sa_mask, SIGUSR2), sigismember(&got.sa_mask, SIGHUP));
    trace("signal: old one %d", (void (*)(int, siginfo_t *, void *))(void *)signal(SIGUSR1, a_handler) == an_action);
    R(sigaction(SIGUSR1, NULL, &got));
    trace("set by signal %d, restart %d, siginfo %d", got.sa_handler == a_handler, (got.sa_flags & SA_RESTART) != 0,
          (got.sa_flags & SA_SIGINFO) != 0);
    trace("back to ignore %d", signal(SIGUSR1, SIG_IGN) == a_handler);
    R(sigaction(SIGUSR1, NULL, &got));
    trace("ignored %d", got.sa_handler == SIG_IGN);
    R(sigaction(SIGKILL, &set, NULL));
    R(sigaction(99, &set, NULL));
    R(sigaction(SIGKILL, NULL, &got));
    trace("error %d", signal(SIGKILL, a_handler) == SIG_ERR);
    OK(close(p[0]));
    OK(close(p[1]));
}

static _Atomic int got_sig, got_code, got_value;
static int *pid_slot;

static void on_info(int sig, siginfo_t *info, void *context)
{
    (void)context;
    got_sig = sig;
    got_code = info->si_code;
    got_value = sig == SIGCHLD ? info->si_pid == *pid_slot : info->si_value.sival_int;
}

static void exit_child(void *arg)
{
    msleep(80);
    (void)arg;
}

static void info_arrives(void)
{
    int p[2], pid;
    char buf[8];
    struct sigaction sa = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO};
    tcp_pair(p);
    pid_slot = &pid;
    OK(sigaction(SIGCHLD, &sa, NULL));
    OK(sigaction(SIGRTMIN, &sa, NULL));
    pid = child(exit_child, NULL);
    R(recv(p[1], buf, 8, 0)); /* SIGCHLD ends it */
    trace("SIGCHLD %d, CLD_EXITED %d, its pid %d", got_sig == SIGCHLD, got_code == CLD_EXITED, got_value);
    reap(pid);
    OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 42}));
    trace("queued %d, SI_QUEUE %d, value %d", got_sig == SIGRTMIN, got_code == SI_QUEUE, got_value);
    OK(close(p[0]));
    OK(close(p[1]));
}

static _Atomic long ticks;
static int echo_fd[2];

static void on_tick(int sig)
{
    (void)sig;
    ticks++;
}

static void *echo(void *arg)
{
    char buf[4096];
    ssize_t n;
    (void)arg;
    while ((n = read(echo_fd[1], buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            write_all(echo_fd[1], buf, (size_t)n);
    return NULL;
}

/* A timer signal every millisecond, SA_RESTART: blocking calls never see it, and no byte is lost. */
static void storm(void)
{
    struct itimerval every = {{0, 1000}, {0, 1000}}, off = {0};
    static uint8_t out[3000], in[3000];
    tcp_pair(echo_fd);
    handler(SIGALRM, on_tick, SA_RESTART);
    pthread_t t = thread(echo, NULL);
    OK(setitimer(ITIMER_REAL, &every, NULL));
    int good = 0;
    for (int i = 0; i < 2000; i++) {
        for (size_t j = 0; j < sizeof out; j++)
            out[j] = pattern((uint64_t)i * sizeof out + j);
        write_all(echo_fd[0], out, sizeof out);
        read_exact(echo_fd[0], in, sizeof in);
        good += memcmp(in, out, sizeof in) == 0;
    }
    for (int i = 0; i < 100 && ticks < 5; i++)
        usleep(2000);
    OK(setitimer(ITIMER_REAL, &off, NULL));
    trace("good %d, there were signals %d", good, ticks >= 5);
    OK(shutdown(echo_fd[0], SHUT_WR));
    join(t);
    OK(close(echo_fd[0]));
    OK(close(echo_fd[1]));
}

static void *cancelled_recv(void *arg)
{
    char buf[8];
    recv(*(int *)arg, buf, 8, 0);
    return NULL;
}

static void *cancelled_accept(void *arg)
{
    accept(*(int *)arg, NULL, NULL);
    return NULL;
}

static void *cancelled_epoll(void *arg)
{
    struct epoll_event ev;
    epoll_wait(*(int *)arg, &ev, 1, -1);
    return NULL;
}

static void cancel(const char *what, void *(*fn)(void *), int fd)
{
    pthread_t t = thread(fn, &fd);
    msleep(80);
    OK(pthread_cancel(t));
    trace("%s: cancelled %d", what, join(t) == PTHREAD_CANCELED);
}

static void cancellation(void)
{
    struct addr a;
    int p[2], l = tcp_listen(AF_INET, 4, &a), ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    cancel("recv", cancelled_recv, p[1]);
    cancel("accept", cancelled_accept, l);
    cancel("epoll_wait", cancelled_epoll, ep);
    send_text(p[0], "after");
    settle();
    show_epoll("after it", ep, 0);
    show_recv("after it", p[1]);
    int s = tcp_connect(&a), c = tcp_accept(l);
    OK(close(s));
    OK(close(c));
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(l));
    OK(close(ep));
}

/* SIGTERM by default ends a program that waits. */
static void wait_child(void *arg)
{
    char buf[8];
    recv(*(int *)arg, buf, 8, 0);
}

static void default_action(void)
{
    int p[2];
    tcp_pair(p);
    pid_t pid = child(wait_child, &p[1]);
    msleep(100);
    OK(kill(pid, SIGTERM));
    reap(pid);
    OK(close(p[1]));
    settle();
    show_recv("the peer", p[0]);
    OK(close(p[0]));
}

/* A profiler's timer: the handler looks at what the thread was doing, whether it was in a call of the library's or not. */
static volatile sig_atomic_t with_context, without_context;

static void looks_at_context(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
    (void)sig;
    (void)info;
    if (u != NULL && u->uc_mcontext.gregs[REG_RIP] != 0 && u->uc_mcontext.fpregs != NULL)
        with_context++;
    else
        without_context++;
}

static void handler_context(void)
{
    enum { ENOUGH = 200 };
    struct sigaction act = {.sa_sigaction = looks_at_context, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval each = {{0, 200}, {0, 200}}, none = {{0, 0}, {0, 0}};
    char c = 0;
    int p[2];
    tcp_pair(p);
    OK(sigaction(SIGALRM, &act, NULL));
    OK(setitimer(ITIMER_REAL, &each, NULL));
    while (with_context + without_context < ENOUGH) {
        OK(write(p[0], &c, 1));
        OK(read(p[1], &c, 1));
    }
    OK(setitimer(ITIMER_REAL, &none, NULL));
    trace("without a context: %d", (int)without_context);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* ---- Handlers for the alternate stack ---- */

static struct {
    char *low, *high;
    _Atomic int on, off; /* how often a handler ran on it, and elsewhere */
} alternate;

static void on_alternate(int sig)
{
    char here;
    (void)sig;
    bool on = &here >= alternate.low && &here < alternate.high;
    atomic_fetch_add(on ? &alternate.on : &alternate.off, 1);
}

static void *send_both(void *arg)
{
    while (alternate.on + alternate.off < 3000) {
        pthread_kill(*(pthread_t *)arg, SIGURG);
        pthread_kill(*(pthread_t *)arg, SIGRTMIN);
    }
    return NULL;
}

/* They run there wherever in a call they come, and what they leave in the mask holds. */
static void alternate_stack(void)
{
    const size_t size = 65536;
    stack_t alt = {.ss_sp = malloc(size), .ss_size = size};
    int p[2];
    char c = 'x';
    sigset_t now;
    pthread_t self = pthread_self();
    alternate.low = alt.ss_sp;
    alternate.high = alternate.low + size;
    OK(sigaltstack(&alt, NULL));
    handler(SIGURG, on_alternate, SA_ONSTACK | SA_RESTART);
    handler(SIGRTMIN, on_alternate, SA_ONSTACK | SA_RESTART);
    tcp_pair(p);
    pthread_t t = thread(send_both, &self);
    while (alternate.on + alternate.off < 3000) {
        OK(send(p[0], &c, 1, 0));
        OK(recv(p[1], &c, 1, 0));
    }
    join(t);
    trace("handlers elsewhere: %d", alternate.off);
    OK(pthread_sigmask(SIG_BLOCK, NULL, &now));
    trace("blocked: %d %d", sigismember(&now, SIGURG), sigismember(&now, SIGRTMIN));
    handler(SIGURG, SIG_DFL, 0);
    handler(SIGRTMIN, SIG_IGN, 0);
    alt.ss_flags = SS_DISABLE;
    OK(sigaltstack(&alt, NULL));
    free(alternate.low);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case sigmore_cases[] = {
    {"signal_siglongjmp", jump_out, TCP, NULL},
    {"signal_sigaction_query", query, TCP, NULL},
    {"signal_siginfo", info_arrives, TCP, NULL},
    {"signal_storm", storm, TCP, NULL},
    {"signal_cancellation", cancellation, TCP, NULL},
    {"signal_default_action", default_action, TCP, NULL},
    {"signal_context", handler_context, TCP, NULL},
    {"signal_alternate_stack", alternate_stack, TCP, NULL},
    {0},
};
