/* SPDX-License-Identifier: BSD-3-Clause
 * What net_memif needs beyond the bell.
 *
 * The driver tears a connection down in EAL's interrupt thread as soon as the other engine dies, and unmaps the rings that
 * a burst of ours may just be reading. So while a connection is up that thread is kept waiting in a callback of ours, but
 * for a moment every SERVICE_NS, when no burst runs. A client whose server is not there, or went away, has to be
 * started again by somebody. And a server greets whoever connects, and must live when he is gone by then. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_log.h>
#include <rte_memzone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define HOLD_NAME "zstack_port_hold"
#define DEFAULT_BUFFER 2048u
#define DEFAULT_SOCKET "/run/memif.sock"
#define LISTENER_FD_MAX 1024
#define HANDSHAKE_NS (20 * SERVICE_NS) /* in which a server has to answer */

/* ---- Holding EAL's interrupt thread ---- */

/* One for all memif ports of the process, found by its name among DPDK's memory zones. */
struct memif_hold {
    const struct rte_memzone *zone;
    uint32_t users, holders;
    struct rte_intr_handle *handle;
    int event;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool want, holds;
};

/* In the interrupt thread. */
static void hold_callback(void *arg)
{
    struct memif_hold *h = arg;
    uint64_t n;
    if (read(h->event, &n, sizeof n) < 0 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&h->lock);
    h->holds = h->want;
    pthread_cond_broadcast(&h->changed);
    while (h->want)
        pthread_cond_wait(&h->changed, &h->lock);
    h->holds = false;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

/* Waits until the thread is held. What became ready before our event is handled before it. False: it is busy elsewhere. */
static bool hold_thread(struct memif_hold *h)
{
    struct timespec end;
    uint64_t one = 1;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec++;
    pthread_mutex_lock(&h->lock);
    h->want = true;
    if (!h->holds && write(h->event, &one, sizeof one) == sizeof one)
        while (!h->holds && pthread_cond_timedwait(&h->changed, &h->lock, &end) == 0)
            ;
    bool holds = h->want = h->holds;
    pthread_mutex_unlock(&h->lock);
    return holds;
}

static void release_thread(struct memif_hold *h)
{
    pthread_mutex_lock(&h->lock);
    h->want = false;
    pthread_cond_broadcast(&h->changed);
    while (h->holds)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static bool hold_init(struct memif_hold *h)
{
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    h->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    return h->event >= 0 && h->handle != NULL && rte_intr_fd_set(h->handle, h->event) == 0 &&
           rte_intr_type_set(h->handle, RTE_INTR_HANDLE_EXT) == 0 &&
           rte_intr_callback_register(h->handle, hold_callback, h) >= 0;
}

static void hold_put(struct memif_hold *h)
{
    if (--h->users > 0)
        return;
    release_thread(h);
    if (h->handle != NULL) {
        while (rte_intr_callback_unregister(h->handle, hold_callback, h) == -EAGAIN)
            sched_yield();
        rte_intr_instance_free(h->handle);
    }
    if (h->event >= 0)
        close(h->event);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    rte_memzone_free(h->zone);
}

static struct memif_hold *hold_get(void)
{
    const struct rte_memzone *zone = rte_memzone_lookup(HOLD_NAME);
    if (zone == NULL) {
        zone = rte_memzone_reserve(HOLD_NAME, sizeof(struct memif_hold), SOCKET_ID_ANY, 0);
        if (zone == NULL)
            return NULL;
        memset(zone->addr, 0, sizeof(struct memif_hold));
        struct memif_hold *h = zone->addr;
        h->zone = zone;
        h->users = 1;
        if (!hold_init(h)) {
            hold_put(h);
            return NULL;
        }
        return h;
    }
    struct memif_hold *h = zone->addr;
    h->users++;
    return h;
}

static void hold(struct memif *m)
{
    m->held = hold_thread(m->hold);
    m->hold->holders += m->held;
}

static void release(struct memif *m)
{
    if (!m->held)
        return;
    m->held = false;
    if (--m->hold->holders == 0)
        release_thread(m->hold);
}

/* ---- Greetings ---- */

#define MESSAGE_SIZE 128u /* of memif's control protocol: its type, then what belongs to it */
#define MESSAGE_HELLO 2u

static bool is_greeting(const struct msghdr *msg)
{
    uint16_t type;
    if (msg->msg_iovlen != 1 || msg->msg_iov->iov_len != MESSAGE_SIZE)
        return false;
    memcpy(&type, msg->msg_iov->iov_base, sizeof type);
    return type == MESSAGE_HELLO;
}

/* In place of the C library's, for the driver, too, whose call the dynamic linker binds to the program's. A server of DPDK 22.11 that
 * cannot greet closes the connection, but leaves it to the interrupt thread, which then panics: anybody who connects and is gone at
 * once would end the engine. Told that the greeting was sent, it finds the connection's end, and does all that belongs to one. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    bool greets = rte_thread_is_intr() && is_greeting(msg);
    ssize_t n = syscall(SYS_sendmsg, fd, msg, greets ? flags | MSG_NOSIGNAL : flags);
    return greets && n < 0 && (errno == EPIPE || errno == ECONNRESET) ? (ssize_t)MESSAGE_SIZE : n;
}

/* ---- The connection ---- */

bool memif_devargs(struct memif *m, const char *args, struct port_failure *f)
{
    char value[64];
    const char *role = port_devarg(args, "role", value, sizeof value);
    m->client = role == NULL || (strcmp(role, "server") != 0 && strcmp(role, "master") != 0);
    const char *size = port_devarg(args, "bsize", value, sizeof value);
    m->buffer_size = size != NULL ? (uint32_t)strtoul(size, NULL, 10) : DEFAULT_BUFFER;
    if (port_devarg(args, "socket", m->socket, sizeof m->socket) == NULL)
        snprintf(m->socket, sizeof m->socket, "%s", DEFAULT_SOCKET);
    const char *copy = port_devarg(args, "zero-copy", value, sizeof value);
    if (copy == NULL || strcmp(copy, "yes") != 0)
        return true;
    port_fail(f, "leave zero-copy=yes out of the --vdev",
              "zero-copy of memif hands out DPDK's whole memory and cannot send ours");
    return false;
}

static bool is_connected(const struct port *p)
{
    struct rte_eth_link link;
    return p->started && rte_eth_link_get_nowait(p->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* The driver calls a server that is not there yet an error, ten times a second. */
static bool start_quietly(struct port *p)
{
    int type = rte_log_register("pmd.net.memif");
    int level = type >= 0 ? rte_log_get_level((uint32_t)type) : -1;
    if (level >= 0)
        rte_log_set_level((uint32_t)type, RTE_LOG_CRIT);
    p->started = rte_eth_dev_start(p->id) == 0;
    if (level >= 0)
        rte_log_set_level((uint32_t)type, (uint32_t)level);
    return p->started;
}

bool memif_start(struct port *p, struct port_failure *f)
{
    p->memif.hold = hold_get();
    if (p->memif.hold == NULL) {
        port_fail(f, "give DPDK more memory: -m MIB after --", "%s: no memory to watch over its connection", p->spec.device);
        return false;
    }
    if (!start_quietly(p) && !p->memif.client) {
        port_fail(f, "see the engine's log", "%s cannot start: %s", p->spec.device, rte_strerror(rte_errno));
        return false;
    }
    p->memif.next_start = port_now() + HANDSHAKE_NS;
    return true;
}

/* The driver forgets its listening socket without taking it from the interrupt thread, which would call it for the next
 * client, with freed memory. The descriptor cannot be closed, for that thread panics then: it becomes one that never
 * wakes. */
static void silence_listener(const struct port *p)
{
    for (int fd = 3; fd < LISTENER_FD_MAX; fd++) {
        struct sockaddr_un at = {.sun_family = AF_UNSPEC};
        socklen_t len = sizeof at - 1, one = sizeof(int);
        int listens = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &one) != 0 || !listens ||
            getsockname(fd, (struct sockaddr *)&at, &len) != 0 || at.sun_family != AF_UNIX)
            continue;
        const char *name = at.sun_path[0] == 0 ? at.sun_path + 1 : at.sun_path;
        int silent = strcmp(name, p->memif.socket) == 0 ? eventfd(0, EFD_CLOEXEC) : -1;
        if (silent < 0)
            continue;
        dup3(silent, fd, O_CLOEXEC);
        close(silent);
    }
}

/* Stops the device, and closes it, while the interrupt thread is nowhere in the driver. */
static void stop_device(struct port *p, bool close_too)
{
    struct memif_hold *h = p->memif.hold;
    release(&p->memif);
    if (h != NULL)
        hold_thread(h);
    if (p->started)
        rte_eth_dev_stop(p->id);
    p->started = false;
    if (close_too) {
        rte_eth_dev_close(p->id);
        if (!p->memif.client)
            silence_listener(p);
    }
    if (h != NULL && h->holders == 0)
        release_thread(h);
}

void memif_close_device(struct port *p)
{
    stop_device(p, true);
    if (p->memif.hold != NULL)
        hold_put(p->memif.hold);
    p->memif.hold = NULL;
}

static void restart(struct port *p, uint64_t now)
{
    if (!p->memif.client || now < p->memif.next_start)
        return;
    stop_device(p, false);
    /* A handshake takes a few messages; one that has not come to its end by then will not. To a server that is only late a client
     * must not be gone: when DPDK's (22.11) cannot greet it, it closes the connection and leaves it to the interrupt thread, which
     * panics. */
    p->memif.next_start = now + (start_quietly(p) ? HANDSHAKE_NS : SERVICE_NS);
}

bool memif_is_ready(const struct memif *m)
{
    return m->held && m->hold->holds;
}

bool memif_is_due(struct memif *m, uint16_t n)
{
    uint64_t now = n > 0 ? port_now() : 0;
    if (n > 0 && m->busy_since == 0)
        m->busy_since = now;
    /* Nor do frames without end keep the interrupt thread for ever. */
    if (n > 0 && now - m->busy_since < SERVICE_NS)
        return false;
    m->busy_since = 0;
    return true;
}

void memif_service(struct port *p)
{
    struct memif *m = &p->memif;
    uint64_t now = port_now();
    if (memif_is_ready(m) && now < m->next_service)
        return;
    if (now >= m->next_service) {
        /* The moment in which the interrupt thread may work, also for the messages by which another port connects. */
        m->next_service = now + (m->held ? SERVICE_NS : SLEEP_LINK_NS);
        if (m->hold->holders > 0) {
            release_thread(m->hold);
            if (!hold_thread(m->hold))
                return;
        }
        if (p->spec.bell[0] != 0)
            bell_service(&p->bell, p->lane[0]->set);
    }
    if (is_connected(p) && !m->held)
        hold(m);
    /* Before it was held it may have gone down. */
    if (!is_connected(p)) {
        release(m);
        restart(p, now);
    }
    link_set(p, m->held);
}
