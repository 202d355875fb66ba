/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets that travel in SCM_RIGHTS messages, and stdio on sockets. */
#include "preload.h"

#include <fcntl.h>
#include <stdio_ext.h>

/* Calls f for each descriptor in the message. */
static void each_right(const struct msghdr *msg, void (*f)(int))
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            f(fd);
        }
    }
}

/* It may soon have a second holder. */
static void right_leaves(int fd)
{
    struct zsock *k = zsock_hold(fd);
    if (k == NULL)
        return;
    client_self();
    dgram_passed(k, fd);
    if (sock_leaves(k, fd) && k->s != NULL)
        share_socks(&k, 1);
    zsock_drop(k);
}

/* A descriptor arrived: whatever the table had for its number is gone; it may be a socket of this engine. */
static void right_arrives(int fd)
{
    if (fd < 0)
        return;
    uintptr_t stale = fdtab_raw(fd);
    if (fd_tag(stale) == FDT_KEPT)
        return;
    fdtab_take(fd);
    if (!zs_proc.conf.enabled)
        return;
    client_self();
    sock_claim(fd);
}

void scm_sent(const struct msghdr *msg)
{
    if (!signals_guarded() || zs_passthrough() || !user_readable(msg, sizeof *msg) || msg->msg_controllen == 0 ||
        !user_readable(msg->msg_control, msg->msg_controllen))
        return; /* no socket of ours; or the kernel has the error for it */
    frame_enter();
    each_right(msg, right_leaves);
    frame_end();
}

void scm_received(struct msghdr *msg)
{
    frame_enter();
    each_right(msg, right_arrives);
    frame_end();
}

/* ---- stdio ---- */

/* The C library's streams call its internal read and write, which no preload sees: a stream on an accelerated socket gets
 * our functions. (fileno of such a stream is -1; getting it right needs the library's own file type.) */
static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
    return zsp_read((int)(intptr_t)cookie, buf, n);
}

static ssize_t cookie_write(void *cookie, const char *buf, size_t n)
{
    ssize_t r = zsp_write((int)(intptr_t)cookie, buf, n);
    return r < 0 ? 0 : r;
}

static int cookie_close(void *cookie)
{
    return zsp_close((int)(intptr_t)cookie);
}

/* A socket came to be descriptor 0, 1 or 2: the standard stream on it becomes one that uses our functions, and stays one, since
 * those serve any descriptor. What the old one had buffered goes along. */
void stdio_standard(int fd)
{
    static bool done[3];
    FILE **const std[] = {&stdin, &stdout, &stderr};
    if (fd < 0 || fd > 2 || done[fd] || *std[fd] == NULL || fileno(*std[fd]) != fd)
        return;
    const cookie_io_functions_t io = {.read = cookie_read, .write = cookie_write, .close = cookie_close};
    FILE *old = *std[fd], *f = fopencookie((void *)(intptr_t)fd, fd == 0 ? "r" : "w", io);
    if (f == NULL)
        return;
    done[fd] = true;
    f->_fileno = fd;
    if (fd == 2)
        setvbuf(f, NULL, _IONBF, 0);
    if (fd != 0) {
        fwrite(old->_IO_write_base, 1, __fpending(old), f);
        __fpurge(old);
    }
    *std[fd] = f;
}

FILE *zsp_fdopen(int fd, const char *mode)
{
    struct zsock *k = fd_sock(fdtab_raw(fd));
    if (k == NULL || zs_passthrough())
        return REAL(fdopen)(fd, mode);
    const cookie_io_functions_t io = {.read = cookie_read, .write = cookie_write, .close = cookie_close};
    FILE *f = fopencookie((void *)(intptr_t)fd, mode, io);
    if (f != NULL)
        f->_fileno = fd; /* so that fileno(3) answers; the stream itself only uses our functions */
    return f;
}
