/* SPDX-License-Identifier: BSD-3-Clause
 * Whom signals of O_ASYNC sockets reach: what the arena says of that may have been written by any program of the domain. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int sig)
{
    (void)sig;
    _exit(7);
}

/* A child: `exec`: another program without the arena; else with a handler for SIGIO. */
static pid_t target(bool exec)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (exec) {
            execl("/bin/sleep", "sleep", "60", NULL);
            _exit(99);
        }
        signal(SIGIO, on_signal);
        signal(SIGURG, on_signal);
        signal(SIGTERM, on_signal);
        write(ready[1], "r", 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    read(ready[0], &byte, 1); /* exec closes it */
    close(ready[0]);
    return pid;
}

static void aim(struct zs_session *s, pid_t pid, int sig)
{
    s->kind = ZS_KIND_TCP;
    atomic_store(&s->sig_owner, pid);
    atomic_store(&s->sig_born, zs_born(pid));
    atomic_fetch_or(&s->rx_prod.others, ZS_OTHERS_ASYNC);
    atomic_store(&s->async, ZS_ASYNC(sig, 3));
}

static int ended(pid_t pid, bool kill_it)
{
    int status = 0;
    if (kill_it) {
        usleep(50000); /* a signal that came would have ended it by now: a failure to notice one, never a false alarm */
        pid_t gone = waitpid(pid, &status, WNOHANG);
        kill(pid, SIGKILL);
        if (gone == 0)
            waitpid(pid, NULL, 0);
        return gone;
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void test_reaches_programs_of_the_domain(void **state)
{
    struct fixture *f = *state;
    struct zs_session *s = zs_session_at(&f->a, (uint32_t)zs_session_alloc(&f->a, ZS_KIND_TCP));
    pid_t pid = target(false);
    aim(s, pid, 0);
    zs_async_raise(&f->a, s, POLLIN);
    assert_int_equal(ended(pid, false), 7);
}

static void test_others_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct zs_session *s = zs_session_at(&f->a, (uint32_t)zs_session_alloc(&f->a, ZS_KIND_TCP));
    if (geteuid() != 0)
        skip(); /* the kernel says who may signal whom */
    pid_t pid = target(true); /* without the arena */
    aim(s, pid, 0);
    zs_async_raise(&f->a, s, POLLIN);
    assert_int_equal(ended(pid, true), 0);
    const int never[] = {SIGTERM, SIGKILL, SIGUSR1 /* no handler */};
    for (int i = 0; i < 3; i++) {
        pid = target(false);
        aim(s, pid, never[i]);
        zs_async_raise(&f->a, s, POLLIN);
        assert_int_equal(ended(pid, true), 0);
    }
}

static void test_a_number_that_is_somebody_else_s(void **state)
{
    struct fixture *f = *state;
    struct zs_session *s = zs_session_at(&f->a, (uint32_t)zs_session_alloc(&f->a, ZS_KIND_TCP));
    pid_t pid = target(false);
    aim(s, pid, 0);
    atomic_store(&s->sig_born, zs_born(pid) ^ 2u); /* it started at another time */
    zs_async_raise(&f->a, s, POLLIN);
    assert_int_equal(ended(pid, true), 0);
}

/* SIGURG goes the same way. */
static void test_urgent(void **state)
{
    struct fixture *f = *state;
    struct zs_session *s = zs_session_at(&f->a, (uint32_t)zs_session_alloc(&f->a, ZS_KIND_TCP));
    pid_t pid = target(false);
    aim(s, pid, 0);
    atomic_store(&s->sig_born, zs_born(pid) ^ 2u);
    zs_urgent_signal(&f->a, s);
    assert_int_equal(ended(pid, true), 0);
    pid = target(false);
    aim(s, pid, 0);
    atomic_store(&s->sig_owner, -getpgrp()); /* a group, of which nobody holds the socket */
    zs_urgent_signal(&f->a, s);
    assert_int_equal(ended(pid, true), 0);
    pid = target(false);
    aim(s, pid, 0);
    zs_urgent_signal(&f->a, s);
    assert_int_equal(ended(pid, false), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reaches_programs_of_the_domain, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_others_are_left_alone, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_a_number_that_is_somebody_else_s, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_urgent, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
