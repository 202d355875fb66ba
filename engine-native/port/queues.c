/* SPDX-License-Identifier: BSD-3-Clause
 * A device's queues: how many, which thread has which, what decides by which of them a frame comes, and what tells that one did. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "internal.h"

#define RSS_TABLE_MAX 4096u
#define RSS_TCP (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)

/* ---- Who has which ---- */

/* The queues that net_af_packet and net_af_xdp were made with have frames, whoever looks. Other devices make what they are told to. */
static uint32_t wanted(const struct port *p, const struct rte_eth_dev_info *info)
{
    uint32_t most = RTE_MAX(1, RTE_MIN(info->max_rx_queues, info->max_tx_queues));
    switch (p->kind) {
    case PORT_MEMIF:
        return 1; /* its connection belongs to one thread */
    case PORT_AF_PACKET:
    case PORT_AF_XDP:
        return most;
    default:
        return RTE_MIN(most, p->threads.n);
    }
}

bool queues_choose(struct port *p, const struct rte_eth_dev_info *info, struct port_failure *f)
{
    uint32_t n = wanted(p, info);
    p->queues = (uint16_t)n;
    if (n <= PORT_QUEUES_MAX)
        return true;
    port_fail(f, "make the device with fewer: qpairs=, queue_count=", "%s: %u queues are more than a port has, %u", p->spec.device, n,
              PORT_QUEUES_MAX);
    return false;
}

static struct lane *lane_new(struct port *p, uint32_t thread)
{
    struct lane *l = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(sizeof *l));
    if (l == NULL)
        return NULL;
    memset(l, 0, sizeof *l);
    l->port = p;
    l->first = l->at = (uint16_t)thread;
    l->nrx = (uint16_t)(thread < p->queues ? (p->queues - thread + p->threads.n - 1) / p->threads.n : 0);
    l->tx = (uint16_t)(thread % p->queues);
    l->set = l->nrx > 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;
    return l;
}

bool queues_lanes(struct port *p, struct port_failure *f)
{
    p->shared = p->threads.n > p->queues;
    for (uint32_t i = 0; i < p->threads.n; i++) {
        p->lane[i] = lane_new(p, i);
        if (p->lane[i] == NULL || (p->lane[i]->nrx > 0 && p->lane[i]->set < 0)) {
            port_fail(f, "raise the limit of open files (ulimit -n), or free memory", "%s: no descriptor: %s", p->spec.device,
                      strerror(errno));
            return false;
        }
    }
    return true;
}

void queues_free(struct port *p)
{
    for (uint32_t i = 0; i < p->threads.n; i++) {
        struct lane *l = p->lane[i];
        if (l == NULL)
            continue;
        rte_pktmbuf_free_bulk(l->stash, l->stashed);
        if (l->set >= 0)
            close(l->set);
        free(l);
    }
}

/* ---- Which gets a frame ---- */

void queues_scale(struct port *p, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
    uint64_t types = info->flow_type_rss_offloads & RSS_TCP;
    p->spread = p->queues > 1 ? PORT_SPREAD_DEVICE : PORT_SPREAD_NONE;
    if (p->kind != PORT_PCI || p->queues == 1 || types == 0)
        return;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = types;
    uint8_t size = info->hash_key_size != 0 ? info->hash_key_size : PORT_RSS_KEY; /* not every driver says */
    if (p->threads.key == NULL || size < PORT_RSS_KEY)
        return;
    /* What the hash of a TCP flow is computed with is the beginning, however long the key. */
    for (uint32_t i = 0; i < size; i++)
        p->rss_key[i] = p->threads.key[i % PORT_RSS_KEY];
    conf->rx_adv_conf.rss_conf.rss_key = p->rss_key;
    conf->rx_adv_conf.rss_conf.rss_key_len = size;
    p->spread = types == RSS_TCP ? PORT_SPREAD_OURS : PORT_SPREAD_DEVICE;
}

/* One that does not tell is believed. */
static bool has_key(const struct port *p)
{
    uint8_t key[UINT8_MAX] = {0};
    struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = sizeof key};
    return rte_eth_dev_rss_hash_conf_get(p->id, &conf) != 0 ||
           (memcmp(key, p->rss_key, PORT_RSS_KEY) == 0 && (conf.rss_hf & RSS_TCP) == RSS_TCP);
}

/* Not every driver takes it when it is configured. */
static bool set_key(struct port *p, uint8_t size)
{
    struct rte_eth_rss_conf conf = {.rss_key = p->rss_key, .rss_key_len = size != 0 ? size : PORT_RSS_KEY, .rss_hf = RSS_TCP};
    return has_key(p) || (rte_eth_dev_rss_hash_update(p->id, &conf) == 0 && has_key(p));
}

/* Entry by entry: the thread that has the flow, and of the queues the one that it polls, if there are fewer of them the same for
 * several threads. */
static bool set_table(const struct port *p, uint32_t size)
{
    struct rte_eth_rss_reta_entry64 table[RSS_TABLE_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
    if (size == 0 || size > RSS_TABLE_MAX || size % RTE_ETH_RETA_GROUP_SIZE != 0)
        return false;
    for (uint32_t i = 0; i < size; i++) {
        struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];
        group->mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
        group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = (uint16_t)(i % p->threads.table % p->threads.n % p->queues);
    }
    return rte_eth_dev_rss_reta_update(p->id, table, (uint16_t)size) == 0;
}

/* After the start: some drivers write a table of their own then. */
void queues_steer(struct port *p)
{
    struct rte_eth_dev_info info;
    if (p->spread != PORT_SPREAD_OURS)
        return;
    p->spread = PORT_SPREAD_DEVICE;
    if (rte_eth_dev_info_get(p->id, &info) != 0 || !set_key(p, info.hash_key_size) || !set_table(p, info.reta_size))
        return;
    /* A smaller table than ours says which thread it is only where it knows all that the remainder depends on. */
    uint32_t size = info.reta_size, n = p->threads.n;
    if (size % p->threads.table == 0 || (p->threads.table % size == 0 && size % n == 0))
        p->spread = PORT_SPREAD_OURS;
}

/* ---- Set-up ---- */

static int set_up(struct port *p, uint16_t queue, uint16_t rx, uint16_t tx)
{
    struct queue_fds before, after;
    if (p->kind == PORT_AF_XDP)
        queue_fds_list(&before, QUEUE_FD_XDP, 0);
    int error = rte_eth_rx_queue_setup(p->id, queue, rx, SOCKET_ID_ANY, NULL, p->pool);
    if (error == 0)
        error = rte_eth_tx_queue_setup(p->id, queue, tx, SOCKET_ID_ANY, NULL);
    if (p->kind != PORT_AF_XDP)
        return error;
    queue_fds_list(&after, QUEUE_FD_XDP, 0);
    queue_fds_subtract(&after, &before);
    p->queue_fd[queue] = after.n == 1 ? after.fd[0] : -1;
    return error;
}

int queues_set_up(struct port *p, uint16_t rx, uint16_t tx)
{
    int error = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rx, &tx);
    for (uint16_t q = 0; error == 0 && q < p->queues; q++)
        error = set_up(p, q, rx, tx);
    return error;
}

/* ---- Descriptors ---- */

/* The driver opened its sockets one after the other, and nothing in between that was closed since. */
static bool find_sockets(struct port *p, struct port_failure *f)
{
    struct queue_fds sockets;
    queue_fds_list(&sockets, QUEUE_FD_PACKET, p->iface.index);
    for (unsigned q = 0; q < p->queues && sockets.n == p->queues; q++)
        p->queue_fd[q] = sockets.fd[q];
    if (sockets.n <= p->queues)
        return true;
    port_fail(f, "give the interface to one device", "%s: the interface %s has several receivers in this engine", p->spec.device,
              p->iface.name);
    return false;
}

static bool is_taken(const struct port *p, uint16_t queue)
{
    bool taken = false;
    for (uint16_t q = 0; q < queue; q++)
        taken = taken || p->queue_fd[q] == p->queue_fd[queue];
    return taken;
}

/* A device may have fewer interrupts than queues: the one of several is waited for by the first of them, or one would take what
 * another waits for. */
static void find_interrupts(struct port *p)
{
    for (uint16_t q = 0; q < p->queues; q++) {
        p->queue_fd[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
        if (p->queue_fd[q] < 0)
            break; /* it has none */
        if (is_taken(p, q))
            p->queue_fd[q] = -1;
    }
}

static bool watch_lane(struct port *p, struct lane *l)
{
    l->fds = l->nrx > 0;
    for (uint16_t q = l->first; q < p->queues; q = (uint16_t)(q + p->threads.n)) {
        if (p->queue_fd[q] < 0)
            l->fds = false;
        else if (!port_watch(l->set, p->queue_fd[q], true))
            return false;
    }
    l->rx_intr = l->fds && p->kind == PORT_PCI && p->rx_intr;
    return true;
}

bool queues_watch(struct port *p, struct port_failure *f)
{
    if (p->kind == PORT_TAP || (p->kind == PORT_PCI && p->rx_intr))
        find_interrupts(p);
    if (p->kind == PORT_AF_PACKET && !find_sockets(p, f))
        return false;
    for (uint32_t i = 0; i < p->threads.n; i++) {
        if (!watch_lane(p, p->lane[i])) {
            port_fail(f, "see the engine's log", "%s: cannot watch its queues: %s", p->spec.device, strerror(errno));
            return false;
        }
    }
    return true;
}
