/* SPDX-License-Identifier: BSD-3-Clause
 * What net_memif needs beyond the bell.
 *
 * The driver tears a connection down in EAL's interrupt thread as soon as the other engine dies, and unmaps the rings that
 * a burst of ours may just be reading. So while a connection is up that thread is kept waiting in a callback of ours, but
 * for a moment every SERVICE_NS, when no burst runs. And a client whose server is not there, or went away, has to be
 * started again by somebody. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_log.h>
#include <rte_memzone.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define HOLD_NAME "zstack_port_hold"
#define DEFAULT_BUFFER 2048u

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

/* Waits until the thread is held. What became ready before our event is handled before it. */
static void hold_thread(struct memif_hold *h)
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
    pthread_mutex_unlock(&h->lock);
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

static void hold(struct memif *m, bool on)
{
    if (m->held == on)
        return;
    m->held = on;
    m->hold->holders += on ? 1 : -1u;
    if (on && m->hold->holders == 1)
        hold_thread(m->hold);
    else if (!on && m->hold->holders == 0)
        release_thread(m->hold);
}

/* ---- The connection ---- */

bool memif_devargs(struct memif *m, const char *args, struct port_failure *f)
{
    char value[64];
    const char *role = port_devarg(args, "role", value, sizeof value);
    m->client = role == NULL || (strcmp(role, "server") != 0 && strcmp(role, "master") != 0);
    const char *size = port_devarg(args, "bsize", value, sizeof value);
    m->buffer_size = size != NULL ? (uint32_t)strtoul(size, NULL, 10) : DEFAULT_BUFFER;
    const char *copy = port_devarg(args, "zero-copy", value, sizeof value);
    if (copy == NULL || strcmp(copy, "yes") != 0)
        return true;
    port_fail(f, "leave zero-copy=yes out of the --vdev", "zero-copy of memif hands out DPDK's whole memory and cannot send ours");
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
    p->memif.next_start = port_now() + 5 * SERVICE_NS;
    return true;
}

void memif_stop(struct port *p)
{
    if (p->memif.hold == NULL)
        return;
    hold(&p->memif, false);
    hold_put(p->memif.hold);
    p->memif.hold = NULL;
}

void memif_service(struct port *p, uint64_t now)
{
    struct memif *m = &p->memif;
    if (m->held) {
        release_thread(m->hold);
        hold_thread(m->hold);
    }
    bool up = is_connected(p);
    if (up && !m->held) {
        hold(m, true);
        up = is_connected(p);
    }
    hold(m, up);
    if (!up && m->client && now >= m->next_start) {
        /* A handshake takes a few messages; one that has not come to an end by now will not. */
        m->next_start = now + 5 * SERVICE_NS;
        if (p->started)
            rte_eth_dev_stop(p->id);
        if (!start_quietly(p))
            m->next_start = now + SERVICE_NS;
    }
    m->next_service = now + (up ? SERVICE_NS : SLEEP_LINK_NS);
}
