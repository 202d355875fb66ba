/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zstack-exec: undoes what the launcher's run time changed for itself, then becomes the command.
 *
 *   zstack-exec [--nofile SOFT] [--core SOFT] [--ignore MASK] [--block MASK] -- COMMAND [ARGS...]
 *   zstack-exec --program PATH -- ARGV0 [ARGS...]
 *
 * The second form becomes the program, with nothing changed: the library sends a program that it cannot enter and that is to be spawned with
 * sockets this way, since it sees them here.
 *
 * SOFT is a number or "unlimited"; MASK is hexadecimal with bit 0 for signal 1, as in /proc/PID/status. All other
 * signals get their default action and are unblocked. Exit status as env(1): 125 for a failure of this program, 126 when
 * COMMAND cannot be executed, 127 when it is not found.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_OURS = 125, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

static int usage(void)
{
    fputs("zstack-exec: error[ZS1401]: wrong arguments - hint: it is started by zstack-run\n", stderr);
    return EXIT_OURS;
}

/* Sets a soft limit; one above the hard limit becomes the hard limit. */
static int set_soft_limit(int resource, const char *text)
{
    struct rlimit limit;
    char *end = NULL;
    rlim_t soft = RLIM_INFINITY;

    if (strcmp(text, "unlimited") != 0) {
        errno = 0;
        soft = strtoull(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0')
            return -1;
    }
    if (getrlimit(resource, &limit) != 0)
        return -1;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit(resource, &limit);
}

static int parse_mask(const char *text, unsigned long long *mask)
{
    char *end = NULL;

    errno = 0;
    *mask = strtoull(text, &end, 16);
    return errno != 0 || end == text || *end != '\0' ? -1 : 0;
}

/* The C library refuses the numbers that it keeps for itself; those are as the parent had them. */
static void set_signals(unsigned long long ignored, unsigned long long blocked)
{
    sigset_t mask;

    sigemptyset(&mask);
    for (int signo = 1; signo <= 64; signo++) {
        unsigned long long bit = 1ULL << (signo - 1);

        if (signo != SIGKILL && signo != SIGSTOP)
            signal(signo, ignored & bit ? SIG_IGN : SIG_DFL);
        if (blocked & bit)
            sigaddset(&mask, signo);
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

int main(int argc, char **argv)
{
    unsigned long long ignored = 0, blocked = 0;
    int at = 1;

    if (argc > 4 && strcmp(argv[1], "--program") == 0 && strcmp(argv[3], "--") == 0) {
        execv(argv[2], argv + 4);
        return EXIT_NOT_FOUND;
    }
    for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
        const char *value = argv[at + 1];
        int failed;

        if (strcmp(argv[at], "--nofile") == 0)
            failed = set_soft_limit(RLIMIT_NOFILE, value);
        else if (strcmp(argv[at], "--core") == 0)
            failed = set_soft_limit(RLIMIT_CORE, value);
        else if (strcmp(argv[at], "--ignore") == 0)
            failed = parse_mask(value, &ignored);
        else if (strcmp(argv[at], "--block") == 0)
            failed = parse_mask(value, &blocked);
        else
            failed = -1;
        if (failed)
            return usage();
    }
    if (at + 1 >= argc || strcmp(argv[at], "--") != 0)
        return usage();

    char **command = argv + at + 1;

    set_signals(ignored, blocked);
    execvp(command[0], command);

    int error = errno;

    fprintf(stderr, "zstack-run: error[%s]: %s: %s\n", error == ENOENT ? "ZS1101" : "ZS1102", command[0], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT;
}
