/* SPDX-License-Identifier: BSD-3-Clause
 * Configuration from the environment, the attachment to the engine, and what happens when it goes and comes back. */
#include "preload.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

struct zs_proc zs_proc;

#define RETRY_NS 250000000u /* how often a process without an engine looks for one */

void zs_log(int level, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (level > zs_proc.conf.log)
        return;
    char line[512];
    int n = snprintf(line, sizeof line, "zstack[%d]: %s: ", (int)getpid(), names[level]);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    zs_sys(SYS_write, 2, line, (size_t)n);
}

void zs_trace(const char *name, int fd, long ret)
{
    char line[128];
    int n = snprintf(line, sizeof line, "zstack[%d]: %s(%d) = %ld\n", (int)getpid(), name, fd, ret);
    zs_sys(SYS_write, 2, line, (size_t)n);
}

static bool parse_token(const char *hex, uint8_t token[16])
{
    for (int i = 0; i < 32; i++) {
        char c = hex[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            return false;
        token[i / 2] = (uint8_t)(i & 1 ? token[i / 2] | v : v << 4);
    }
    return hex[32] == 0;
}

void zs_config_load(void)
{
    struct zs_config *c = &zs_proc.conf;
    const char *e = getenv("ZSTACK_ENGINE");
    c->spin_us = 20;
    c->log = ZS_LOG_WARN;
    c->tcp = c->udp = c->own_calls = true;
    c->enabled = e != NULL && *e != 0;
    if (!c->enabled)
        return;
    exec_keep_settings();
    snprintf(c->engine, sizeof c->engine, "%s", e);
    if ((e = getenv("ZSTACK_RUN")) != NULL)
        snprintf(c->run, sizeof c->run, "%s", e);
    if ((e = getenv("ZSTACK_PRELOAD")) != NULL)
        snprintf(c->preload, sizeof c->preload, "%s", e);
    if ((e = getenv("ZSTACK_SPIN_US")) != NULL) {
        char *end;
        unsigned long us = strtoul(e, &end, 10);
        if (*e != 0 && *end == 0 && us <= 1000000)
            c->spin_us = (uint32_t)us;
        else
            zs_log(ZS_LOG_WARN, "ZSTACK_SPIN_US=%s is not a number from 0 to 1000000; using %u", e, c->spin_us);
    }
    if ((e = getenv("ZSTACK_LOG")) != NULL)
        c->log = *e == 'd' ? ZS_LOG_DEBUG : *e == 'i' ? ZS_LOG_INFO : *e == 'e' ? ZS_LOG_ERROR : ZS_LOG_WARN;
    if ((e = getenv("ZSTACK_TRACE")) != NULL)
        c->trace = *e == '1';
    if ((e = getenv("ZSTACK_TCP")) != NULL)
        c->tcp = strcmp(e, "kernel") != 0;
    if ((e = getenv("ZSTACK_UDP")) != NULL)
        c->udp = strcmp(e, "kernel") != 0, c->udp_early = strcmp(e, "early") == 0;
    if ((e = getenv("ZSTACK_OWN_CALLS")) != NULL)
        c->own_calls = strcmp(e, "kernel") != 0;
    if ((e = getenv("ZSTACK_TOKEN")) != NULL)
        c->have_token = parse_token(e, c->token);
}

/* Once for a program, before its first socket. */
static void examine(struct zs_proc *p)
{
    if (p->examined)
        return;
    p->own_waits = !p->own_calls && waits_by_itself();
    p->examined = true;
    if (p->own_waits)
        zs_log(ZS_LOG_WARN, "%s waits for events by system calls of its own, which cannot be redirected: its sockets use the kernel",
               program_invocation_short_name);
}

static struct zs_domain *attach(void)
{
    struct zs_proc *p = &zs_proc;
    examine(p);
    struct zs_domain *d = mmap(NULL, sizeof *d, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (d == MAP_FAILED)
        return NULL;
    const struct zs_attach_args args = {
        .engine = p->conf.engine,
        .run = p->conf.run,
        .token = p->conf.have_token ? p->conf.token : NULL,
        .host = &p->host,
    };
    int r = zs_domain_attach(d, &args);
    if (r < 0) {
        munmap(d, sizeof *d);
        if (!p->warned)
            zs_log(ZS_LOG_WARN, "no engine \"%s\" (%s): sockets use the kernel - hint: zstack-run engine %s", p->conf.engine,
                   r == -EPROTO ? "it is of another build" : strerror(-r), r == -EPROTO ? "stop" : "status");
        p->warned = true;
        return NULL;
    }
    p->warned = false;
    d->view.locked = p->locks_memory;
    memcpy(p->conf.token, d->token, sizeof d->token);
    p->conf.have_token = true;
    return d;
}

struct zs_domain *zs_attached(void)
{
    struct zs_proc *p = &zs_proc;
    struct zs_domain *d = atomic_load(&p->domain);
    if (ZS_LIKELY(d != NULL && atomic_load_explicit(&d->alive, memory_order_relaxed)))
        return d;
    if (!p->conf.enabled || p->other_netns || p->confined)
        return NULL;
    uint32_t free_word = 0;
    if (!atomic_compare_exchange_strong(&p->attach_lock, &free_word, 1)) {
        while (atomic_load(&p->attach_lock) != 0)
            sched_yield();
        return atomic_load(&p->domain);
    }
    d = atomic_load(&p->domain);
    if (d != NULL && !atomic_load(&d->alive)) {
        zs_engine_lost(d);
        d = NULL;
    }
    uint64_t now = zs_now_ns();
    bool fresh = false;
    if (d == NULL && now >= p->attach_retry_ns) {
        d = attach();
        fresh = d != NULL;
        p->attach_retry_ns = now + RETRY_NS;
        atomic_store(&p->domain, d);
    }
    atomic_store(&p->attach_lock, 0);
    if (fresh && atomic_load(&p->endpoints) > 0)
        zs_endpoints_return();
    return d;
}

static void reset_wire(struct zsock *k, int fd, void *arg)
{
    (void)fd;
    if (k->d == arg && atomic_load(&k->kind) == ZK_CONN && (atomic_load(&k->s->flags) & ZS_F_WIRE) && k->peer != NULL)
        stream_abandon(k);
}

void zs_engine_lost(struct zs_domain *d)
{
    struct zs_domain *cur = d;
    atomic_store(&d->alive, false);
    if (!atomic_compare_exchange_strong(&zs_proc.domain, &cur, NULL))
        return;
    zsock_for_each(reset_wire, d);
    zs_log(ZS_LOG_WARN, "the engine is gone: same-host connections go on, new sockets use the kernel until it is back");
    zs_proc.warned = true;
}

static void endpoint_return(struct zsock *k, int fd, void *arg)
{
    struct zs_domain *d = arg;
    if (k->d == d || k->fd != fd)
        return;
    if (atomic_load(&k->kind) == ZK_LISTEN)
        sock_listen_again(k, d);
    else if (atomic_load(&k->kind) == ZK_UDP && k->s != NULL)
        dgram_bound_again(k, fd);
}

/* An engine is there again: the listeners and UDP sockets of this process become reachable through it. */
void zs_endpoints_return(void)
{
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    if (d != NULL)
        zsock_for_each(endpoint_return, d);
}

void zs_why(struct zs_domain *d, int fd, int proto, enum zs_verdict verdict, enum zs_reason reason, const struct zsock *k)
{
    if (d == NULL || d->view.stats == NULL || fd < 0)
        return;
    struct zs_why *w = &d->view.stats->why[(uint32_t)fd % ZS_WHY_ENTRIES];
    atomic_store(&w->fd1, 0);
    w->verdict = (uint8_t)verdict;
    w->reason = (uint8_t)reason;
    w->proto = (uint8_t)proto;
    w->session = k != NULL ? k->index : ZS_NO_SESSION;
    w->session_gen = k != NULL ? k->gen : 0;
    atomic_store(&w->fd1, (uint32_t)fd + 1);
}
