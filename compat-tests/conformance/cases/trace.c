/* SPDX-License-Identifier: BSD-3-Clause
 * Printing: every line is one write to stdout, so that the trace of a case that hangs or dies is there up to that point. */
#include "lib.h"

#include <arpa/inet.h>

static void line(const char *head, const char *fmt, va_list args)
{
    char buf[2048];
    int n = snprintf(buf, sizeof buf, "%s", head);
    n += vsnprintf(buf + n, sizeof buf - 1 - (size_t)n, fmt, args);
    if (n > (int)sizeof buf - 2)
        n = (int)sizeof buf - 2;
    buf[n] = '\n';
    if (write(STDOUT_FILENO, buf, (size_t)n + 1) < 0)
        _exit(3);
}

void trace(const char *fmt, ...)
{
    int err = errno;
    va_list args;
    va_start(args, fmt);
    line("", fmt, args);
    va_end(args);
    errno = err;
}

void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line("FAIL: ", fmt, args);
    va_end(args);
    _exit(1);
}

static long result(const char *call, long r, int err, bool is_fd)
{
    if (r < 0 && err != 0)
        trace("%s = %ld %s", call, r, err_name(err));
    else if (is_fd)
        trace("%s = a descriptor", call);
    else
        trace("%s = %ld", call, r);
    errno = err;
    return r;
}

long trace_result(const char *call, long r, int err)
{
    return result(call, r, err, false);
}

long trace_fd(const char *call, long r, int err)
{
    return result(call, r, err, true);
}

const char *err_name(int err)
{
    static __thread char number[24];
    const char *name = strerrorname_np(err);
    if (err == 0)
        return "0";
    if (name != NULL)
        return name;
    snprintf(number, sizeof number, "errno %d", err);
    return number;
}

struct flag {
    uint32_t bit;
    const char *name;
};

static const char *flags_text(const struct flag *flags, size_t n, uint32_t set)
{
    static __thread char text[4][128];
    static __thread unsigned turn;
    char *to = text[turn++ % 4];
    to[0] = 0;
    for (size_t i = 0; i < n; i++)
        if (set & flags[i].bit) {
            strcat(to, to[0] ? "|" : "");
            strcat(to, flags[i].name);
            set &= ~flags[i].bit;
        }
    if (set != 0)
        snprintf(to + strlen(to), 16, "|%x", set);
    return to[0] ? to : "0";
}

const char *events_text(uint32_t events)
{
    static const struct flag flags[] = {{EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},       {EPOLLOUT, "OUT"},
                                        {EPOLLERR, "ERR"},       {EPOLLHUP, "HUP"},       {EPOLLRDHUP, "RDHUP"},
                                        {EPOLLRDNORM, "RDNORM"}, {EPOLLRDBAND, "RDBAND"}, {EPOLLWRNORM, "WRNORM"},
                                        {EPOLLWRBAND, "WRBAND"}};
    return flags_text(flags, COUNT(flags), events);
}

const char *revents_text(short revents)
{
    static const struct flag flags[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},
                                        {POLLERR, "ERR"},       {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},
                                        {POLLRDHUP, "RDHUP"},   {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
                                        {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}};
    return flags_text(flags, COUNT(flags), (uint16_t)revents);
}

/* p1 for the first port that is shown, p2 for the next. */
static void port_text(int port, char to[16])
{
    static int seen[64];
    static int n;
    int i = 0;
    while (i < n && seen[i] != port)
        i++;
    if (i == n && n < (int)COUNT(seen))
        seen[n++] = port;
    snprintf(to, 16, port == 0 ? "0" : "p%d", i + 1);
}

const char *addr_text(const struct sockaddr_storage *a, socklen_t len)
{
    static __thread char text[4][96];
    static __thread unsigned turn;
    char *to = text[turn++ % 4], ip[INET6_ADDRSTRLEN] = "?", port[16];
    if (len == 0)
        return "none";
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        port_text(ntohs(in->sin_port), port);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        port_text(ntohs(in6->sin6_port), port);
    } else {
        snprintf(port, sizeof port, "family %d", a->ss_family);
    }
    snprintf(to, 96, a->ss_family == AF_INET6 ? "[%s]:%s len %u" : "%s:%s len %u", ip, port, (unsigned)len);
    return to;
}
