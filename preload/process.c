/* SPDX-License-Identifier: BSD-3-Clause
 * Process life: start, fork, and images that follow by exec. */
#include "preload.h"

#include "buffers.h"
#include "own_calls.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

__thread uint8_t zs_vfork_flag __attribute__((tls_model("initial-exec")));

/* Called by vfork before the system call: the child may exec with any of our sockets. */
void zs_vfork_prepare(void);
void zs_vfork_prepare(void)
{
    zs_before_fork();
}

void zs_vfork_errno(int e);
void zs_vfork_errno(int e)
{
    errno = e;
}

/* ---- Sharing: sockets that may have two holders ---- */

/* Tells the engine: these live until the kernel reports their placeholder's end. */
int share_socks(struct zsock *const *list, uint32_t n)
{
    for (uint32_t i = 0; i < n;) {
        struct zs_ctl_request req = {.op = ZS_CTL_SHARE, .a = 1}; /* whoever asks about one of these later is answered after this was read */
        struct zs_domain *d = list[i]->d;
        for (; i < n && req.count < ZS_CTL_SHARE_MAX && list[i]->d == d; i++) {
            struct zsock *k = list[i];
            if (k->cookie == 0 && k->fd >= 0)
                k->cookie = sock_cookie(k->fd);
            if (k->s == NULL || k->cookie == 0)
                continue;
            atomic_fetch_or(&k->s->flags, ZS_F_SHARED);
            req.u.share[req.count++] = (struct zs_ctl_share_entry){k->index, k->gen, k->cookie};
        }
        struct zs_ctl_reply reply;
        int fd = -1;
        if (req.count > 0)
            zs_rpc(d, &req, &reply, &fd);
    }
    return 0;
}

/* By its cookie the engine ends a socket that has left, so that it is found out before: another thread may close the descriptor at any
 * moment, and its number be another socket's. */
bool sock_leaves(struct zsock *k, int fd)
{
    dgram_leaves(k, fd);
    uint64_t cookie = atomic_load(&k->left) ? 0 : sock_cookie(fd);
    if (cookie == 0 || fd_sock(fdtab_raw(fd)) != k)
        return false;
    k->cookie = cookie;
    if (!sock_set_left(k))
        return false;
    k->fd = fd;
    pool_leave(k);
    return true;
}

struct gather {
    struct zsock **list; /* held */
    uint32_t n, cap;
};

static void gather_one(struct zsock *k, int fd, void *arg)
{
    struct gather *g = arg;
    k = zsock_hold(fd);
    if (k == NULL)
        return;
    if (sock_leaves(k, fd) && k->s != NULL && g->n < g->cap)
        g->list[g->n++] = k;
    else
        zsock_drop(k);
}

/* Before a fork. Sockets without a session are real kernel sockets and need nothing. */
void share_all(void)
{
    if (atomic_load(&zs_proc.domain) == NULL && fdtab_top() == 0)
        return;
    size_t bytes = (size_t)fdtab_top() * sizeof(struct zsock *) + 4096;
    struct gather g = {.list = zs_chunk_alloc(bytes), .cap = (uint32_t)fdtab_top()};
    if (g.list == NULL)
        return;
    zsock_for_each(gather_one, &g);
    if (g.n > 0)
        share_socks(g.list, g.n);
    for (uint32_t i = 0; i < g.n; i++)
        zsock_drop(g.list[i]);
    munmap(g.list, bytes);
}

/* ---- fork ---- */

void zs_before_fork(void)
{
    if (zs_proc.conf.enabled && !zs_passthrough()) {
        frame_enter();
        share_all();
        frame_end();
    }
}

/* Takes what a forked child counts before it is a client of its own. */
static struct zs_client nobody;

/* The child's part that cannot wait: what we hold open must not keep the parent's sockets alive. */
static void forked(void)
{
    struct zs_proc *p = &zs_proc;
    atomic_store(p->wipe, ZS_WIPE_CHILD);
    atomic_fetch_add(&p->generation, 1);
    atomic_store(&p->attach_lock, 0);
    atomic_store(&p->udp_polls, 0);
    p->locks_memory = false; /* mlockall(2): not inherited */
    fd_forget_kept();
    pool_child();
    ep_child();
    struct zs_domain *d = atomic_load(&p->domain);
    if (d != NULL) {
        d->ctl_fd = d->bell_fd = -1;
        d->view.locked = false;
        d->view.stats = &nobody; /* the counters and reasons in the arena are the parent's */
        atomic_store(&d->rpc_lock, 0);
        madvise(d->doorbell, ZS_MAX_WAITERS * sizeof *d->doorbell, MADV_DONTNEED); /* zeroes, without a page for each of them */
        zs_buffers_forked(d);
    }
}

void zs_after_fork_child(void)
{
    if (zs_proc.conf.enabled && atomic_load(zs_proc.wipe) == ZS_WIPE_FORKED)
        forked();
}

/* A child that has its parent's table of descriptors and a memory of its own: what it opens or closes there is its parent's, too, so
 * that it keeps nothing for itself. Its connections go on without an engine, as those of a confined program. */
void zs_forked_same_files(void)
{
    struct zs_proc *p = &zs_proc;
    struct zs_domain *d = atomic_load(&p->domain);
    if (!p->conf.enabled)
        return;
    atomic_store(p->wipe, ZS_WIPE_SELF);
    atomic_fetch_add(&p->generation, 1);
    atomic_store(&p->attach_lock, 0);
    p->confined = true;
    pool_child();
    ep_child();
    if (d == NULL)
        return;
    d->view.stats = &nobody;
    zs_buffers_forked(d);
    d->view.confined = true;
    atomic_store(&d->rpc_lock, 0);
    atomic_store(&d->alive, false);
    lent_before_confinement(d);
}

/* What `why` tells of a socket that a child has from its parent. */
static void why_inherited(struct zsock *k, int fd, void *arg)
{
    struct zs_domain *d = arg;
    uint32_t kind = atomic_load(&k->kind);
    if (k->d != d || k->s == NULL)
        return;
    if (kind == ZK_CONN)
        sock_why_conn(k, fd);
    else if (kind == ZK_LISTEN)
        zs_why(d, fd, IPPROTO_TCP, ZS_VERDICT_BOTH, ZS_REASON_LISTENER, k);
    else if (kind == ZK_UDP)
        zs_why(d, fd, IPPROTO_UDP, ZS_VERDICT_BOTH, ZS_REASON_DATAGRAM, k);
}

static void attach_again(struct zs_proc *p)
{
    struct zs_domain *d = atomic_load(&p->domain);
    if (d == NULL)
        return;
    if (p->confined) { /* attaching would be its end: its connections go on as if without an engine */
        atomic_store(&d->alive, false);
        return;
    }
    const struct zs_attach_args args = {
        .engine = p->conf.engine,
        .run = p->conf.run,
        .token = p->conf.token,
        .home1 = zs_thread.home1,
        .host = &p->host,
    };
    zs_thread.home1 = 0;
    if (zs_domain_reattach(d, &args) < 0) {
        zs_engine_lost(d);
        return;
    }
    memcpy(p->conf.token, d->token, sizeof d->token);
    zsock_for_each(why_inherited, d);
}

/* First use of a socket in a forked child: become a client of our own, on the mapping that we inherited. Other threads wait
 * for it: a lock that one took under the parent's client id it could not give back under ours. */
void zs_child_notice(void)
{
    static __thread bool attaching __attribute__((tls_model("initial-exec")));
    struct zs_proc *p = &zs_proc;
    uint32_t child = ZS_WIPE_CHILD;
    if (attaching)
        return;
    if (atomic_load(p->wipe) == ZS_WIPE_FORKED)
        forked(); /* _Fork or a raw clone: no handler ran */
    if (!atomic_compare_exchange_strong(p->wipe, &child, ZS_WIPE_BUSY)) {
        while (atomic_load(p->wipe) == ZS_WIPE_BUSY)
            sched_yield();
        return;
    }
    attaching = true;
    attach_again(p);
    attaching = false;
    atomic_store(p->wipe, ZS_WIPE_SELF);
}

pid_t zsp_fork(void)
{
    return REAL(fork)(); /* our pthread_atfork handlers run inside */
}

pid_t zsp__Fork(void)
{
    zs_before_fork();
    pid_t pid = REAL(_Fork)();
    if (pid == 0)
        zs_after_fork_child();
    return pid;
}

/* ---- namespaces ---- */

/* A forked child that has not used a socket yet. */
static void attach_now(void)
{
    frame_enter();
    client_self();
    frame_end();
}

/* Engines are found in the network namespace that they are in, and serve that one only: a child that begins in another attaches by
 * a socket that was made here, for the sockets that it inherits and is sent. New ones are the kernel's there. */
void netns_before_clone(uint64_t flags)
{
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    int fd = -1;
    if ((flags & CLONE_NEWNET) && !(flags & CLONE_FILES) && !zs_proc.other_netns && d != NULL && atomic_load(&d->alive))
        fd = (int)zs_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    zs_thread.home1 = fd < 0 ? 0 : fd + 1;
}

void netns_parent(void)
{
    if (zs_thread.home1 > 0)
        zs_sys(SYS_close, zs_thread.home1 - 1);
    zs_thread.home1 = 0;
}

void netns_child(uint64_t flags)
{
    if (!(flags & CLONE_NEWNET))
        return;
    if (zs_thread.home1 > 0)
        attach_now();
    netns_parent(); /* not taken: nothing was to be attached */
    zs_proc.other_netns = true;
}

int zsp_unshare(int flags)
{
    if ((flags & CLONE_NEWNET) && !zs_passthrough())
        attach_now(); /* while the engine is in reach */
    int r = REAL(unshare)(flags);
    if (r == 0 && (flags & CLONE_NEWNET) && !zs_passthrough())
        zs_proc.other_netns = true;
    return r;
}

int zsp_setns(int fd, int type)
{
    if ((type == 0 || (type & CLONE_NEWNET)) && !zs_passthrough())
        attach_now(); /* while the engine is in reach */
    int r = REAL(setns)(fd, type);
    if (r == 0 && (type == 0 || (type & CLONE_NEWNET)) && !zs_passthrough())
        zs_proc.other_netns = true;
    return r;
}

/* ---- users ---- */

void before_uid_change(void)
{
    if (!zs_proc.conf.enabled || zs_passthrough() || zs_proc.conf.have_token)
        return;
    frame_begin();
    zs_attached();
    frame_end();
}

int zsp_setuid(uid_t uid)
{
    before_uid_change();
    return REAL(setuid)(uid);
}

int zsp_seteuid(uid_t uid)
{
    before_uid_change();
    return REAL(seteuid)(uid);
}

int zsp_setreuid(uid_t ruid, uid_t euid)
{
    before_uid_change();
    return REAL(setreuid)(ruid, euid);
}

int zsp_setresuid(uid_t ruid, uid_t euid, uid_t suid)
{
    before_uid_change();
    return REAL(setresuid)(ruid, euid, suid);
}

/* ---- start ---- */

static int host_keep(int fd)
{
    return fd_keep(fd);
}

/* Sockets among all descriptors; those that are ours already are left alone. */
static void inherit_any(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int fd = entry->d_name[0] == '.' ? -1 : atoi(entry->d_name);
        if (fd >= 0 && fd != dirfd(dir) && fdtab_raw(fd) == 0 && sock_claim(fd) == 1)
            stdio_standard(fd);
    }
    if (dir != NULL)
        closedir(dir);
}

/* Sockets that the previous image left us: fd:session:generation,... The engine's answer for the descriptor decides. A `*`: there
 * may be others. */
static void inherit(void)
{
    const char *list = getenv("ZSTACK_INHERIT");
    while (list != NULL && *list != 0) {
        char *end;
        if (*list == '*') {
            inherit_any();
            break;
        }
        long fd = strtol(list, &end, 10);
        if (end == list)
            break;
        if (fd >= 0 && fd < (long)zs_fdtab_size && sock_claim((int)fd) == 0)
            zs_log(ZS_LOG_DEBUG, "inherited descriptor %ld is the kernel's", fd);
        else if (fd >= 0 && fd <= 2)
            stdio_standard((int)fd);
        list = strchr(end, ',');
        list = list != NULL ? list + 1 : NULL;
    }
    unsetenv("ZSTACK_INHERIT");
}

/* Order: real functions (everything else may call them); configuration; the table, without which nothing is ours; the
 * fork mark; handlers; inherited sockets, which need all of it. */
__attribute__((constructor(101))) static void start(void)
{
    struct zs_proc *p = &zs_proc;
    zs_real_resolve();
    zs_config_load();
    if (!p->conf.enabled)
        return;
    p->started_ns = zs_now_ns();
    space_init(getenv("ZSTACK_ROOM"));
    p->host = (struct zs_host){.keep_fd = host_keep, .drop_fd = fd_unkeep, .mapped = space_mapped, .socket_of = lent_socket_of};
    p->wipe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->wipe == MAP_FAILED || madvise((void *)p->wipe, 4096, MADV_WIPEONFORK) < 0 || fdtab_init() < 0) {
        zs_log(ZS_LOG_WARN, "no memory for the descriptor table: this program uses the kernel's sockets");
        p->conf.enabled = false;
        return;
    }
    atomic_store(p->wipe, ZS_WIPE_SELF);
    pthread_atfork(zs_before_fork, NULL, zs_after_fork_child);
    p->own_calls = p->conf.own_calls && own_calls_take();
    if (getenv("ZSTACK_INHERIT") != NULL)
        inherit();
}
