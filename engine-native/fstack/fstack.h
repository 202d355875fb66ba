/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine's TCP/IP stack over libfstack (FreeBSD's TCP/IP in user space). This backend keeps the engine's own ports
 * (engine-native/port): libfstack sees a device per port whose functions are in device.c, so that every port sleeps, counts
 * and is set up as with the native stack. Sockets are those of ff_api.h, events those of its kqueue.
 *
 * libfstack has one stack per process and runs in the thread that calls it; it reads no clock for its timers but the ticks
 * that clock.c gives it. */
#ifndef ZSTACK_FSTACK_H
#define ZSTACK_FSTACK_H

#include <rte_timer.h>

#include <ff_api.h>
#include <ff_event.h>
#include <sys/queue.h>

#include "stack_ports.h" /* first: it settles whose NS_PER_S counts */

#include "callouts.h"
#include "ring.h"
#include "rxpool.h"
#include "wire_stack.h"

#define FSTACK_HZ 100u /* ticks a second */
#define TICK_NS (NS_PER_S / FSTACK_HZ)
#define FS_OID_MAX 24      /* CTL_MAXNAME there */
#define FS_SYSCTL_MAX 256u /* bytes of a name or of a value */
#define DEVICE_BACKLOG 1024u /* frames that wait for room in a port's transmit ring */
#define RX_BUFFERS 16383u
#define RX_SCARCE (RX_BUFFERS / 2) /* with fewer free FreeBSD gets copies; also net_af_xdp's ring, of 2,048, is filled anew from the rest */

enum fs_kind { FS_CONN, FS_LISTENER, FS_DEFERRED, FS_UDP, FS_ICMP };

/* To whom packets go on the link of a port; port, from 1, 0: there is no route. */
struct fs_hop {
    struct ip_addr addr;
    uint32_t port;
};

/* What an event's udata points to. */
struct fs_sock {
    enum fs_kind kind;
    bool dead; /* closed; freed when the turn is over, since events of this turn may name it */
    int fd;    /* of libfstack */
    struct fstack *fs;
    SLIST_ENTRY(fs_sock) grave;
};

struct fs_conn {
    struct fs_sock sock;
    uint32_t own; /* ZS_NO_SESSION: let go */
    void *conn;   /* the engine's */
    bool connecting;
    bool rx_eof;   /* nothing comes after what is in the socket */
    bool rx_ended; /* the application was told */
    bool rx_waits; /* for room in its ring */
    bool tx_ended, tx_waits; /* for room in the socket */
    uint32_t bits; /* ZS_O_* as libfstack has them */
    uint32_t congestion, maxseg;
    struct fs_hop hop; /* while it connects */
    uint64_t rx_bytes, tx_bytes; /* read from the socket, written to it */
    struct zs_tx tx;
    LIST_ENTRY(fs_conn) link;
};

struct fs_listener {
    struct fs_sock sock;
    int held; /* accepted, and waiting for room in the program's queue; -1 none */
    struct zs_addr held_local, held_remote;
    uint32_t backlog, ndeferred;
    TAILQ_HEAD(, fs_deferred) deferred; /* the oldest first */
    LIST_ENTRY(fs_listener) link;
};

/* Accepted, and waiting for data before its program may have it (TCP_DEFER_ACCEPT). */
struct fs_deferred {
    struct fs_sock sock;
    struct fs_listener *listener;
    struct zs_addr local, remote;
    uint64_t until;
    bool held; /* it may be had, and the program's queue is full */
    TAILQ_ENTRY(fs_deferred) link;
};

struct fs_udp {
    struct fs_sock sock;
    struct zs_addr local;
    uint8_t ttl, tos; /* as libfstack's socket has them; 0: its default */
    uint8_t many_ttl; /* of what goes to groups */
    uint32_t many_port; /* by which that leaves; 0: not set */
    LIST_ENTRY(fs_udp) link;
};

/* That a program's socket, of which `member` is the engine's name, has joined a group on a port. */
struct fs_member {
    uint32_t port; /* from 1 */
    uint8_t group[16];
    const void *member;
    LIST_ENTRY(fs_member) link;
};

/* The beginning of a datagram that waits for its next hop's address. */
struct fs_quote {
    struct zs_addr local, remote;
    STAILQ_ENTRY(fs_quote) link;
    uint32_t len;
    uint8_t data[];
};

/* A next hop whose link address FreeBSD has asked for. */
#define FS_SOUGHT_MAX 64u
struct fs_sought {
    struct fs_hop hop;
    uint32_t asked;
    uint64_t next; /* question, or end */
    bool resolved;
    uint32_t nquotes;
    STAILQ_HEAD(, fs_quote) quotes;
};

/* A next hop about which there is no question until then. */
#define FS_KNOWN 256u
struct fs_known {
    struct fs_hop hop;
    uint64_t until;
};

/* An address or a network of IPv6 that a router gave. */
#define FS_LEARNED_MAX 32u
struct fs_learned {
    struct ip_addr addr, hop; /* hop any: on the link */
    uint8_t prefix_len, port; /* port: from 1 */
    bool own; /* an address of ours */
    uint8_t pad; /* they are compared as bytes */
};

/* A port, as libfstack's device of the same index. */
struct fs_device {
    struct fstack *fs;
    struct stack_port at;
    struct rte_mbuf *waiting[DEVICE_BACKLOG];
    uint16_t nwaiting;
    int ifindex;                 /* in libfstack */
    uint32_t solicitations;      /* of routers that are still to be sent */
    void *queue, *no_callback;   /* what the inlined burst functions look up */
    uint64_t tx_dropped, finished_sums;
};

struct fstack {
    struct zs_view *view;
    const struct wire_events *events;
    void *engine;
    struct rxpool rx; /* what ports receive into; libfstack keeps frames in its socket buffers */
    struct fs_device device[WIRE_PORTS_MAX];
    uint32_t nports;
    enum engine_ecn ecn;
    const char *const *sysctls; /* NAME=VALUE */
    uint32_t nsysctls;
    int kq;
    struct fs_sock icmp[2]; /* IPv4, IPv6: errors about datagrams */
    struct fs_conn *accepting;
    LIST_HEAD(, fs_conn) conns;
    LIST_HEAD(, fs_listener) listeners;
    LIST_HEAD(, fs_udp) udps;
    LIST_HEAD(, fs_member) members;
    int keeper[2]; /* sockets that hold the memberships, IPv6 and IPv4; 0: none yet */
    SLIST_HEAD(, fs_sock) graves;
    uint32_t nconns, nheld;
    uint64_t now;
    /* The clock: what libfstack's timer does on each tick, when the next is due, until when there are any. */
    void (*tick)(struct rte_timer *, void *);
    void *tick_arg;
    uint64_t next_tick, tick_until;
    struct callouts callouts;
    /* One turn of libfstack's loop */
    uint32_t rx_budget, rx_taken;
    bool rx_scarce; /* receive buffers: FreeBSD gets copies */
    bool dispatch;    /* events are handled in this turn */
    bool more_events; /* than one look at them takes */
    bool urgent; /* a segment with an urgent pointer has come; from then on each read looks for the mark */
    uint32_t congestion; /* ZS_CC_* of sockets that chose none */
    /* TCP_DEFER_ACCEPT: of all listeners, and when the first of them has waited long enough, if not earlier */
    uint32_t ndeferred;
    uint64_t defer_look;
    /* Next hops (neigh.c) */
    struct fs_sought sought[FS_SOUGHT_MAX];
    struct fs_known known[FS_KNOWN];
    uint32_t nsought;
    uint64_t neigh_look; /* when the first question or end is due */
    /* Routers' advertisements: whether a port believes them, what they gave, when that and they are looked at and asked next */
    bool ra;
    struct fs_learned learned[FS_LEARNED_MAX];
    uint32_t nlearned;
    uint64_t ra_look, ra_solicit;
    uint8_t datagram[65536];
    uint64_t ticks, turns, events_seen, accepts_held, rx_copied, rx_dropped;
    uint64_t urgent_rx, deferred, unresolved, ra_rx;
};

/* ---- open.c ---- */
void *fs_open(const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *f);
void fs_close(void *stack, uint64_t now);

/* ---- stack.c ---- */
void fs_flush(void *stack);

/* ---- conf.c: libfstack's configuration, as the text that its parser reads ---- */
/* A memfd, or a negative errno. */
int fs_conf_write(const struct fstack *fs);

/* ---- sysctl.c ---- */
/* The number of a sysctl and its length; 0: there is none of that name. */
unsigned fs_sysctl_find(const char *name, int oid[FS_OID_MAX]);
/* Those of the command line. False: one is not known or refused, *f says which. */
bool fs_sysctls_apply(const struct fstack *fs, struct engine_failure *f);
void fs_describe_sysctls(const struct fstack *fs, json_t *wire);

/* ---- seam.c: what libfstack calls of DPDK's EAL and of the C library and gets from us instead ---- */
/* Runs libfstack's start-up with this configuration. False: it gave up; `why` is what it said last. */
bool fs_seam_start(struct fstack *fs, int conf_fd, char *why, size_t size);
void fs_seam_end(void);
/* Between these, what libfstack frees stays as it is. */
void fs_seam_hold(void);
void fs_seam_release(void);

/* ---- device.c ---- */
void fs_devices_start(struct fstack *fs);
void fs_device_flush(struct fs_device *d);

/* ---- clock.c ---- */
void fs_clock_start(struct fstack *fs);
void fs_clock_run(struct fstack *fs); /* the ticks that are due */
uint64_t fs_clock_next(const struct fstack *fs); /* when a tick is next of use; UINT64_MAX: not foreseen */
void fs_clock_busy(struct fstack *fs); /* something happened that timers may follow */

/* ---- sock.c ---- */
int fs_errno(int bsd); /* FreeBSD's number of an error to Linux's */
socklen_t fs_from_zs(const struct fstack *fs, const struct zs_addr *a, struct sockaddr_storage *to);
void fs_to_zs(const struct fstack *fs, const struct sockaddr_storage *from, struct zs_addr *a);
int fs_socket(struct fstack *fs, const struct zs_addr *local, int type); /* non-blocking; negative errno */
bool fs_watch(struct fs_sock *s, int filter, int flags);
int fs_sock_open(struct fs_sock *s, struct fstack *fs, enum fs_kind kind, int fd);
void fs_sock_close(struct fs_sock *s); /* and frees it after the turn */
void fs_abort_fd(int fd);              /* RST */
bool fs_set_int(int fd, int level, int bsd_name, int value);

/* ---- conn.c ---- */
int fs_connect(void *stack, struct zs_addr *local, const struct zs_addr *remote, uint32_t port, uint32_t own, void *conn,
               void **handle, uint64_t now);
void *fs_accepting(void *stack);
void fs_poke(void *stack, void *handle, uint64_t now);
void fs_conn_event(struct fs_conn *c, const struct kevent *e);
struct fs_conn *fs_conn_new(struct fstack *fs, int fd);
bool fs_conn_start(struct fs_conn *c, uint32_t own, void *conn);
void fs_conn_end(struct fs_conn *c, int err);
/* An ICMP error about a segment with that number to `remote`: ends the connection that is being opened, if it is that one's. */
void fs_conn_refused(struct fstack *fs, const struct zs_addr *local, const struct zs_addr *remote, uint32_t seq, int err);

/* ---- urgent.c ---- */
void fs_urgent_sniff(struct fstack *fs, struct rte_mbuf *const *frames, uint16_t n); /* received ones */
void fs_urgent_look(struct fs_conn *c, struct zs_session *app); /* before a read: is there a mark? */
/* Of the n bytes that the application wrote and own's ring has, those before the urgent one; n: that is not among them. */
uint64_t fs_urgent_before(const struct zs_session *own, uint64_t n);

/* ---- conn_info.c ---- */
const char *fs_conn_state(void *stack, void *handle);
void fs_conn_info(void *stack, void *handle, uint64_t now, struct zs_tcp_info *info);
uint32_t fs_conn_next(const struct fs_conn *c); /* sequence number that it sends next */

/* ---- conn_opts.c ---- */
/* For the status: how many of the connections, of the first 4096, have which congestion control. */
void fs_describe_congestion(const struct fstack *fs, json_t *wire);
void fs_conn_options(struct fs_conn *c, struct zs_session *app);
void fs_congestion_default(struct fstack *fs); /* asks for it */

/* ---- listen.c ---- */
int fs_listen(void *stack, const struct zs_addr *local, uint32_t backlog, void **listener);
void fs_unlisten(void *stack, void *listener);
void fs_listener_event(struct fs_listener *l);
void fs_listeners_retry(struct fstack *fs);
/* Gives an accepted socket to the engine. False: it has to wait. */
bool fs_offer(struct fs_listener *l, int fd, const struct zs_addr *local, const struct zs_addr *remote);

/* ---- defer.c ---- */
/* Keeps an accepted socket until it has something to read. False: the listener does not want that. */
bool fs_defer(struct fs_listener *l, int fd, const struct zs_addr *local, const struct zs_addr *remote);
void fs_deferred_event(struct fs_deferred *d, const struct kevent *e);
void fs_deferred_run(struct fstack *fs);
uint64_t fs_deferred_next(const struct fstack *fs);
void fs_deferred_end(struct fs_listener *l); /* the listener goes */

/* ---- udp.c ---- */
int fs_udp_open(void *stack, const struct zs_addr *local, void **socket);
void fs_udp_close(void *stack, void *socket);
int fs_udp_send(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now);
void fs_udp_event(struct fs_udp *u);

/* ---- groups.c ---- */
int fs_group(void *stack, const struct wire_filter *f, void *member, uint64_t now);
void fs_groups_join(struct fstack *fs, const struct fs_udp *u); /* what programs have joined already */
void fs_groups_close(struct fstack *fs);

/* ---- neigh.c ---- */
struct fs_hop fs_next_hop(const struct fstack *fs, const struct zs_addr *remote); /* to a host */
void fs_neigh_sniff(struct fs_device *d, struct rte_mbuf *const *frames, uint16_t n); /* frames that leave */
/* A datagram was given to FreeBSD for a host. */
void fs_neigh_sent(struct fs_udp *u, const struct zs_addr *remote, const void *data, uint32_t len);
void fs_neigh_run(struct fstack *fs);
uint64_t fs_neigh_next(const struct fstack *fs);
void fs_neigh_close(struct fstack *fs);

/* ---- ra.c ---- */
bool fs_ra_start(struct fs_device *d, uint32_t index); /* false, errno: libfstack refuses */
void fs_ra_heard(struct fstack *fs, uint32_t port);
void fs_ra_run(struct fstack *fs);
uint64_t fs_ra_next(const struct fstack *fs);
const struct fs_learned *fs_ra_address(const struct fstack *fs, uint32_t port); /* NULL: none */

/* ---- icmp.c ---- */
void fs_icmp_open(struct fstack *fs);
void fs_icmp_event(struct fs_sock *s);

/* ---- describe.c ---- */
json_t *fs_describe_ports(void *stack);
void fs_describe_memory(void *stack, json_t *wire);
uint32_t fs_addresses(void *stack, struct zs_wire_addr *to, uint32_t max);
uint32_t fs_ports(void *stack, struct zs_wire_port *to, uint32_t max);

/* ---- stats.c ---- */
json_t *fs_describe_counters(void *stack);

#endif
