/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the parts of the preload library have of each other, by the file that has it. */
#ifndef ZSTACK_PRELOAD_H
#define ZSTACK_PRELOAD_H

#include "frame.h"

/* ---- Attachment (attach.c) ---- */
void zs_config_load(void);
void exec_keep_settings(void); /* exec.c: what the environment has of them, for what this program starts when it has cleared it by then */
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
void sock_registered(struct zsock *k, int fd); /* a listener or UDP socket has its session: the placeholder blocks nobody from now on */
bool sock_set_left(struct zsock *k); /* it is another process', too, from now on, and nobody holds a word of this one; false: it was before */
int sock_claim(int fd);                  /* an inherited or received descriptor: 1 it is ours now */
void addr_any_to_loopback(struct zs_addr *to); /* all zeroes is this host (Linux connects to loopback) */
int sock_kernel_addr(int fd, struct zs_addr *a, bool peer);
uint64_t sock_cookie(int fd); /* SO_COOKIE; 0: no socket */
bool conn_over(const struct zsock *k);   /* the connection has ended: TCP_CLOSE */

/* ---- Readiness of one socket (ready.c) ---- */
uint32_t sock_events(struct zsock *k, uint32_t interest); /* EPOLL* bits of the shared-memory side */
bool sock_has_kernel_side(const struct zsock *k);
bool sock_accelerated(const struct zsock *k);

/* ---- Data (stream.c, dgram.c) ---- */
ssize_t stream_recv(struct zsock *k, const struct iovec *iov, size_t n, int flags);
ssize_t stream_send(struct zsock *k, const struct iovec *iov, size_t n, int flags);
ssize_t stream_sendfile(struct zsock *k, int file, off_t *off, size_t n);
ssize_t stream_splice(struct zsock *k, int pipe, size_t n, int flags); /* the pipe has so many bytes */
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
ssize_t dgram_recv(struct zsock *k, int fd, struct msghdr *msg, int flags);
ssize_t dgram_send(struct zsock *k, int fd, const struct msghdr *msg, int flags);
/* dgbind.c: */
int dgram_bound(struct zsock *k, int fd); /* registers a bound UDP socket with the engine; 0 also where there is none */
void dgram_bind(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len); /* it was bound to that */
void dgram_asked_name(struct zsock *k, int fd); /* by getsockname */
/* Looks for a datagram, or waits for one. True: the engine knows the socket; false: the kernel has all that comes for it. */
bool dgram_receives(struct zsock *k, int fd, bool waits);
void dgram_at_once(struct zsock *k, int fd); /* the engine has to know it from now on */
/* It is about to be waited for, by poll or select: *waits is raised by what is to be taken from zs_proc.udp_polls afterwards; or by
 * epoll, which hears of it when another thread tells the engine: NULL. True: poll it with the sockets of shared memory. */
bool dgram_polled(int fd, uint32_t *waits);
/* This one of several threads is about to wait in the kernel. True: nobody tells the engine before *count is lowered; false: it was told. */
bool dgram_waits(struct zsock *k, _Atomic uint32_t *count);
/* Whoever waits for it has to look now and then whether the engine was told: others may have to tell it meanwhile. */
bool dgram_looks(struct zsock *k, int fd);
void dgram_leaves(struct zsock *k, int fd); /* another process may have it soon, */
void dgram_passed(struct zsock *k, int fd); /* or gets it, and would have no part in it unless the engine knows it */
void dgram_unbound(struct zsock *k, int fd); /* its port is gone */
void dgram_stop(struct zsock *k, int fd, enum zs_reason reason); /* the kernel alone brings something from now on, whoever has it */
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
void opt_fill(struct zs_session *s, const struct zs_preopts *p);

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
/* The engine lets another user's program in only when it descends from one that was attached: a program that gives up
 * its user before it opens a socket (memcached -u) attaches while it still may. */
void before_uid_change(void);
uint64_t clone_flags(long n, const long a[6]); /* of clone, clone3, fork or vfork by number; CLONE_VM where they cannot be read */
void clone_child_begins(uint64_t flags); /* in the child of a clone with a memory of its own */
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
