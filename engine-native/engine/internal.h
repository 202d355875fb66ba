/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine's private state. All of it hangs from struct engine; nothing here is read from shared memory, so that an
 * application's scribble cannot mislead it. Functions are grouped by the file that holds them. */
#ifndef ZSTACK_ENGINE_INTERNAL_H
#define ZSTACK_ENGINE_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <uthash.h>

#include <zstack/ctl.h>
#include <zstack/shm.h>

#include "engine.h"
#include "ops.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NEVER UINT64_MAX

enum counter {
#define X(id, name) COUNT_##id,
#include "counters.def"
#undef X
    COUNTER_N
};
#define COUNT(e, id) ((void)((e)->counters[COUNT_##id]++))

/* Timers: one deadline each, NEVER when off; an idle engine has none running. */
#define ENGINE_TIMERS(X)                                                                      \
    X(LINGER, linger_due)     /* end of life after the last program and lease */              \
    X(GRACE, graves_due)      /* closed listeners and UDP sockets whose slots may be freed */ \
    X(CONNECTS, pending_due)  /* deferred connects */                                         \
    X(RECHECK, reap_recheck)  /* slots found odd at a death */                                \
    X(TRIM, trim_due)         /* memory back to the kernel */                                 \
    X(AUDIT, audit_due)       /* after lost destroy events */                                 \
    X(ADDRS, addrs_due)       /* the host's addresses changed */                              \
    X(DIAG, diag_due)         /* many destroy events: next look */                          \
    X(ACCEPT, accept_resume)  /* out of descriptors a moment ago */ \
    X(CAPTURE, capture_due)   /* what programs wrote to the capture ring */
enum timer {
#define X(id, fn) TIMER_##id,
    ENGINE_TIMERS(X)
#undef X
    TIMER_N
};

/* Something the engine waits for. fd -1: closed, events of the current batch are dropped. */
struct source {
    int fd;
    uint32_t events;
    void (*ready)(struct engine *e, struct source *s, uint32_t events);
};
#define CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* A control connection; client is NULL until HELLO. */
struct conn {
    struct source src; /* first: see source_free() */
    struct ucred cred;
    bool trusted;   /* same uid or root */
    struct client *client;
    TAILQ_ENTRY(conn) link; /* while waiting for HELLO */
};
TAILQ_HEAD(conn_list, conn);

struct client {
    struct source pidfd; /* readable: the process is dead. First: see source_free() */
    uint32_t id;
    pid_t pid;
    struct conn *conn; /* NULL: its control connection is gone */
    uint8_t token[16];
    char name[16];
    char run[32];
};

struct waiter {
    uint32_t owner; /* client id, 0 free */
    uint32_t gen;
    int bell;
};

/* A session whose life the engine knows about: listeners, UDP sockets, and TCP sessions tied to a cookie. */
struct tracked {
    uint64_t cookie;
    uint32_t session, gen;
    uint32_t kind;    /* enum zs_session_kind */
    uint32_t creator; /* client id */
    uint32_t listener, listener_gen; /* TCP_LISTEN only */
    bool shared;
    bool stopped; /* nobody comes to it any more: shut down by one of those who hold it */
    bool closing; /* in `graves`: slots are freed at grave_due */
    bool by_cookie_in;
    uint8_t missed; /* audits that did not find its socket */
    uint16_t flags; /* ZS_F_REUSEPORT, ZS_F_V6ONLY */
    bool on_device; /* SO_BINDTODEVICE: same address twice is no conflict */
    struct zs_addr local;
    struct wire_port *wire_port[2]; /* where the stack has it, IPv4 and IPv6; NULL: not on the wire */
    struct wire_own *wire_tx;    /* UDP: what it sends over the wire goes through this */
    struct wire_own *wire_errors; /* UDP: errors about that, once asked for (IP_RECVERR) */
    uint32_t port; /* of the engine that it is bound to (SO_BINDTODEVICE), from 1; 0: to none */
    LIST_HEAD(, wire_membership) groups; /* UDP */
    uint64_t grave_due;
    TAILQ_ENTRY(tracked) port_link;
    TAILQ_ENTRY(tracked) grave_link;
    UT_hash_handle by_cookie, by_session;
};
TAILQ_HEAD(tracked_list, tracked);

/* The engine's own copy of one port's chain; the one in shared memory is rewritten from it. */
struct port {
    uint32_t key; /* kind << 16 | port, host order */
    struct tracked_list chain;
    UT_hash_handle hh;
};

/* A connect that waits for room in an accept queue. */
struct pending {
    uint32_t client;
    uint32_t client_end, client_gen;
    uint32_t server_end, server_gen;
    uint64_t deadline;
    TAILQ_ENTRY(pending) link;
};
struct pending_group {
    uint32_t listener, gen; /* key: listener */
    uint32_t session;
    TAILQ_HEAD(, pending) queue; /* in the order of their deadlines */
    UT_hash_handle hh;
};

/* A slot found odd at a death: it may be in the middle of an operation of a live process, so it is judged again later. */
enum suspect_type { SUSPECT_SESSION, SUSPECT_BLOCK, SUSPECT_LOAN };
struct suspect {
    enum suspect_type type;
    uint32_t index; /* session, or block reference */
    uint32_t gen;
    uint32_t state;
};

/* Buffers of a program's zero-copy sockets (ZS_CTL_BUFFERS_NEW). */
struct segment {
    uint32_t owner; /* client id, also after its death while somebody reads there; 0 free */
    uint32_t gen;   /* of the last that had this number, 1 to ZS_SEGMENT_GEN_MAX */
    uint64_t size;  /* bytes */
    int fd;
    bool ready; /* the owner has it mapped: sealed, and mapped here */
};

#define GONE_COOKIES_LOG2 13

struct admin_conn {
    struct source src; /* first: see source_free() */
    bool lease;
    bool lives; /* of the lease: the coming and going of programs is told */
    char run[32];
    char *in;
    size_t in_len;
    char *out;
    size_t out_len, out_sent;
    bool closing; /* after the output went */
    TAILQ_ENTRY(admin_conn) link;
};
TAILQ_HEAD(admin_list, admin_conn);

struct dpdk {
    bool enabled;
    bool hugepages;
    char version[64];
    char runtime_dir[256];
    char **argv; /* as given to EAL, without argv[0] */
    int argc;
};

#define RETIRED_TOKENS 1024u

struct engine {
    struct engine_options opt;
    char name[ENGINE_NAME_MAX + 1];
    uid_t uid;
    struct log log;
    uint64_t now, started;
    uint64_t linger_latest; /* end of life, whatever the wire still has to say */
    uint64_t counters[COUNTER_N];
    uint64_t due[TIMER_N];
    bool stopping;

    int epfd;
    struct epoll_event events[64];
    int nevents;
    void **garbage; /* freed after the current batch of events */
    size_t garbage_len, garbage_cap;

    int arena_fd;
    uint8_t header_line[ZS_CACHE_LINE]; /* the arena header's first line: constants */
    struct zs_view view; /* .ring finds the engine by CONTAINER() */
    bool has_netns_cookie;
    bool reports_lost; /* destroy reports, since the queue was last empty */
    bool audit_all;    /* the next audit looks for every socket, not only when some have no owner */
    uint64_t netns_cookie;

    struct source ctl, admin, admin_padded, bell, diag, route;
    uint64_t diag_looked; /* when destroy events were last read */
    struct conn_list waiting; /* connections before HELLO */
    uint32_t waiting_trusted, waiting_other;

    struct client *clients[ZS_MAX_CLIENTS];
    uint16_t client_gen[ZS_MAX_CLIENTS];
    uint32_t client_count, client_cursor;
    uint8_t retired[RETIRED_TOKENS][16];
    uint32_t retired_next;

    struct waiter waiters[ZS_MAX_WAITERS];
    uint32_t waiter_count;
    pthread_mutex_t waiters_lock; /* who changes the table, and other threads that ring */

    struct segment segments[ZS_MAX_SEGMENTS];
    struct zs_mapped mapped[ZS_MAX_SEGMENTS];
    uint32_t segment_cursor;
    uint64_t segment_bytes; /* of all of them, part of the arena header's mem_used */

    struct tracked *by_cookie, *by_session;
    uint64_t gone[1u << GONE_COOKIES_LOG2]; /* tracked.c */
    _Atomic uint64_t tracked_bits[ZS_MAX_SESSIONS / 64]; /* sessions in by_session, for any thread */
    struct tracked_list graves;
    struct port *ports;

    struct pending_group *pending;
    uint32_t pending_count;

    struct suspect *suspects;
    size_t suspect_len, suspect_cap;
    int64_t charge_off; /* by how much the sum of charged blocks was wrong at the last look */

    uint32_t own_seq;
    uint64_t trimmed_at;
    uint64_t resident_base; /* bytes of the arena that are tables */

    struct admin_list admins;
    uint32_t admin_count, leases;

    struct dpdk dpdk;
    uint32_t ncpu;      /* that this process may use */
    struct wire *wire;  /* NULL: no ports */
    struct capture *capture; /* NULL: nobody captures */
    bool looked;        /* engine_wait() has just asked the descriptors */
    uint8_t datagram[65536]; /* one on its way to the wire */
};

/* ---- engine.c ---- */
int source_add(struct engine *e, struct source *s, int fd, uint32_t events,
               void (*ready)(struct engine *, struct source *, uint32_t));
void source_events(struct engine *e, struct source *s, uint32_t events);
void source_close(struct engine *e, struct source *s);
/* Frees `memory` once no event of the current batch can refer to it. */
void defer_free(struct engine *e, void *memory);
void timer_at(struct engine *e, enum timer timer, uint64_t when); /* the earlier of now set and `when` */
void engine_fail(struct engine_failure *f, enum engine_exit status, const char *code, const char *hint,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Milliseconds until `due`, `longest` nanoseconds at most, for epoll_wait(): -1 without end. */
int sleep_ms(uint64_t due, uint64_t now, uint64_t longest);
uint64_t counter_sum(const struct engine *e, int counter); /* of all workers; while they are frozen */
void linger_update(struct engine *e);
void linger_due(struct engine *e);
bool random_bytes(void *to, size_t n);

/* ---- names.c ---- */
int name_listen(struct engine *e, const char *suffix, int type, bool padded);

/* ---- arena.c ---- */
bool arena_create(struct engine *e, struct engine_failure *f);
void arena_destroy(struct engine *e);
void arena_mend(struct engine *e); /* writes the header's constants again if somebody overwrote them */

/* ---- trim.c ---- */
void trim_consider(struct engine *e);
void trim_due(struct engine *e);

/* ---- ctl.c ---- */
void ctl_ready(struct engine *e, struct source *s, uint32_t events);
void accept_pause(struct engine *e, struct source *s);
void accept_resume(struct engine *e);
void conn_close(struct engine *e, struct conn *c);
/* Answers; false when the connection had to be closed because its peer does not read. fd -1: none. */
bool conn_reply(struct engine *e, struct conn *c, const struct zs_ctl_reply *reply, int fd);
bool conn_reply_fds(struct engine *e, struct conn *c, const struct zs_ctl_reply *reply, const int *fds, size_t n);
/* Requests without a reply that wait to be read: what they told happened before anything that is learned from elsewhere afterwards. */
void conn_take_told(struct engine *e, struct conn *c);

/* ---- ctl_ops.c ---- */
void ctl_request(struct engine *e, struct conn *c, const struct zs_ctl_request *r, size_t len, int fd);

/* ---- clients.c ---- */
int client_attach(struct engine *e, struct conn *c, const struct zs_ctl_request *r, struct zs_ctl_reply *reply);
bool client_alive(const struct engine *e, uint32_t id);
bool client_process_dead(const struct client *c); /* and its number perhaps another's; nobody has said so yet */
struct client *client_get(const struct engine *e, uint32_t id);
struct client *client_by_pid(const struct engine *e, pid_t pid);
/* Its control connection ended. */
void client_eof(struct engine *e, struct client *c);
void client_remove(struct engine *e, struct client *c);

/* ---- waiters.c ---- */
int waiter_new(struct engine *e, struct client *c, struct zs_ctl_reply *reply, int *bell);
int waiter_free(struct engine *e, struct client *c, uint32_t waiter, uint32_t gen);
int waiter_bell(struct engine *e, uint32_t waiter, uint32_t gen);
/* Rings the waiters that processes asked for which cannot ring themselves (zs_arena_header.ring_asked). */
void waiters_ring_asked(struct engine *e);
void waiters_free_of(struct engine *e, uint32_t client);
void view_ring(struct zs_view *view, uint32_t waiter, uint32_t gen);
/* From another thread than the engine's. True: it was rung. */
bool waiter_ring_from_thread(struct engine *e, uint32_t waiter);

/* ---- tracked.c ---- */
struct tracked *tracked_by_cookie(struct engine *e, uint64_t cookie);
struct tracked *tracked_by_told_cookie(struct engine *e, uint64_t cookie); /* also of what was shared in a request not read yet */
void tracked_take_told(struct engine *e); /* reads what clients have said in requests that take no reply and are not read yet */
struct tracked *tracked_by_session(struct engine *e, uint32_t session);
struct tracked *tracked_add(struct engine *e, uint64_t cookie, uint32_t session, uint32_t kind, uint32_t creator);
void tracked_forget_cookie(struct engine *e, struct tracked *t);
void tracked_drop(struct engine *e, struct tracked *t);
int share_one(struct engine *e, struct client *c, const struct zs_ctl_share_entry *entry);
/* The socket with this cookie is gone: closes its session. True when there was one. */
bool tracked_destroyed(struct engine *e, uint64_t cookie);
void tracked_close(struct engine *e, struct tracked *t);
void ports_insert(struct engine *e, struct tracked *t);
void ports_remove(struct engine *e, struct tracked *t);
/* Another endpoint bound to just this address that the kernel would not have allowed beside `t`'s socket. */
struct tracked *ports_conflict(struct engine *e, uint32_t kind, const struct zs_addr *local, uint16_t flags);

/* ---- endpoints.c: listeners and UDP sockets ---- */
/* A free one, owned by the engine; -ENOBUFS. Any thread, by a view of its own. */
int64_t session_alloc(struct engine *e, struct zs_view *v, uint32_t kind);
struct open_request {
    int fd;
    uint32_t kind, backlog; /* ZS_KIND_TCP_LISTEN or ZS_KIND_UDP */
    uint32_t port;          /* of the engine, that it is bound to; 0: none */
    bool told;              /* whoever started the program is told where it can be reached */
};
int endpoint_open(struct engine *e, struct client *c, const struct open_request *q, struct zs_ctl_reply *reply);
int endpoint_claim(struct engine *e, struct client *c, int fd, struct zs_ctl_reply *reply);
struct tracked *endpoint_of_socket(struct engine *e, int fd); /* whose socket that is; NULL: nobody's that is known here */
int endpoint_close_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen);
int endpoint_stop(struct engine *e, int fd);
void endpoint_close(struct engine *e, struct tracked *t);
void graves_due(struct engine *e);
void graves_empty(struct engine *e); /* at the end: no grace */

/* ---- deferred.c ---- */
int deferred_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen);
void pending_due(struct engine *e);
void pending_drop_client(struct engine *e, uint32_t client);
bool pending_contains(const struct engine *e, uint32_t server_end);
void bell_ready(struct engine *e, struct source *s, uint32_t events);
void pending_free_all(struct engine *e);

/* ---- reap.c ---- */
void reap_client(struct engine *e, uint32_t spinners);
void reap_recheck(struct engine *e);
/* Closes one end of a TCP connection, touching the other only when both agree on being a pair. */
void session_close_safely(struct engine *e, uint32_t index, bool abort);
/* Its last close, by whatever, resets it: SO_LINGER with no time (socket(7)). */
static inline bool session_wants_reset(const struct zs_session *s)
{
    return atomic_load(&s->opts.linger) == 0;
}
/* Nobody is attached and no socket is tracked: everything still marked is left over. */
void reap_scrub(struct engine *e);
bool owner_dead(const struct engine *e, uint32_t owner);
/* To be judged again in a second. `state`: what must not have changed. */
void suspect_add(struct engine *e, enum suspect_type type, uint32_t index, uint32_t gen, uint32_t state);
/* Clears a hint of what is not in use. */
void hint_clear_unless(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t i, bool (*used)(void *), void *arg);

/* ---- reap_loans.c ---- */
void reap_loans(struct engine *e);
void reap_loans_recheck(struct engine *e, const struct suspect *list, size_t n);
void reap_loans_scrub(struct engine *e);
bool reap_segment_lent(struct engine *e, uint32_t segment); /* somebody reads in those buffers */
uint32_t reap_loans_in_use(struct engine *e);

/* ---- segments.c ---- */
int segment_new(struct engine *e, const struct client *c, uint32_t size, struct zs_ctl_reply *reply, int *fd);
int segment_ready(struct engine *e, const struct client *c, uint32_t segment);
int segment_grant(struct engine *e, const struct client *c, uint32_t loan, uint32_t gen, int socket, struct zs_ctl_reply *reply,
                  int *fd);
int segment_end(struct engine *e, const struct client *c, uint32_t segment);
bool segment_over(struct engine *e, uint32_t segment);
void segments_reap(struct engine *e); /* those of the dead that nobody reads in */
void segments_close(struct engine *e);
struct segment_use {
    uint32_t count;
    uint64_t bytes, resident; /* resident: of memory */
};
struct segment_use segments_use(const struct engine *e, uint32_t owner); /* owner 0: all */

/* ---- diag.c ---- */
bool diag_open(struct engine *e);
unsigned diag_drain(struct engine *e); /* how many reports there were */
void diag_due(struct engine *e);

/* ---- audit.c ---- */
void audit_due(struct engine *e);
void audit_after_death(struct engine *e); /* a client went: its sockets, as far as no report comes */

/* ---- addrs.c ---- */
bool addrs_open(struct engine *e);
void addrs_due(struct engine *e);
void addrs_port_range(struct engine *e);

/* ---- admin.c ---- */
void admin_ready(struct engine *e, struct source *s, uint32_t events);
void admin_close(struct engine *e, struct admin_conn *a);
void admin_send(struct engine *e, struct admin_conn *a, json_t *object); /* takes the reference */
void admin_event(struct engine *e, const char *run, json_t *event);      /* takes the reference; run NULL: all leases */
void admin_life_event(struct engine *e, const struct client *c, const char *event); /* to leases that did not decline */
void admin_warn(struct engine *e, const char *text);

/* ---- admin_cmds.c, why.c ---- */
json_t *admin_command(struct engine *e, struct admin_conn *a, json_t *request);
json_t *admin_error(const char *code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
json_t *why_command(struct engine *e, json_t *request);
void addr_text(const struct zs_addr *addr, bool with_port, char *to, size_t size);

/* ---- eal.c ---- */
void eal_stop(struct engine *e);

#endif
