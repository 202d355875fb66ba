/* SPDX-License-Identifier: BSD-3-Clause
 * Attached processes: who may attach, and how the engine learns that one is gone. */
#define _GNU_SOURCE
#include "capture.h"
#include "proc.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

struct client *client_get(const struct engine *e, uint32_t id)
{
    struct client *c = ZS_CLIENT_SLOT(id) < ZS_MAX_CLIENTS ? e->clients[ZS_CLIENT_SLOT(id)] : NULL;
    return c != NULL && c->id == id ? c : NULL;
}

bool client_alive(const struct engine *e, uint32_t id)
{
    return client_get(e, id) != NULL;
}

struct client *client_by_pid(const struct engine *e, pid_t pid)
{
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++)
        if (e->clients[i] != NULL && e->clients[i]->pid == pid)
            return e->clients[i];
    return NULL;
}

static bool token_known(const struct engine *e, const uint8_t token[16])
{
    static const uint8_t none[16];
    if (memcmp(token, none, 16) == 0)
        return false;
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++)
        if (e->clients[i] != NULL && memcmp(e->clients[i]->token, token, 16) == 0)
            return true;
    /* A daemon's parent is often gone before its child attaches: what was handed out stays good. */
    for (uint32_t i = 0; i < RETIRED_TOKENS; i++)
        if (memcmp(e->retired[i], token, 16) == 0)
            return true;
    return false;
}

bool client_process_dead(const struct client *c)
{
    struct pollfd p = {c->pidfd.fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static void pidfd_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)events;
    struct client *c = CONTAINER(s, struct client, pidfd);
    LOG_INFO(e, "process %d (%s) ended", (int)c->pid, c->name);
    COUNT(e, CLIENTS_DIED);
    client_remove(e, c);
}

void client_eof(struct engine *e, struct client *c)
{
    /* Its private descriptors survive everything but exec: an end of file from a living process is an exec, and what
     * the new image keeps was shared before. */
    if (client_process_dead(c)) {
        COUNT(e, CLIENTS_DIED);
    } else {
        COUNT(e, CLIENTS_EXECED);
        LOG_DEBUG(e, "process %d (%s) left: exec", (int)c->pid, c->name);
    }
    client_remove(e, c);
}

/* What it counted outlives it in the engine's totals (`ended_...`): programs that ran briefly count, too. */
static void keep_counts(struct engine *e, struct zs_client *shm)
{
    e->counters[COUNT_ENDED_CONNECTS] += atomic_load_explicit(&shm->connects, memory_order_relaxed);
    e->counters[COUNT_ENDED_ACCEPTS] += atomic_load_explicit(&shm->accepts, memory_order_relaxed);
    e->counters[COUNT_ENDED_BYTES_IN] += atomic_load_explicit(&shm->bytes_in, memory_order_relaxed);
    e->counters[COUNT_ENDED_BYTES_OUT] += atomic_load_explicit(&shm->bytes_out, memory_order_relaxed);
}

void client_remove(struct engine *e, struct client *c)
{
    uint32_t slot = ZS_CLIENT_SLOT(c->id), id = c->id;
    struct zs_client *shm = &e->view.arena->client[slot];
    uint32_t spinners = atomic_load(&shm->spinners);

    conn_take_told(e, c->conn); /* what it shared lives on */
    capture_due(e); /* while it still has a name */
    e->clients[slot] = NULL; /* from here on it counts as dead */
    e->client_count--;
    keep_counts(e, shm);
    atomic_store(&shm->id, 0);
    memcpy(e->retired[e->retired_next++ % RETIRED_TOKENS], c->token, 16);
    if (c->conn != NULL)
        conn_close(e, c->conn);
    pending_drop_client(e, id);
    reap_client(e, spinners);
    audit_after_death(e);
    waiters_free_of(e, id);
    admin_life_event(e, c, "detach");
    source_close(e, &c->pidfd);
    defer_free(e, c);
    linger_update(e);
}

/* Text of another process: what a terminal or a JSON reader would choke on is replaced. */
static void copy_text(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; i + 1 < size && from[i] != 0; i++)
        to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
    to[i] = 0;
}

static int client_slot(struct engine *e)
{
    for (uint32_t n = 0; n < ZS_MAX_CLIENTS; n++) {
        uint32_t slot = (e->client_cursor + n) % ZS_MAX_CLIENTS;
        if (e->clients[slot] == NULL) {
            e->client_cursor = slot + 1;
            return (int)slot;
        }
    }
    return -EUSERS;
}

static int peer_pidfd(const struct conn *c)
{
    int fd;
    socklen_t len = sizeof fd;
    if (getsockopt(c->src.fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
        return fd;
    fd = pidfd_open(c->cred.pid, 0);
    return fd < 0 ? -ESRCH : fd;
}

/* Nobody but the engine's user and root, and programs that one of their attached programs started. */
static int may_attach(struct engine *e, const struct conn *c, const struct zs_ctl_request *r)
{
    if (r->u.hello.version != ZS_CTL_VERSION || r->u.hello.layout != ZS_LAYOUT_VERSION ||
        r->u.hello.layout_size != sizeof(struct zs_arena))
        return -EPROTO;
    if (!c->trusted && !token_known(e, r->u.hello.token)) {
        COUNT(e, HELLO_DENIED);
        return -EPERM;
    }
    return c->client != NULL ? -EISCONN : c->cred.pid <= 0 ? -ESRCH : 0;
}

static void publish(struct engine *e, const struct client *c)
{
    struct zs_client *shm = &e->view.arena->client[ZS_CLIENT_SLOT(c->id)];
    memset((void *)shm, 0, sizeof *shm);
    memcpy(shm->name, c->name, sizeof shm->name);
    memcpy(shm->run, c->run, sizeof shm->run);
    atomic_store(&shm->pid, (uint32_t)c->pid);
    atomic_store(&shm->id, c->id);
}

int client_attach(struct engine *e, struct conn *conn, const struct zs_ctl_request *r, struct zs_ctl_reply *reply)
{
    int err = may_attach(e, conn, r);
    if (err != 0)
        return err;
    int pidfd = peer_pidfd(conn);
    if (pidfd < 0)
        return pidfd;
    /* The same process again: it exec'ed while a child kept its old connection open. */
    struct client *old = client_by_pid(e, conn->cred.pid);
    if (old != NULL) {
        COUNT(e, CLIENTS_EXECED);
        client_remove(e, old);
    }
    int slot = client_slot(e);
    struct client *c = slot < 0 ? NULL : calloc(1, sizeof *c);
    if (c == NULL || !random_bytes(c->token, sizeof c->token) ||
        source_add(e, &c->pidfd, pidfd, EPOLLIN, pidfd_ready) != 0) {
        free(c);
        close(pidfd);
        return slot < 0 ? slot : -ENOMEM;
    }
    e->client_gen[slot] = (uint16_t)(e->client_gen[slot] % 0xfffeu + 1);
    c->id = (uint32_t)e->client_gen[slot] << 16 | (uint32_t)slot;
    c->pid = conn->cred.pid;
    char text[sizeof r->u.hello.run + 1] = {0};
    memcpy(text, r->u.hello.name, sizeof r->u.hello.name);
    copy_text(c->name, sizeof c->name, text);
    memset(text, 0, sizeof text);
    memcpy(text, r->u.hello.run, sizeof r->u.hello.run);
    copy_text(c->run, sizeof c->run, text);
    arena_mend(e);
    publish(e, c);
    e->clients[slot] = c;
    e->client_count++;
    TAILQ_REMOVE(&e->waiting, conn, link);
    *(conn->trusted ? &e->waiting_trusted : &e->waiting_other) -= 1;
    conn->client = c;
    c->conn = conn;
    linger_update(e);
    COUNT(e, CLIENTS_ATTACHED);
    LOG_INFO(e, "process %d (%s) attached as %08x", (int)c->pid, c->name, c->id);
    admin_life_event(e, c, "attach");
    reply->a = c->id;
    memcpy(reply->token, c->token, sizeof reply->token);
    reply->layout_size = sizeof(struct zs_arena);
    return 0;
}
