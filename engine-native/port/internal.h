/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Parts of a port. Each has its own file and can be started and stopped alone; stopping what was not started is fine. */
#ifndef ZSTACK_PORT_INTERNAL_H
#define ZSTACK_PORT_INTERNAL_H

#include <net/if.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <stdatomic.h>

#include "port.h"

#define PORT_STASH 32u
#define PORT_QUEUES_MAX 16u
#define MS_NS UINT64_C(1000000)
#define SLEEP_POLL_NS MS_NS         /* a device that cannot wake us */
#define SLEEP_QUIET_NS (4 * MS_NS) /* one that has been quiet for POLL_QUIET sleeps */
#define POLL_QUIET 500u
#define SLEEP_LINK_NS (10 * MS_NS)  /* a memif that is not connected */
#define SERVICE_NS (100 * MS_NS)    /* memif: control channel, reconnects */

/* ---- The kernel's interface under the device (iface.c) ---- */

struct iface {
    unsigned index; /* 0: none */
    char name[IFNAMSIZ];
    char driver[32];
    unsigned flags;
    uint32_t mtu;
    /* What was changed, for putting it back */
    int promisc_fd;
    bool gro_was_on, lro_was_on, mtu_changed;
    unsigned peer_index; /* of a veth that was told not to send several segments in one frame */
    uint32_t peer_gso_max_segs;
};

bool iface_read(struct iface *i, unsigned index, struct port_failure *f);
bool iface_exists(const struct iface *i);
bool iface_is_running(const struct iface *i);
bool iface_set_mtu(struct iface *i, uint32_t mtu);
bool iface_promisc(struct iface *i);
/* No frame longer than the MTU may come: switches off what merges segments here and what leaves them whole at a veth's
 * other end. False: that other end is out of reach. */
bool iface_no_long_frames(struct iface *i);
/* True when the sender may leave checksums to a hardware that is not there. */
bool iface_sums_unfinished(const struct iface *i);
void iface_restore(struct iface *i);
/* Marks the transport checksum of frames that the kernel never finished as good. */
void iface_mark_unfinished(struct rte_mbuf *m);

/* ---- net_tap (tap.c) ---- */

struct tap {
    void (*trigger)(int sig);
};

void tap_start(struct tap *t, int fd);
bool tap_is_up(int fd);
/* Stops and closes a device whose interface may have been moved to another network namespace. */
void tap_close_device(uint16_t id, int fd, bool started);

/* ---- memif: the other engine's bell (bell.c) ---- */

struct bell_page {
    _Atomic uint32_t state; /* odd: asleep. Incremented by its owner only. */
    uint32_t pad[1023];
};

struct bell {
    char path[108];
    bool listens, up;
    int listen_fd, conn, page_fd;
    uint64_t bound_dev, bound_ino;  /* the socket file that is ours to remove */
    struct bell_page *mine;         /* the other reads it */
    const struct bell_page *theirs; /* never trusted: any content at worst rings too often or too rarely */
    uint32_t rung;                  /* state of theirs that was rung for */
};

bool bell_start(struct bell *b, const char *path, bool listens, int set, struct port_failure *f);
void bell_stop(struct bell *b);
void bell_service(struct bell *b, int set); /* the client's connect; the listener's bind */
void bell_event(struct bell *b, int set, int fd);
void bell_asleep(struct bell *b, bool asleep);
void bell_ring(struct bell *b); /* after a transmit burst */

/* ---- memif (memif.c) ---- */

struct memif_hold;

struct memif {
    bool client;
    uint32_t buffer_size;
    char socket[108];
    struct memif_hold *hold;
    bool held; /* the connection is up and stays up */
    uint64_t next_service, next_start;
    uint64_t busy_since; /* frames at each look; 0: none at the last one */
};

bool memif_devargs(struct memif *m, const char *args, struct port_failure *f);
bool memif_start(struct port *p, struct port_failure *f);
void memif_close_device(struct port *p);
void memif_service(struct port *p);
bool memif_is_ready(const struct memif *m); /* bursts may run */
/* After a burst of n: is the connection to be looked after now? The other engine may have ended, and its last frames go with the
 * connection: not before they are taken. */
bool memif_is_due(struct memif *m, uint16_t n);

/* ---- Long segments cut for devices that cannot (gso.c) ---- */

struct gso {
    struct rte_mempool *heads, *pieces; /* NULL: not in use */
};

/* in_flight: frames that the device may keep, and some. */
bool gso_start(struct gso *g, uint16_t id, uint32_t in_flight, struct port_failure *f);
void gso_stop(struct gso *g); /* when the device keeps none any more */
/* Cuts a segment marked with RTE_MBUF_F_TX_TCP_SEG into complete frames, up to NET_TSO_FRAMES, which refer to it: the caller frees
 * it. 0: no buffers, nothing changed. */
uint16_t gso_cut(struct gso *g, struct rte_mbuf *m, struct rte_mbuf **out);

/* ---- Finding the descriptor that tells of frames (queue_fd.c) ---- */

#define QUEUE_FDS_MAX 64

struct queue_fds {
    int fd[QUEUE_FDS_MAX];
    unsigned n;
};

enum queue_fd_type {
    QUEUE_FD_PACKET, /* an AF_PACKET socket that receives from the interface */
    QUEUE_FD_XDP,    /* an AF_XDP socket */
    QUEUE_FD_BPF,    /* a program or map */
};

void queue_fds_list(struct queue_fds *fds, enum queue_fd_type type, unsigned ifindex);
void queue_fds_subtract(struct queue_fds *fds, const struct queue_fds *others);
/* Closes those that still are of that type. */
void queue_fds_close(const struct queue_fds *fds, enum queue_fd_type type);

/* ---- The link (link.c) ---- */

struct link_watch {
    int fd; /* where the kernel tells of its interfaces; -1: it does not */
    bool up;
    _Atomic uint32_t ups; /* times that it came up */
    uint64_t ask_at;
};

void link_start(struct port *p); /* of a started port */
void link_stop(struct link_watch *l);
void link_set(struct port *p, bool up);
void link_event(struct port *p); /* the kernel told something */
void link_ask(struct port *p);   /* before a sleep */

/* ---- Queues (queues.c) ---- */

/* What one thread has of the port. The figures are its own to write, and for all to read. */
struct lane {
    struct port *port;
    uint16_t first, nrx; /* the receive queues: this one, and as many as there are by steps of as many as there are threads */
    uint16_t at;         /* the one to look at next */
    uint16_t tx;         /* the queue that it sends by */
    bool rx_intr;        /* PCI: its queues' interrupts can be armed and waited for */
    bool fds;            /* each of its queues has a descriptor that is readable while a frame waits */
    bool gone;           /* those of an interface that was removed are out of `set` */
    int set;             /* epoll instance: queues, bell; -1: it receives nothing */
    uint16_t stashed;
    uint32_t quiet; /* sleeps since the last frame */
    struct rte_mbuf *stash[PORT_STASH]; /* received by the last look before a sleep */
    _Atomic uint64_t rx_frames, rx_long;
    _Atomic uint64_t cut_lost; /* frames that were cut and that the device did not take */
    _Atomic uint64_t wakes;
};

enum port_spread { PORT_SPREAD_NONE, PORT_SPREAD_DEVICE, PORT_SPREAD_OURS };

/* How many queues there are to be, each way. False: too many. */
bool queues_choose(struct port *p, const struct rte_eth_dev_info *info, struct port_failure *f);
/* What each thread has of them. */
bool queues_lanes(struct port *p, struct port_failure *f);
/* Asks for receive side scaling by our key, where the device has it. `conf` refers to the port. */
void queues_scale(struct port *p, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf);
/* 0 or a negative errno value. For net_af_xdp: notes the socket of each. */
int queues_set_up(struct port *p, uint16_t rx, uint16_t tx);
/* On a started device: the table from the hash to the queue. */
void queues_steer(struct port *p);
/* On a started device: finds and watches the descriptors that tell of frames. */
bool queues_watch(struct port *p, struct port_failure *f);
void queues_free(struct port *p);

static inline void lane_count(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- The port ---- */

struct port {
    struct port_spec spec;
    enum port_kind kind;
    uint16_t id;
    bool owned, started;
    char driver[32];
    struct rte_mempool *pool;
    struct rte_ether_addr mac;
    uint16_t mtu;
    uint32_t caps;
    uint16_t tso_max; /* net_port_conf's */
    struct gso gso;
    uint32_t frame_max; /* a received one at least this long is not one of this link; 0: not looked at */
    bool mark_sums, rx_intr; /* rx_intr: the device was configured with interrupts of its queues */
    struct port_threads threads;
    struct lane *lane[PORT_THREADS_MAX];
    uint16_t queues; /* each way */
    enum port_spread spread;
    uint8_t rss_key[UINT8_MAX]; /* the threads' key, as long as the device wants it */
    int queue_fd[PORT_QUEUES_MAX];
    struct queue_fds xdp, bpf; /* made by net_af_xdp when it was configured */
    _Atomic bool queue_gone; /* the interface was removed */
    bool shared; /* several threads send by one queue: each takes the lock. All of a memif's calls do, its connection may change in any */
    pthread_mutex_t lock, intr_lock;
    struct iface iface;
    struct tap tap;
    struct bell bell;
    struct memif memif;
    struct link_watch link;
    uint64_t rx_missed;
    port_tap_fn *tapped; /* is told of each frame; NULL: nobody */
    void *tapped_arg;
    uint32_t tapped_number;
    bool peer_unreachable;
    _Atomic bool told_long, told_gone;
    char warning[256];
};

void port_fail(struct port_failure *f, const char *hint, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool port_link_up(struct port *p); /* asks the device; it is the first thread's */
uint64_t port_now(void);
bool port_watch(int set, int fd, bool add);
const char *port_devargs(const struct rte_eth_dev_info *info);
/* The value of KEY in "KEY=VALUE,...", NULL when it is not there. */
const char *port_devarg(const char *args, const char *key, char *value, size_t size);

#endif
