/* SPDX-License-Identifier: BSD-3-Clause
 * Listeners: what libfstack's sockets accept goes into the queues of the programs. A program whose queue is full leaves the
 * oldest connection waiting here and the others in libfstack's queue, which then refuses new ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "fstack.h"

#define BACKLOG_MIN 128u /* what one turn may bring before the program's own queue, which has its bound, takes it */

bool fs_offer(struct fs_listener *l, int fd, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct fstack *fs = l->sock.fs;
    struct fs_conn *c = fs_conn_new(fs, fd);
    uint32_t own = ZS_NO_SESSION;
    void *conn = NULL;
    if (c == NULL)
        return false;
    fs->accepting = c;
    int err = fs->events->accept(fs->engine, local, remote, &own, &conn);
    fs->accepting = NULL;
    if (err != 0) {
        free(c);
        if (err != -EAGAIN)
            fs_abort_fd(fd);
        return err != -EAGAIN;
    }
    if (fs_conn_start(c, own, conn)) {
        struct kevent arrived = {.filter = EVFILT_READ};
        fs_poke(fs, c, fs->now);
        if (!c->sock.dead)
            fs_conn_event(c, &arrived); /* with data, perhaps: before the event was asked for */
    } else {
        zs_session_close(fs->view, own, true);
        fs->events->closed(fs->engine, conn);
        fs_abort_fd(fd);
        free(c);
    }
    fs->events->accepted(fs->engine);
    return true;
}

static void hold(struct fs_listener *l, int fd, const struct zs_addr *local, const struct zs_addr *remote)
{
    l->held = fd;
    l->held_local = *local;
    l->held_remote = *remote;
    l->sock.fs->nheld++;
    l->sock.fs->accepts_held++;
}

void fs_listener_event(struct fs_listener *l)
{
    struct fstack *fs = l->sock.fs;
    struct sockaddr_storage at;
    struct zs_addr local, remote;
    while (l->held < 0 && !l->sock.dead) {
        socklen_t len = sizeof at;
        int fd = ff_accept(l->sock.fd, (struct linux_sockaddr *)&at, &len);
        if (fd < 0 && errno == ECONNABORTED)
            continue;
        if (fd < 0)
            return;
        fs_to_zs(fs, &at, &remote);
        len = sizeof at;
        if (ff_getsockname(fd, (struct linux_sockaddr *)&at, &len) != 0) {
            ff_close(fd); /* reset already */
            continue;
        }
        fs_to_zs(fs, &at, &local);
        if (!fs_defer(l, fd, &local, &remote) && !fs_offer(l, fd, &local, &remote))
            hold(l, fd, &local, &remote);
    }
}

static void retry(struct fs_listener *l)
{
    int fd = l->held;
    if (fd < 0 || l->sock.fs->events->accept_full(l->sock.fs->engine, &l->held_local, &l->held_remote))
        return;
    l->held = -1;
    l->sock.fs->nheld--;
    if (!fs_offer(l, fd, &l->held_local, &l->held_remote))
        hold(l, fd, &l->held_local, &l->held_remote);
    else
        fs_listener_event(l); /* those behind it */
}

void fs_listeners_retry(struct fstack *fs)
{
    struct fs_listener *l;
    if (fs->nheld > 0)
        LIST_FOREACH(l, &fs->listeners, link)
            retry(l);
}

int fs_listen(void *stack, const struct zs_addr *local, uint32_t backlog, void **listener)
{
    struct fstack *fs = stack;
    struct fs_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    int fd = fs_socket(fs, local, SOCK_STREAM), err = fd < 0 ? fd : 0;
    if (err == 0 && ff_listen(fd, (int)RTE_MAX(backlog, BACKLOG_MIN)) != 0)
        err = -errno;
    if (err == 0)
        err = fs_sock_open(&l->sock, fs, FS_LISTENER, fd);
    if (err != 0) {
        if (fd >= 0)
            ff_close(fd);
        free(l);
        return err;
    }
    l->held = -1;
    l->backlog = RTE_MAX(backlog, BACKLOG_MIN);
    TAILQ_INIT(&l->deferred);
    LIST_INSERT_HEAD(&fs->listeners, l, link);
    *listener = l;
    return 0;
}

void fs_unlisten(void *stack, void *listener)
{
    struct fs_listener *l = listener;
    (void)stack;
    LIST_REMOVE(l, link);
    fs_deferred_end(l);
    if (l->held >= 0) {
        fs_abort_fd(l->held);
        l->sock.fs->nheld--;
    }
    fs_sock_close(&l->sock);
}
