/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the parts of the preload library share: the process' state, a thread's state, an accelerated socket, and the
 * frame around every intercepted call. */
#ifndef ZSTACK_PRELOAD_H
#define ZSTACK_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "domain.h"
#include "sys.h"
#include "wait.h"
#include "zsock.h"

#define ZS_LIKELY(x) __builtin_expect(!!(x), 1)
#define ZS_UNLIKELY(x) __builtin_expect(!!(x), 0)

#include "user.h"

/* ---- Real functions and hooks, from calls.def ---- */

struct zs_real {
#define CALL(ret, name, params, args) ret(*name) params;
#define VCALL(ret, name, params) ret(*name) params;
#include "calls.def"
};
extern struct zs_real zs_real;
void zs_real_resolve(void);
/* The real function; resolved on first use when a library calls before our constructor ran. */
#define REAL(name) (ZS_LIKELY(zs_real.name != NULL) ? zs_real.name : (zs_real_resolve(), zs_real.name))

#define CALL(ret, name, params, args) ret zsp_##name params;
#define HOOK(ret, name, params, args) ret zsp_##name params;
#include "calls.def"
int zsp_fcntl_arg(int fd, int cmd, long arg);
struct zsock;
long zsp_fcntl_sock(struct zsock *k, int fd, int cmd, long arg);
int zsp_ioctl_arg(int fd, unsigned long req, long arg);
long zsp_syscall_args(long n, const long a[6]);
void zsp_closefrom(int first);
int zsp_clone(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid);
long zsp_clone_syscall(long n, const long a[6]);
int zsp_prctl_args(int op, const long a[4]);
long zsp_seccomp(unsigned op, unsigned flags, void *arg);
void *zsp_checked(void *buf, size_t n, size_t len);

/* ---- Locks of this process, held for a few instructions; shared memory has its own (zs_lock) ---- */

static inline void zs_word_lock(_Atomic uint32_t *l)
{
    uint32_t free_word = 0;
    for (uint32_t n = 1; !atomic_compare_exchange_weak_explicit(l, &free_word, 1, memory_order_acquire, memory_order_relaxed); n++) {
        free_word = 0;
        if (n % 64 == 0)
            sched_yield();
        else
            __builtin_ia32_pause();
    }
}

static inline void zs_word_unlock(_Atomic uint32_t *l)
{
    atomic_store_explicit(l, 0, memory_order_release);
}

/* ---- Process and thread ---- */

struct zs_config {
    char engine[64];
    char run[32];
    char preload[512];
    uint32_t spin_us;
    int log;
    bool trace, tcp, udp, enabled;
    bool have_token;
    uint8_t token[16];
};

enum { ZS_LOG_ERROR, ZS_LOG_WARN, ZS_LOG_INFO, ZS_LOG_DEBUG };

/* By how much the kernel's RLIMIT_AS is above the program's: addresses of the library's, in bytes (memory.c). */
struct zs_space {
    uint64_t soft, hard;
    _Atomic int64_t mapped; /* what the library has mapped of shared memory */
};

struct zs_proc {
    struct zs_config conf;
    struct zs_domain *_Atomic domain; /* current engine, NULL none */
    _Atomic uint32_t attach_lock;
    uint64_t attach_retry_ns;
    _Atomic uint32_t generation; /* counts forks: what belongs to an older one is the parent's */
    _Atomic uint32_t *wipe;      /* ZS_WIPE_*, on a MADV_WIPEONFORK page */
    _Atomic uint32_t endpoints;  /* listeners and bound UDP sockets, to register again after an engine's death */
    bool warned;
    bool other_netns;
    bool own_waits;  /* waits by system calls of its own: its sockets are the kernel's (waits.c) */
    bool examined;   /* own_waits says so */
    bool restricted; /* a seccomp filter or a low RLIMIT_NOFILE is in force: no more descriptors than necessary */
    bool confined;   /* its filter forbids what requests to the engine need (confine.c) */
    bool locks_memory; /* mlockall with MCL_FUTURE is in force */
    struct zs_space space;
    uint64_t started_ns;
    struct zs_host host;
    void (*_Atomic at_rest)(void); /* libzstack.so's, once it is there */
};
extern struct zs_proc zs_proc;
#define ZS_WIPE_FORKED 0u /* a forked child that has not noticed */
#define ZS_WIPE_SELF 1u   /* this process is a client of its own, or none */
#define ZS_WIPE_CHILD 2u  /* has noticed, not attached yet */
#define ZS_WIPE_BUSY 3u   /* one of its threads is attaching */

#define ZS_SIGQ 16
/* Memory that a thread keeps for its next call of a kind (poll.h). */
enum zs_spare_use { ZS_SPARE_POLL, ZS_SPARE_SELECT, ZS_SPARE_USES };
struct zs_spare {
    void *at; /* NULL: none */
    size_t bytes;
};

struct zs_thread {
    uint32_t depth;       /* intercepted calls under way in this thread */
    bool sleeping;        /* in a kernel wait, no lock held: handlers run at once */
    volatile sig_atomic_t npending;
    volatile sig_atomic_t interrupted; /* ZS_INTR_*: handlers that ran during this call */
    struct {
        int sig;
        siginfo_t info;
    } pending[ZS_SIGQ];
    _Atomic uint32_t *futex; /* what the thread is about to sleep on */
    int bell;                /* eventfd that ends its sleep, -1 */
    struct zsock *cur;       /* held by the call under way; released when the thread is cancelled in it */
    struct epset *asleep_on; /* the set in whose kernel wait the thread is */
    char *sleep_frame;       /* where on the stack the sleep is */
    uint32_t nunder;
    struct { /* sleeps beneath the handlers that run; a handler that left by a jump leaves its entry */
        struct zsock *cur;
        struct epset *asleep_on;
        char *frame;
    } under[4];
    bool registered;         /* thread_exit will run */
    struct zs_spare spare[ZS_SPARE_USES];
    int home1; /* while a child of another network namespace begins: what it attaches by (zs_attach_args) */
    struct zs_wait wait;     /* for poll and select */
    uint32_t wait_generation;
};
/* A vfork child runs on our memory: every call goes straight to the kernel. Set and cleared in vfork.S. */
extern __thread uint8_t zs_vfork_flag __attribute__((tls_model("initial-exec")));
#define ZS_INTR_EINTR 1
#define ZS_INTR_RESTART 2
_Static_assert(offsetof(struct zsock, tx) == ZS_CACHE_LINE && offsetof(struct zsock, pre) + 8 == 2 * ZS_CACHE_LINE, "two lines");
extern __thread struct zs_thread zs_thread __attribute__((tls_model("initial-exec")));

/* ---- fd table (fdtab.c) ---- */

enum fd_tag { FDT_NONE = 0, FDT_SOCK = 1, FDT_EPOLL = 2, FDT_KEPT = 3 };
struct epset;
int fdtab_init(void);
extern _Atomic uintptr_t *zs_fdtab;
extern unsigned zs_fdtab_size;
static inline uintptr_t fdtab_raw(int fd)
{
    return ZS_LIKELY((unsigned)fd < zs_fdtab_size) ? atomic_load_explicit(&zs_fdtab[fd], memory_order_acquire) : 0;
}
static inline enum fd_tag fd_tag(uintptr_t raw)
{
    return (enum fd_tag)(raw & 3);
}
static inline struct zsock *fd_sock(uintptr_t raw)
{
    return fd_tag(raw) == FDT_SOCK ? (struct zsock *)(raw & ~(uintptr_t)3) : NULL;
}
bool fdtab_set(int fd, enum fd_tag tag, void *p);
uintptr_t fdtab_take(int fd); /* removes and returns the entry */
int fdtab_top(void);          /* highest descriptor ever entered + 1 */
struct zsock *zsock_new(enum zk kind, int family);
void zsock_drop(struct zsock *k);              /* gives one reference back */
void zsock_for_each(void (*f)(struct zsock *, int fd, void *), void *arg); /* each descriptor of a socket */
int fd_keep(int fd);    /* moves a descriptor of ours high; closes the old number */
void fd_unkeep(int fd); /* closes a kept descriptor */

bool fd_any_kept(void);
void fd_forget_kept(void); /* child: closes all kept descriptors */

/* ---- The frame around a call (call.c, signals.c) ---- */

struct call {
    struct zsock *k;
    bool held;
    const char *name;
};
void zs_child_notice(void);
void zs_signals_run(void);
void zs_trace(const char *name, int fd, long ret);

/* Before anything that asks the engine or takes a lock in shared memory. */
static inline void client_self(void)
{
    if (ZS_UNLIKELY(atomic_load_explicit(zs_proc.wipe, memory_order_relaxed) != ZS_WIPE_SELF))
        zs_child_notice();
}

static inline bool zs_passthrough(void)
{
    return zs_vfork_flag != 0;
}

/* The socket behind fd, held and with handlers deferred until call_end; NULL: not ours, use the real call. */
static inline struct zsock *call_begin(struct call *c, const char *name, int fd)
{
    uintptr_t raw = fdtab_raw(fd);
    if (ZS_LIKELY(raw == 0))
        return NULL;
    struct zsock *k = fd_sock(raw);
    if (k == NULL || zs_passthrough())
        return NULL;
    client_self();
    if (zs_thread.depth++ == 0)
        zs_thread.interrupted = 0;
    c->name = name;
    c->k = k;
    c->held = !__libc_single_threaded;
    zs_thread.cur = NULL;
    if (c->held) {
        uint32_t n = atomic_load_explicit(&k->refs, memory_order_relaxed);
        do {
            if (n == 0)
                goto gone;
        } while (!atomic_compare_exchange_weak(&k->refs, &n, n + 1));
        if (ZS_UNLIKELY(fdtab_raw(fd) != raw)) {
            zsock_drop(k);
            goto gone;
        }
        zs_thread.cur = k;
    }
    return k;
gone:
    if (--zs_thread.depth == 0 && ZS_UNLIKELY(zs_thread.npending))
        zs_signals_run();
    return NULL;
}

/* Ends the frame; r is a result or a negative errno. */
static inline long call_end(struct call *c, int fd, long r)
{
    if (c->held) {
        zs_thread.cur = NULL;
        zsock_drop(c->k);
    }
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace(c->name, fd, r);
    if (--zs_thread.depth == 0 && ZS_UNLIKELY(zs_thread.npending))
        zs_signals_run();
    if (ZS_UNLIKELY(r < 0)) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

/* For calls that are not about one socket and ask nothing of the engine: a forked child that only closes and moves descriptors
 * before it execs stays what it is. */
static inline void frame_enter(void)
{
    if (zs_thread.depth++ == 0)
        zs_thread.interrupted = 0;
}
/* For the others: in a forked child the first of them makes it a client of its own. */
static inline void frame_begin(void)
{
    client_self();
    frame_enter();
}
static inline void frame_end(void)
{
    if (--zs_thread.depth == 0 && ZS_UNLIKELY(zs_thread.npending))
        zs_signals_run();
}

/* Around the kernel wait of a sleep: handlers run at once and end the wait. */
void sleep_begin(_Atomic uint32_t *futex, int bell);
/* What the handlers that ran want: 0 go on waiting, -EINTR. `restartable`: SA_RESTART is honoured (signal(7)). */
int sleep_end(bool restartable);
/* In a spin: runs deferred handlers now; same result. */
int spin_signals(bool restartable);
/* Gives back what sleeps held whose handlers left them by siglongjmp. */
void zs_jumped(void);

/* Sleeps until *word != val. 0 woken or word differs, -EINTR, -EAGAIN deadline (ns, CLOCK_MONOTONIC, 0 none). */
int wait_word(struct zs_domain *d, _Atomic uint32_t *word, uint32_t val, uint64_t deadline_ns, bool restartable);

/* It is there, as it is once the program has a socket or an epoll set. Before, nothing is ours, and user_*() may not be asked. */
void signals_guard(void); /* our handler on SIGSEGV and SIGBUS */
bool signals_guarded(void);

/* ---- Attachment (attach.c) ---- */
void zs_config_load(void);
struct zs_domain *zs_attached(void); /* the current engine, attaching when needed; NULL: use the kernel */
void zs_engine_lost(struct zs_domain *d);
void zs_endpoints_return(void);
void zs_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void zs_why(struct zs_domain *d, int fd, int proto, enum zs_verdict verdict, enum zs_reason reason, const struct zsock *k);

/* Whether the program's code has epoll_wait or its kin as system calls of its own, which no preload sees (waits.c). */
bool waits_by_itself(void);

/* ---- Placeholder pool (pool.c) ---- */
int pool_take(struct zs_domain *d, int family, int flags, int *entry); /* a new descriptor, or -errno */
void pool_release(int entry, bool nonblock); /* nonblock: what O_NONBLOCK is on it now */
void pool_retire(int entry);
bool pool_give_way(void); /* gives back what it has below the application's limit; false: nothing */
void pool_child(void);
/* The socket's entry, which is not its any more: another thread may close the socket meanwhile. */
static inline int pool_forget(struct zsock *k)
{
    return __atomic_exchange_n(&k->pool, -1, __ATOMIC_ACQ_REL);
}
/* Its entry will serve no other socket. */
static inline void pool_leave(struct zsock *k)
{
    pool_retire(pool_forget(k));
}

/* ---- Sockets (sock.c, listen.c) ---- */
int addr_from_sockaddr(struct zs_addr *a, const struct sockaddr *sa, socklen_t len);
socklen_t addr_to_sockaddr(const struct zs_addr *a, int family, struct sockaddr_storage *ss);
/* As the kernel writes an address and its length: 0, -EFAULT, -EINVAL (move_addr_to_user). */
int addr_give(const struct zs_addr *a, int family, struct sockaddr *sa, socklen_t *len);
void addr_copy_out(const struct zs_addr *a, int family, struct sockaddr *sa, socklen_t *len);
void sock_to_kernel(struct zsock *k, int fd, enum zs_reason reason); /* forget it: the kernel serves it from now on */
/* It is the kernel's alone from now on: the kernel stopped (shutdown, connect with AF_UNSPEC), or who has it waits past the library. */
void sock_stop_listening(struct zsock *k, int fd, enum zs_reason reason);
void sock_become_conn(struct zsock *k, int fd, struct zs_domain *d, uint32_t session);
void sock_why_conn(const struct zsock *k, int fd); /* why a connection is where it is */
/* MSG_FASTOPEN: connects to `to`. 0: what is to be sent may go (it goes with the SYN when stream_syn_waits()); 1: the socket is the
 * kernel's now; negative errno as tcp_sendmsg_fastopen has it. */
int conn_fastopen(struct zsock *k, int fd, const struct sockaddr *to, socklen_t len, int flags);
/* The first write of such a connection is in the ring. block: waits until the connection is there. 0 or negative errno. */
int conn_fastopen_sent(struct zsock *k, bool block);
int sock_listen_again(struct zsock *k, struct zs_domain *d);
void sock_final(struct zsock *k, int fd);
void sock_detach_fd(struct zsock *k, int fd);
int sock_close_fd(int fd, uintptr_t raw); /* raw: its table entry, already taken */
/* SO_RCVLOWAT: bytes. What another process may have set stands in the session. */
static inline uint32_t sock_rcvlowat(const struct zsock *k)
{
    if (atomic_load_explicit(&k->left, memory_order_relaxed))
        return atomic_load_explicit(&k->s->opts.rcvlowat, memory_order_relaxed);
    return k->pre.rcvlowat != 0 ? k->pre.rcvlowat : 1;
}
/* A connection's direction, locked against other threads and processes as far as there are any: the word that is held, NULL none. Threads of one
 * process have words of their own, since those in shared memory lie in lines that every message moves. */
_Atomic uint32_t *sock_lock(struct zsock *k, _Atomic uint32_t *own, _Atomic uint32_t *shared);
static inline bool sock_alone(const struct zsock *k)
{
    return __libc_single_threaded && !atomic_load_explicit(&k->left, memory_order_relaxed);
}
static inline _Atomic uint32_t *sock_lock_tx(struct zsock *k)
{
    return ZS_LIKELY(sock_alone(k)) ? NULL : sock_lock(k, &k->tx_own.lock, &k->peer->rx_prod.lock);
}
static inline _Atomic uint32_t *sock_lock_rx(struct zsock *k)
{
    return ZS_LIKELY(sock_alone(k)) ? NULL : sock_lock(k, &k->rx_lock, &k->s->rx_cons.lock);
}
static inline void sock_unlock(struct zsock *k, _Atomic uint32_t *held)
{
    if (held != NULL)
        zs_unlock(&k->d->view, held);
}
bool sock_set_left(struct zsock *k); /* it is another process', too, from now on, and nobody holds a word of this one; false: it was before */
int sock_claim(int fd);                  /* an inherited or received descriptor: 1 it is ours now */
void addr_any_to_loopback(struct zs_addr *to); /* all zeroes is this host (Linux connects to loopback) */
int sock_kernel_addr(int fd, struct zs_addr *a, bool peer);
bool conn_over(const struct zsock *k);   /* the connection has ended: TCP_CLOSE */

/* ---- Readiness of one socket (ready.c) ---- */
uint32_t sock_events(struct zsock *k, uint32_t interest); /* EPOLL* bits of the shared-memory side */
bool sock_has_kernel_side(const struct zsock *k);
bool sock_accelerated(const struct zsock *k);

/* ---- Data (stream.c, dgram.c) ---- */
ssize_t stream_recv(struct zsock *k, const struct iovec *iov, size_t n, int flags);
ssize_t stream_send(struct zsock *k, const struct iovec *iov, size_t n, int flags);
ssize_t stream_sendfile(struct zsock *k, int file, off_t *off, size_t n);
/* As send and recv of one piece, of lent memory: see zstack interface.h. No SIGPIPE. stream_take: 0 is the end of the stream. */
int64_t stream_lend(struct zsock *k, struct zs_ref *ref, uint32_t least, int flags);
int64_t stream_take(struct zsock *k, struct zs_taken *t, int flags);
/* Memory that is lent to this process (zc.c): its connections get copies from here on, and map what is under way; as before, where
 * the process was not confined, or may still ask the engine. A descriptor of a session's socket, -1: none. */
void lent_before_confinement(struct zs_domain *d);
void lent_after_confinement(struct zs_domain *d);
int lent_socket_of(struct zs_domain *d, uint32_t session);
void lent_rest(void); /* the process has slept for a second */
/* Its SYN waits for the first write (Fast Open). */
static inline bool stream_syn_waits(const struct zsock *k)
{
    return atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_SYN_WAITS;
}
uint64_t stream_unsent(const struct zsock *k); /* bytes that the stack has not sent yet */
bool stream_may_fill(const struct zsock *k, unsigned wake); /* TCP_NOTSENT_LOWAT; wake: 1 for readiness, as the kernel */
/* Nobody is there to carry what this connection over the wire says: for its user that is a reset. The other end is the
 * engine's: it is told, and closed for it only when the engine is dead indeed. */
void stream_abandon(struct zsock *k);
void stream_idle(struct zsock *k); /* gives the ring of an idle connection back */
uint64_t stream_reserve(struct zsock *k, uint64_t size); /* a ring of so many bytes at least, if there is memory: the room in it */
ssize_t dgram_recv(struct zsock *k, int fd, struct msghdr *msg, int flags);
ssize_t dgram_send(struct zsock *k, int fd, const struct msghdr *msg, int flags);
int dgram_bound(struct zsock *k, int fd); /* registers a bound UDP socket with the engine */
void dgram_unbound(struct zsock *k, int fd); /* its port is gone */
/* Options about interfaces and groups (dgopts.c). True: done here, with the result. */
bool dg_set(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len, int *result);
bool dg_get(struct zsock *k, int level, int name, void *val, socklen_t *len, int *result);
void dg_changed(struct zsock *k, int fd, int level, int name); /* an option of the placeholder was set */
void dgram_bound_again(struct zsock *k, int fd); /* with a new engine */
int dgram_autobind(struct zsock *k, int fd); /* gives an unbound socket a port, and the engine the socket */
bool dgram_wire_peer(struct zsock *k); /* connected to an address that a port of the engine leads to */
uint32_t dgram_next_len(struct zsock *k);
int wait_fd(int fd, short events, uint64_t deadline_ns, bool restartable); /* poll on one descriptor, both worlds */

/* ---- Options (options.c) ---- */
/* ---- tcpopt.c: 1 remembered or not ours, 0 done (get) or not ours (set), negative errno ---- */
int tcpopt_remember(struct zs_preopts *p, int name, int v);
bool tcpopt_remembered(int name); /* whether tcpopt_remember knows it */
int tcpopt_get(struct zsock *k, const struct zs_preopts *p, int name, void *val, socklen_t *len);
uint32_t tcpopt_congestion(const void *val, socklen_t len);
void tcpopt_fastopen_key(struct zsock *k, int fd); /* of a listener: as it is now, for the stack */

/* ---- urgent.c ---- */
bool urgent_at_mark(const struct zs_session *s);
bool urgent_pending(const struct zs_session *s); /* EPOLLPRI */
/* Before n bytes are read, under the reader's lock: as many as lie before the mark. At it, what is not in line is left out:
 * consumed, or with `peek` *skip. */
uint64_t urgent_limit(struct zs_view *v, struct zs_session *s, uint64_t n, bool peek, uint64_t *skip);
uint64_t urgent_readable(const struct zs_session *s, uint64_t avail);    /* of the bytes there, what a read gets */
uint64_t urgent_before_mark(const struct zs_session *s, uint64_t avail); /* FIONREAD */
ssize_t urgent_recv(struct zsock *k, const struct iovec *iov, size_t n, int flags);

/* ---- MSG_ZEROCOPY (errqueue.c) ---- */
bool zerocopy_asked(const struct zsock *k, int flags); /* this send gets a completion */
void zerocopy_done(struct zsock *k);
ssize_t zerocopy_recv(struct zsock *k, struct msghdr *msg); /* recvmsg(MSG_ERRQUEUE): 0, or -EAGAIN none */
static inline bool zerocopy_pending(const struct zsock *k)
{
    return atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_ZC_DONE;
}

/* ---- async.c ---- */
/* F_OWNER_*; 0 or below: nobody, or a process group. */
void async_owner(struct zsock *k, int type, int pid);
void async_switch(struct zsock *k, int fd, bool on); /* O_ASYNC */
void async_signal(struct zsock *k, int sig);         /* F_SETSIG */
void async_apply(struct zsock *k);                   /* it has a session now */
void async_translate(siginfo_t *info);               /* what a signal handler of the program sees */

/* ---- options.c ---- */
int opt_get(struct zsock *k, int fd, int level, int name, void *val, socklen_t *len);
int opt_set(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len);
int opt_put(void *val, socklen_t *len, const void *src, socklen_t n); /* an option's value as getsockopt gives it */
int opt_put_int(void *val, socklen_t *len, int v);
struct zs_preopts opt_current(const struct zsock *k); /* of its session */
void opt_fill(struct zs_opts *o, const struct zs_preopts *p);

/* ---- What a connection answers and its placeholder, which is not connected, does not (conopt.c) ---- */
int conn_opt_peername(struct zsock *k, void *val, socklen_t *len);
int conn_opt_ip(const struct zsock *k, int fd, int level, int name, void *val, socklen_t *len); /* 1: ask the placeholder */
int conn_opt_refused(const struct zsock *k, int level, int name, const void *val, socklen_t len); /* what only an unconnected one takes */
void opt_apply(struct zsock *k);
void opt_inherit(struct zsock *k, const struct zsock *listener);

/* ---- epoll (epoll.c) ---- */
void ep_sock_decided(struct zsock *k);  /* its readiness moved to shared memory */
void ep_sock_undecided(struct zsock *k); /* a connection was dissolved: the kernel's set tells again */
void ep_sock_forget(struct zsock *k);   /* the kernel serves it: only the kernel's set counts */
void ep_sock_closed(struct zsock *k);
void ep_set_closed(int fd, uintptr_t raw);
void ep_dup(int fd, int to);
void ep_set_polled(int fd); /* the set is watched by poll, select or another set: its doorbell stays armed */
void ep_child(void);        /* forked child: sets must be rebuilt */
void ep_cancelled(struct epset *e); /* a thread was cancelled in the set's kernel wait */
struct zs_wait *thread_wait(struct zs_domain *d); /* this thread's waiter in d, NULL: none to have (poll.c) */
void thread_register(void); /* so that thread_exit cleans up after this thread */

void *zs_chunk_alloc(size_t n); /* anonymous pages, NULL none */

/* ---- Limits and locks of all memory (memory.c) ---- */
void space_init(const char *room); /* ZSTACK_ROOM, NULL: none */
void space_mapped(int64_t bytes);  /* the library is about to map, or unmapped, that much */
/* ZSTACK_ROOM for the next program, which comes by exec or, without one of ours running before it, by spawn or vfork. False: there
 * is nothing to say. */
bool space_room(char *out, size_t size, bool exec);
/* prlimit of this process for RLIMIT_AS as the program sees it: 0, or -1 with errno. NULL: not asked. */
int space_prlimit(const struct rlimit *asked, struct rlimit *old);
/* The next program begins with the program's own limit. Returns what space_exec_failed gives back. */
uint64_t space_before_exec(void);
void space_exec_failed(uint64_t room); /* keeps errno */

/* ---- Process life (process.c, scm.c) ---- */
void zs_process_init(void);
void zs_before_fork(void);
void zs_after_fork_child(void);
/* Around a clone with these flags, and in its child after zs_after_fork_child. */
void netns_before_clone(uint64_t flags);
void netns_parent(void);
void netns_child(uint64_t flags);
void zs_forked_same_files(void); /* in place of the latter, with CLONE_FILES */
void share_all(void); /* before a fork: every socket may have two holders */
/* It may soon have a second holder, who has it as fd. False: it was shared before, and the engine knows. */
bool sock_leaves(struct zsock *k, int fd);
int share_socks(struct zsock *const *list, uint32_t n);
void scm_sent(const struct msghdr *msg);
void scm_received(struct msghdr *msg);
void stdio_standard(int fd); /* a socket came to be this descriptor */

#endif
