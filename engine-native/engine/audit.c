/* SPDX-License-Identifier: BSD-3-Clause
 * What to do when destroy reports were lost, or do not come: the kernel keeps a closed listener as long as somebody is half
 * connected to it, and a socket as long as a packet of it waits somewhere. Of every tracked socket the engine must learn whether it
 * still exists:
 *  - listeners and bound UDP sockets are in the kernel's tables: a SOCK_DIAG dump names the cookie of each;
 *  - the placeholder of a shared TCP connection, and a listener that was shut down, are in no table. Their cookie is read through pidfd_getfd() from the
 *    processes of this user that hold sockets. When one of them cannot be examined, shared connections are kept.
 * A socket must be missing in two audits in a row: it may have been travelling in an SCM_RIGHTS message. */
#define _GNU_SOURCE
#include "internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define AUDIT_AGAIN (2 * NS_PER_S)
#define AUDIT_AFTER_DEATH (500 * NS_PER_MS) /* most reports are there by then, and nothing is left to look for */
#define AUDIT_MISSES 2

static void seen(struct engine *e, uint64_t cookie)
{
    struct tracked *t = tracked_by_cookie(e, cookie);
    if (t != NULL)
        t->missed = 0;
}

/* ---- The kernel's tables ---- */

static bool dump_ask(int fd, uint8_t family, uint8_t protocol)
{
    struct {
        struct nlmsghdr h;
        struct inet_diag_req_v2 r;
    } ask = {
        .h = {.nlmsg_len = sizeof ask, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .r = {.sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = UINT32_MAX},
    };
    return send(fd, &ask, sizeof ask, 0) == (ssize_t)sizeof ask;
}

/* 1: the dump is complete, 0: more to come, -1: failed. */
static int dump_part(struct engine *e, int fd)
{
    union {
        char bytes[32768];
        struct nlmsghdr align;
    } buffer;
    ssize_t n = recv(fd, buffer.bytes, sizeof buffer, 0);
    int left = (int)n;
    if (n <= 0)
        return -1;
    for (struct nlmsghdr *h = &buffer.align; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        const struct inet_diag_msg *m = NLMSG_DATA(h);
        if (h->nlmsg_type == NLMSG_DONE)
            return 1;
        if (h->nlmsg_type == NLMSG_ERROR)
            return -1;
        if (h->nlmsg_len >= NLMSG_LENGTH(sizeof *m))
            seen(e, (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0]);
    }
    return 0;
}

static bool dump_tables(struct engine *e)
{
    static const uint8_t what[][2] = {
        {AF_INET, IPPROTO_TCP}, {AF_INET6, IPPROTO_TCP}, {AF_INET, IPPROTO_UDP}, {AF_INET6, IPPROTO_UDP}};
    struct timeval limit = {.tv_sec = 1};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), result = 1;
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (int i = 0; i < 4 && result == 1; i++) {
        result = dump_ask(fd, what[i][0], what[i][1]) ? 0 : -1;
        while (result == 0)
            result = dump_part(e, fd);
    }
    close(fd);
    return result == 1;
}

/* ---- Descriptors of processes ---- */

static bool look_at_fd(struct engine *e, int pidfd, int dir, const char *name)
{
    char target[32];
    ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
    if (n < 7 || memcmp(target, "socket:", 7) != 0)
        return true;
    int fd = pidfd_getfd(pidfd, atoi(name), 0);
    if (fd < 0)
        return errno == EBADF || errno == ESRCH; /* closed meanwhile */
    uint64_t cookie;
    socklen_t len = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0)
        seen(e, cookie);
    close(fd);
    return true;
}

/* False when the process lives and could not be examined. */
static bool look_at_process(struct engine *e, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return errno == ESRCH || errno == EINVAL;
    DIR *dir = opendir(path);
    bool complete = dir != NULL || errno == ENOENT;
    for (struct dirent *d; dir != NULL && complete && (d = readdir(dir)) != NULL;)
        if (isdigit((unsigned char)d->d_name[0]))
            complete = look_at_fd(e, pidfd, dirfd(dir), d->d_name);
    if (dir != NULL)
        closedir(dir);
    close(pidfd);
    return complete;
}

static bool look_at_processes(struct engine *e)
{
    DIR *proc = opendir("/proc");
    bool complete = proc != NULL;
    for (struct dirent *d; proc != NULL && (d = readdir(proc)) != NULL;) {
        struct stat st;
        pid_t pid = isdigit((unsigned char)d->d_name[0]) ? atoi(d->d_name) : 0;
        if (pid == 0 || pid == getpid() || fstatat(dirfd(proc), d->d_name, &st, 0) != 0)
            continue;
        /* A socket may have been passed to another user's process, but only of a client that changed its user. */
        if (e->uid != 0 && st.st_uid != e->uid && client_by_pid(e, pid) == NULL)
            continue;
        complete = look_at_process(e, pid) && complete;
    }
    if (proc != NULL)
        closedir(proc);
    return complete;
}

/* A socket is tracked that nobody is known to have: who brought it is gone. */
static bool orphans(struct engine *e)
{
    struct tracked *t, *next;
    HASH_ITER(by_session, e->by_session, t, next)
        if (!t->closing && !client_alive(e, t->creator))
            return true;
    return false;
}

void audit_after_death(struct engine *e)
{
    if (orphans(e))
        timer_at(e, TIMER_AUDIT, e->now + AUDIT_AFTER_DEATH);
}

static bool in_tables(const struct tracked *t)
{
    return t->kind != ZS_KIND_TCP && !t->stopped;
}

void audit_due(struct engine *e)
{
    struct tracked *t, *next;
    bool hidden = false, again = false;
    if (!e->audit_all && !orphans(e))
        return;
    e->audit_all = false;
    COUNT(e, AUDITS);
    HASH_ITER(by_session, e->by_session, t, next) {
        t->missed++;
        hidden = hidden || !in_tables(t);
    }
    bool tables = dump_tables(e), processes = hidden && look_at_processes(e);
    if (hidden && !processes)
        admin_warn(e, "reports of closed sockets were lost and not all programs can be examined: shared connections "
                      "are kept until their programs end");
    HASH_ITER(by_session, e->by_session, t, next) {
        if (in_tables(t) ? !tables : !processes)
            t->missed = 0;
        if (t->missed == 0 || t->closing)
            continue;
        if (t->missed < AUDIT_MISSES) {
            again = true;
            continue;
        }
        LOG_INFO(e, "session %u: its socket is gone, found by audit", t->session);
        COUNT(e, CLOSED_BY_AUDIT);
        tracked_close(e, t);
    }
    if (again) {
        e->audit_all = true;
        timer_at(e, TIMER_AUDIT, e->now + AUDIT_AGAIN);
    }
}
