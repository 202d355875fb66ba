/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What every intercepted call stands on: the real functions, the process' and the thread's state, the table of descriptors, and the frame
 * around a call. */
#ifndef ZSTACK_PRELOAD_FRAME_H
#define ZSTACK_PRELOAD_FRAME_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netdb.h>
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

/* Settings that programs hand on to the programs that they start: exec.c has their names. */
enum { ZS_KEPT = 9 };

struct zs_config {
    const char *kept[ZS_KEPT]; /* NAME=value as the environment had it when the program began; NULL: it had not */
    char engine[64];
    char run[32];
    char preload[512];
    uint32_t spin_us;
    int log;
    bool trace, tcp, udp, enabled;
    bool own_calls; /* are to come to the library where they can */
    bool udp_early; /* the engine is told of each UDP socket before it sends or receives */
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
    bool own_calls;  /* a Go program, whose own system calls come to the library (own_calls.c) */
    bool own_waits;  /* waits by system calls of its own: its sockets are the kernel's (waits.c) */
    bool examined;   /* own_waits says so */
    bool restricted; /* a seccomp filter or a low RLIMIT_NOFILE is in force: no more descriptors than necessary */
    bool confined;   /* its filter forbids what requests to the engine need (confine.c) */
    bool locks_memory; /* mlockall with MCL_FUTURE is in force */
    struct zs_space space;
    struct zs_dgdefaults dgdefaults[2]; /* of AF_INET, AF_INET6 */
    _Atomic uint32_t udp_polls; /* sockets that threads wait for in poll and select and that the engine must not be told of meanwhile: see dgbind.c */
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
    int late;                /* this signal, deferred before, was sent to the thread again; 0 */
    _Atomic uint32_t *futex; /* what the thread is about to sleep on */
    int bell;                /* eventfd that ends its sleep, -1 */
    struct zsock *cur;       /* held by the call under way; released when the thread is cancelled in it */
    bool counted;            /* in cur->dg.waits */
    struct epset *asleep_on; /* the set in whose kernel wait the thread is */
    char *sleep_frame;       /* where on the stack the sleep is */
    uint32_t nunder;
    struct { /* sleeps beneath the handlers that run; a handler that left by a jump leaves its entry */
        struct zsock *cur;
        struct epset *asleep_on;
        char *frame;
    } under[4];
    bool registered;         /* thread_exit will run */
    char *handler_frame; /* where on the stack the handler that runs began, NULL */
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
/* Memory that no object of a kind had yet: not touched before it is needed, since each page costs every fork. */
struct zs_fresh {
    char *at, *end;
};
void *zs_fresh_take(struct zs_fresh *f, size_t size); /* for one more of them, zeroes; NULL: none to have */
bool fdtab_set(int fd, enum fd_tag tag, void *p);
uintptr_t fdtab_take(int fd); /* removes and returns the entry */
int fdtab_top(void);          /* highest descriptor ever entered + 1 */
struct zsock *zsock_new(enum zk kind, int family);
struct zsock *zsock_hold(int fd);              /* the socket behind it with one more reference, NULL: not ours */
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
    struct zsock *waits; /* counted as waiting in the kernel for it, and held meanwhile; NULL */
    uint32_t generation; /* then */
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

/* One more reference to k, which is what `raw`, fd's entry, named. False: another thread closed it, and perhaps another socket has the memory. */
static inline bool zsock_hold_as(struct zsock *k, int fd, uintptr_t raw)
{
    uint32_t n = atomic_load_explicit(&k->refs, memory_order_relaxed);
    do {
        if (n == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&k->refs, &n, n + 1));
    if (ZS_LIKELY(fdtab_raw(fd) == raw))
        return true;
    zsock_drop(k);
    return false;
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
        if (ZS_UNLIKELY(!zsock_hold_as(k, fd, raw)))
            goto gone;
        zs_thread.cur = k;
    }
    return k;
gone:
    if (--zs_thread.depth == 0 && ZS_UNLIKELY(zs_thread.npending))
        zs_signals_run();
    return NULL;
}

/* Ends the frame of a call that is the kernel's. */
static inline void call_pass(struct call *c)
{
    if (c->held) {
        zs_thread.cur = NULL;
        zsock_drop(c->k);
    }
    if (--zs_thread.depth == 0 && ZS_UNLIKELY(zs_thread.npending))
        zs_signals_run();
}

/* Ends the frame; r is a result or a negative errno. */
static inline long call_end(struct call *c, int fd, long r)
{
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace(c->name, fd, r);
    call_pass(c);
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

#endif
