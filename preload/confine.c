/* SPDX-License-Identifier: BSD-3-Clause
 * Programs that confine themselves: seccomp(2), RLIMIT_NOFILE. What needs other calls than those on existing descriptors is
 * done before: a forked child becomes a client of its own, the thread gets its waiter. Afterwards the filter decides: where it
 * forbids what a request to the engine needs, there are none any more. */
#include "preload.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void before_confinement(void)
{
    struct zs_domain *d;
    if (!zs_proc.conf.enabled || zs_passthrough())
        return;
    frame_begin();
    d = atomic_load(&zs_proc.domain);
    if (d != NULL && atomic_load(&d->alive))
        thread_wait(d);
    if (d != NULL)
        lent_before_confinement(d);
    frame_end();
}

/* ---- What a filter says ---- */

struct needed {
    long number;
    uint64_t a, b;
};

struct bpf {
    uint32_t a, x, mem[BPF_MEMWORDS];
};

static uint32_t alu(uint16_t op, uint32_t a, uint32_t v)
{
    switch (op) {
    case BPF_ADD: return a + v;
    case BPF_SUB: return a - v;
    case BPF_MUL: return a * v;
    case BPF_DIV: return v != 0 ? a / v : 0;
    case BPF_OR: return a | v;
    case BPF_AND: return a & v;
    case BPF_XOR: return a ^ v;
    case BPF_LSH: return v < 32 ? a << v : 0;
    case BPF_RSH: return v < 32 ? a >> v : 0;
    default: return 0u - a; /* BPF_NEG */
    }
}

static bool jumps(uint16_t op, uint32_t a, uint32_t v)
{
    return op == BPF_JEQ ? a == v : op == BPF_JGT ? a > v : op == BPF_JGE ? a >= v : (a & v) != 0;
}

static uint32_t load(const struct sock_filter *f, const struct bpf *m, const struct seccomp_data *data)
{
    uint32_t v = f->k;
    if (BPF_MODE(f->code) == BPF_ABS && f->k <= sizeof *data - sizeof v)
        memcpy(&v, (const char *)data + f->k, sizeof v);
    else if (BPF_MODE(f->code) == BPF_MEM)
        v = m->mem[f->k % BPF_MEMWORDS];
    else if (BPF_MODE(f->code) == BPF_LEN)
        v = sizeof *data;
    return v;
}

/* The action for a call with these first arguments, the others 0: a filter is classic BPF over struct seccomp_data (seccomp(2)). Only jumps forward
 * exist, so it ends. What the kernel would not take counts as forbidden. */
static uint32_t action_for(const struct sock_fprog *prog, const struct needed *call)
{
    const struct seccomp_data data = {.nr = (int)call->number, .arch = AUDIT_ARCH_X86_64, .args = {call->a, call->b}};
    struct bpf m = {0};
    for (uint32_t pc = 0; pc < prog->len; pc++) {
        const struct sock_filter *f = &prog->filter[pc];
        uint32_t v = BPF_SRC(f->code) == BPF_X ? m.x : f->k;
        switch (BPF_CLASS(f->code)) {
        case BPF_LD: m.a = load(f, &m, &data); break;
        case BPF_LDX: m.x = load(f, &m, &data); break;
        case BPF_ST: m.mem[f->k % BPF_MEMWORDS] = m.a; break;
        case BPF_STX: m.mem[f->k % BPF_MEMWORDS] = m.x; break;
        case BPF_ALU: m.a = alu(BPF_OP(f->code), m.a, v); break;
        case BPF_JMP: pc += BPF_OP(f->code) == BPF_JA ? f->k : jumps(BPF_OP(f->code), m.a, v) ? f->jt : f->jf; break;
        case BPF_RET: return BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
        default: BPF_MISCOP(f->code) == BPF_TXA ? (m.a = m.x) : (m.x = m.a); break;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}

/* For a filter that the kernel took, so that it is readable: what attaching, zs_rpc, keeping a descriptor and a spin call, and
 * what maps lent memory (mapped.c, whose size the engine tells). */
static bool allows_requests(const struct sock_fprog *prog)
{
    static const struct needed needed[] = {
        {SYS_sendmsg, 0, 0},
        {SYS_recvmsg, 0, 0},
        {SYS_ppoll, 0, 0},
        {SYS_fcntl, 0, F_DUPFD_CLOEXEC},
        {SYS_close, 0, 0},
        {SYS_rt_sigprocmask, SIG_BLOCK, 0},
        {SYS_sched_yield, 0, 0},
        {SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC},
        {SYS_connect, 0, 0},
        {SYS_mmap, 0, ZS_BUFFERS_MIN},
        {SYS_munmap, 0, ZS_BUFFERS_MIN},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        uint32_t action = action_for(prog, &needed[i]) & SECCOMP_RET_ACTION_FULL;
        if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
            return false;
    }
    return true;
}

static void confined(bool requests)
{
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    zs_proc.restricted = true;
    if (requests) {
        if (d != NULL && !d->view.confined)
            lent_after_confinement(d);
        return;
    }
    zs_proc.confined = true;
    if (d != NULL)
        d->view.confined = true;
}

/* The kernel did not take it. */
static void not_confined(void)
{
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    if (d != NULL && !d->view.confined)
        lent_after_confinement(d);
}

/* ---- The calls ---- */

int zsp_prctl_args(int op, const long a[4])
{
    bool strict = op == PR_SET_SECCOMP && a[0] == SECCOMP_MODE_STRICT;
    bool filter = op == PR_SET_SECCOMP && a[0] == SECCOMP_MODE_FILTER;
    if (strict || filter)
        before_confinement();
    int r = REAL(prctl)(op, a[0], a[1], a[2], a[3]);
    if ((strict || filter) && r != 0)
        not_confined();
    else if (strict || filter)
        confined(filter && allows_requests((const struct sock_fprog *)a[1]));
    return r;
}

long zsp_seccomp(unsigned op, unsigned flags, void *arg)
{
    bool sets = op == SECCOMP_SET_MODE_STRICT || op == SECCOMP_SET_MODE_FILTER;
    if (sets)
        before_confinement();
    long r = REAL(syscall)(SYS_seccomp, (long)op, (long)flags, arg);
    if (sets && (r < 0 || (r > 0 && (flags & SECCOMP_FILTER_FLAG_TSYNC) && !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))))
        not_confined();
    else if (sets)
        confined(op == SECCOMP_SET_MODE_FILTER && allows_requests(arg));
    return r;
}

/* Below this the library gets no more descriptors: those that it keeps have numbers far above. */
#define FEW_FILES 64u

static bool before_limit(__rlimit_resource_t what, const struct rlimit *to)
{
    if (what != RLIMIT_NOFILE || to == NULL || atomic_load(&zs_proc.domain) == NULL)
        return false;
    signals_guard();
    bool few = user_readable(to, sizeof *to) && to->rlim_cur < FEW_FILES;
    if (few)
        before_confinement();
    return few;
}

/* The kernel took it, so that it is readable. */
static void after_limit(__rlimit_resource_t what, const struct rlimit *to)
{
    if (what == RLIMIT_NOFILE && to != NULL && to->rlim_cur < FEW_FILES)
        zs_proc.restricted = true;
}

int zsp_prlimit(pid_t pid, __rlimit_resource_t what, const struct rlimit *to, struct rlimit *old)
{
    bool own = pid == 0 || pid == getpid();
    if (own && what == RLIMIT_AS)
        return space_prlimit(to, old);
    bool few = own && before_limit(what, to);
    int r = REAL(prlimit)(pid, what, to, old);
    if (r == 0 && own)
        after_limit(what, to);
    else if (few)
        not_confined();
    return r;
}

int zsp_setrlimit(__rlimit_resource_t what, const struct rlimit *to)
{
    return zsp_prlimit(0, what, to, NULL);
}

int zsp_getrlimit(__rlimit_resource_t what, struct rlimit *lim)
{
    return what == RLIMIT_AS ? space_prlimit(NULL, lim) : REAL(getrlimit)(what, lim);
}
