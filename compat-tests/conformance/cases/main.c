/* SPDX-License-Identifier: BSD-3-Clause
 *
 *   conformance --list            name, world and reason of each case, separated by tabs
 *   conformance CASE              runs one case and prints its trace; 0 done, 1 a built-in check failed, 2 no such case
 *   conformance CASE --hold       at the end prints `== end connects=N` and stays until a line or the end of stdin
 *   conformance --inherited ...   what the cases about exec run in the new program */
#include "lib.h"

#ifdef HAVE_LIBURING
#define LIBURING(X) X(liburing)
#else
#define LIBURING(X)
#endif
#define TABLES X(data) X(flags) X(bulk) X(files) X(closing) X(shutdown) X(timeouts) X(connect) X(backlog) X(listen) \
    X(names) X(options) X(tcpopts) X(urgent) X(epoll) X(edge) X(sets) X(poll) X(signals) X(sigmore) X(sigio) X(fds) X(stdio) X(procs) X(forked) X(together) \
    X(memory) X(clones) X(daemons) X(exec) X(scm) X(udp) X(udpmore) X(udplate) X(udpwait) X(confine) X(uring) LIBURING(X)
#define X(name) extern const struct conf_case name##_cases[];
TABLES
#undef X
int inherited_main(int argc, char **argv);

static const struct conf_case *const tables[] = {
#define X(name) name##_cases,
    TABLES
#undef X
};

static _Atomic int connects;
static pid_t main_pid;

void count_connect(void)
{
    if (getpid() == main_pid)
        connects++;
}

static const char *const world_names[] = {"tcp", "listen", "udp", "kernel"};

static const struct conf_case *find(const char *name)
{
    for (size_t t = 0; t < COUNT(tables); t++)
        for (const struct conf_case *c = tables[t]; c->name != NULL; c++)
            if (name == NULL)
                printf("%s\t%s\t%s\n", c->name, world_names[c->world], c->reason ? c->reason : "");
            else if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

int main(int argc, char **argv)
{
    self_path = "/proc/self/exe";
    if (argc >= 2 && strcmp(argv[1], "--inherited") == 0)
        return inherited_main(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        find(NULL);
        return 0;
    }
    const struct conf_case *c = argc >= 2 ? find(argv[1]) : NULL;
    bool hold = argc == 3 && strcmp(argv[2], "--hold") == 0;
    if (c == NULL || (argc > 2 && !hold)) {
        fprintf(stderr, "usage: conformance --list | CASE [--hold]\n");
        return 2;
    }
    main_pid = getpid();
    c->run();
    if (hold) {
        char byte;
        trace("== end connects=%d", connects);
        while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
            ;
    }
    return 0;
}
