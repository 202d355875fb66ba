/* SPDX-License-Identifier: BSD-3-Clause
 * Signals around intercepted calls, and the sleep they may end.
 *
 * A handler that arrives while the library holds its own state is deferred to the end of the call; one that arrives while
 * the thread sleeps in the kernel runs at once, as it would inside the real call, and ends the sleep with EINTR
 * unless SA_RESTART applies (signal(7)). */
#include "own_calls.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

__thread struct zs_thread zs_thread __attribute__((tls_model("initial-exec"))) = {.bell = -1};

#define NSIG_ALL 65
static void on_signal(int sig, siginfo_t *info, void *context);

/* The application's dispositions; the kernel has ours. */
static struct {
    struct sigaction act[NSIG_ALL];
    _Atomic bool ours[NSIG_ALL]; /* the kernel's disposition is on_signal */
    _Atomic uint32_t lock;
} disp;

/* The thread itself caused it: it cannot go on before the handler ran. */
static bool synchronous(int sig, const siginfo_t *info)
{
    return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP);
}

static void call_handler(const struct sigaction *act, int sig, siginfo_t *info, void *context)
{
    if (act->sa_flags & SA_SIGINFO)
        act->sa_sigaction(sig, info, context);
    else
        act->sa_handler(sig);
}

/* As call_handler, for one that comes in the middle of a call that the program made by itself. What it does to its mask holds. */
static __attribute__((noinline)) void call_handler_amid(const struct sigaction *act, int sig, siginfo_t *info, void *context)
{
    ucontext_t as, *told = own_call_context(context, &as);
    call_handler(act, sig, info, told);
    if (told == &as)
        memcpy(&((ucontext_t *)context)->uc_sigmask, &as.uc_sigmask, sizeof(uint64_t));
}

/* Runs the application's handler now. The thread looks like outside of any call meanwhile: the handler may use sockets, and
 * may leave by siglongjmp. */
static void deliver(int sig, siginfo_t *info, void *context)
{
    struct zs_thread *t = &zs_thread;
    struct sigaction act = disp.act[sig];
    if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN)
        return; /* changed meanwhile */
    if (act.sa_flags & SA_RESETHAND)
        disp.act[sig].sa_handler = SIG_DFL;
    uint32_t depth = t->depth;
    int interrupted = t->interrupted;
    bool sleeping = t->sleeping;
    _Atomic uint32_t *futex = t->futex;
    struct zsock *cur = t->cur;
    struct epset *asleep_on = t->asleep_on;
    uint32_t under = t->nunder;
    const uint32_t generation = atomic_load(&zs_proc.generation);
    int bell = t->bell, saved_errno = errno;
    if (sleeping && under < sizeof t->under / sizeof t->under[0]) {
        t->under[under].cur = cur;
        t->under[under].asleep_on = asleep_on;
        t->under[under].frame = t->sleep_frame;
        t->nunder = under + 1;
    }
    char *handler_frame = t->handler_frame;
    t->asleep_on = NULL;
    t->cur = NULL;
    t->depth = 0;
    t->sleeping = false;
    t->futex = NULL;
    t->bell = -1;
    t->handler_frame = __builtin_frame_address(0);
    if (ZS_UNLIKELY(zs_proc.own_calls) && !synchronous(sig, info))
        call_handler_amid(&act, sig, info, context);
    else
        call_handler(&act, sig, info, context);
    errno = saved_errno;
    t->handler_frame = handler_frame;
    t->nunder = under;
    t->asleep_on = asleep_on;
    t->cur = cur;
    t->depth = depth;
    t->sleeping = sleeping;
    bool parent = atomic_load(&zs_proc.generation) != generation; /* the handler forked, and this is the child: both are its parent's */
    t->futex = parent ? NULL : futex;
    t->bell = parent ? -1 : bell;
    t->interrupted = interrupted | (act.sa_flags & SA_RESTART ? ZS_INTR_RESTART : ZS_INTR_EINTR);
}

void zs_jumped(void)
{
    struct zs_thread *t = &zs_thread;
    char *here = __builtin_frame_address(0);
    stack_t alt;
    if (t->nunder == 0 || t->depth > 1 || zs_sys(SYS_sigaltstack, NULL, &alt) < 0 || (alt.ss_flags & SS_ONSTACK))
        return;
    /* Still beneath a handler that runs: its sleep is further up the stack than we are. */
    while (t->nunder > 0 && here > t->under[t->nunder - 1].frame) {
        uint32_t i = --t->nunder;
        if (t->under[i].asleep_on != NULL)
            ep_cancelled(t->under[i].asleep_on);
        if (t->under[i].cur != NULL)
            zsock_drop(t->under[i].cur);
    }
}

/* ---- SIGSEGV and SIGBUS: ours, too ---- */

static _Atomic bool guarded;

bool signals_guarded(void)
{
    return atomic_load_explicit(&guarded, memory_order_relaxed);
}

static bool is_guarded(int sig)
{
    return (sig == SIGSEGV || sig == SIGBUS) && atomic_load(&guarded);
}

/* What the kernel is told for a guarded signal, whatever the application's disposition is. */
static void guard_action(struct sigaction *act)
{
    act->sa_sigaction = on_signal;
    act->sa_flags = (act->sa_flags & ~SA_RESETHAND) | SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
}

void signals_guard(void)
{
    static const int sigs[] = {SIGSEGV, SIGBUS};
    if (atomic_exchange(&guarded, true))
        return;
    for (int i = 0; i < 2; i++) {
        struct sigaction now;
        if (REAL(sigaction)(sigs[i], NULL, &now) < 0)
            continue;
        if (now.sa_sigaction != on_signal)
            disp.act[sigs[i]] = now;
        atomic_store(&disp.ours[sigs[i]], true);
        guard_action(&now);
        REAL(sigaction)(sigs[i], &now, NULL);
    }
}

/* True: dealt with. A fault that the application has no handler for happens again, without ours. */
static bool on_guarded(int sig, const siginfo_t *info, void *context)
{
    bool sent = info->si_code <= 0; /* by kill and kin */
    sighandler_t h = disp.act[sig].sa_handler;
    if (!sent && user_fault(context))
        return true;
    if (h == SIG_IGN && sent)
        return true;
    if (h != SIG_DFL && h != SIG_IGN)
        return false;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    REAL(sigaction)(sig, &plain, NULL);
    if (sent)
        zs_sys(SYS_tgkill, zs_sys(SYS_getpid), zs_sys(SYS_gettid), sig);
    return true;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    struct zs_thread *t = &zs_thread;
    if (is_guarded(sig) && on_guarded(sig, info, context))
        return;
    bool late = t->late == sig;
    if (late)
        t->late = 0;
    else
        async_translate(info);
    if (late || t->depth == 0 || t->sleeping || synchronous(sig, info)) {
        deliver(sig, info, context);
        if (t->sleeping) {
            /* The signal may have come just before the system call: make it return at once. */
            uint64_t one = 1;
            if (t->futex != NULL) {
                atomic_store(t->futex, 0);
                zs_futex_wake(t->futex, INT32_MAX);
            }
            if (t->bell >= 0)
                zs_sys(SYS_write, t->bell, &one, sizeof one);
        }
        return;
    }
    for (int i = 0; i < t->npending; i++)
        if (t->pending[i].sig == sig && sig < SIGRTMIN)
            return; /* standard signals do not queue */
    if (t->npending < ZS_SIGQ) {
        t->pending[t->npending].sig = sig;
        t->pending[t->npending].info = *info;
        t->npending++;
        return;
    }
    deliver(sig, info, context); /* more real-time signals than the queue holds: late is worse than early */
}

/* The context of a handler that comes late is this place: what the thread was interrupted in has gone on. What the handler changes in it holds. */
static void deliver_late(int sig, siginfo_t *info, uint64_t *mask)
{
    ucontext_t here;
    gregset_t was;
    volatile bool delivered = false;
    memset(&here, 0, sizeof here);
    getcontext(&here);
    if (delivered)
        return;
    delivered = true;
    memcpy(&was, &here.uc_mcontext.gregs, sizeof was);
    memcpy(&here.uc_sigmask, mask, sizeof *mask);
    deliver(sig, info, &here);
    memcpy(mask, &here.uc_sigmask, sizeof *mask);
    if (memcmp(&was, &here.uc_mcontext.gregs, sizeof was) != 0)
        setcontext(&here);
}

/* A handler for the alternate stack, where the thread is not: the kernel calls it there, when the signal comes once more. False: nothing was
 * done; also where a seccomp filter may end the program for that. */
static bool deliver_on_stack(int sig, siginfo_t *info, uint64_t *mask)
{
    const int flags = disp.act[sig].sa_flags;
    stack_t alt;
    if (!(flags & SA_ONSTACK) || (flags & SA_RESETHAND) || zs_proc.restricted || zs_sys(SYS_sigaltstack, NULL, &alt) < 0 ||
        (alt.ss_flags & (SS_DISABLE | SS_ONSTACK)))
        return false;
    uint64_t now, open = *mask & ~(UINT64_C(1) << (sig - 1));
    zs_thread.late = sig;
    bool sent = zs_sys(SYS_rt_tgsigqueueinfo, zs_sys(SYS_getpid), zs_sys(SYS_gettid), sig, info) == 0;
    if (sent) {
        zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &open, NULL, sizeof open); /* it runs here */
        zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &now, sizeof now);
        if (now != open) /* what it left in its context */
            *mask = now;
    }
    zs_thread.late = 0;
    return sent;
}

void zs_signals_run(void)
{
    struct zs_thread *t = &zs_thread;
    uint64_t all = ~UINT64_C(0), old;
    int saved_errno = errno;
    while (t->npending > 0) {
        zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
        int sig = 0;
        siginfo_t info;
        if (t->npending > 0) {
            sig = t->pending[0].sig;
            info = t->pending[0].info;
            t->npending--;
            for (int i = 0; i < t->npending; i++)
                t->pending[i] = t->pending[i + 1];
        }
        if (sig != 0 && !deliver_on_stack(sig, &info, &old)) {
            /* The mask of a handler: the thread's, sa_mask, and the signal itself unless SA_NODEFER. */
            uint64_t mask;
            memcpy(&mask, &disp.act[sig].sa_mask, sizeof mask);
            mask |= old | (disp.act[sig].sa_flags & SA_NODEFER ? 0 : UINT64_C(1) << (sig - 1));
            zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
            deliver_late(sig, &info, &old);
        }
        zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof old);
    }
    errno = saved_errno;
}

/* ---- Threads that end, also by cancellation in the middle of a wait ---- */

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void thread_exit(void *p)
{
    struct zs_thread *t = p;
    bool own = t->wait_generation == atomic_load(&zs_proc.generation);
    t->depth = 1; /* no handler may start a call of ours from here on */
    if (t->asleep_on != NULL)
        ep_cancelled(t->asleep_on);
    if (t->cur != NULL && t->counted)
        atomic_fetch_sub(&t->cur->dg.waits, 1);
    if (t->cur != NULL)
        zsock_drop(t->cur);
    if (t->wait.d != NULL && own)
        zs_wait_close(&t->wait);
    for (int i = 0; i < ZS_SPARE_USES; i++)
        if (t->spare[i].at != NULL)
            munmap(t->spare[i].at, t->spare[i].bytes);
    memset(t->spare, 0, sizeof t->spare);
    own_calls_thread_ends();
    t->asleep_on = NULL;
    t->cur = NULL;
    t->wait.d = NULL;
    t->sleeping = false;
    t->depth = 0;
    t->registered = false;
}

static void thread_key_make(void)
{
    pthread_key_create(&thread_key, thread_exit);
}

void thread_register(void)
{
    pthread_once(&thread_once, thread_key_make);
    zs_thread.registered = pthread_setspecific(thread_key, &zs_thread) == 0;
}

void sleep_begin(_Atomic uint32_t *futex, int bell)
{
    struct zs_thread *t = &zs_thread;
    if (ZS_UNLIKELY(!t->registered))
        thread_register();
    if (ZS_UNLIKELY(t->nunder > 0))
        zs_jumped();
    t->sleep_frame = __builtin_frame_address(0);
    t->futex = futex;
    t->bell = bell;
    atomic_signal_fence(memory_order_seq_cst);
    t->sleeping = true;
    atomic_signal_fence(memory_order_seq_cst);
    if (t->npending > 0) { /* deferred just before: deliver, and let the sleep fall through */
        t->sleeping = false;
        zs_signals_run();
        t->sleeping = true;
        if (futex != NULL)
            atomic_store(futex, 0);
        uint64_t one = 1;
        if (bell >= 0)
            zs_sys(SYS_write, bell, &one, sizeof one);
    }
}

static int intr_result(bool restartable)
{
    int how = zs_thread.interrupted;
    zs_thread.interrupted = 0;
    if (how & ZS_INTR_EINTR)
        return -EINTR;
    return how != 0 && !restartable ? -EINTR : 0;
}

int sleep_end(bool restartable)
{
    struct zs_thread *t = &zs_thread;
    t->sleeping = false;
    atomic_signal_fence(memory_order_seq_cst);
    t->futex = NULL;
    t->bell = -1;
    return intr_result(restartable);
}

int spin_signals(bool restartable)
{
    if (ZS_LIKELY(zs_thread.npending == 0))
        return 0;
    zs_signals_run();
    return intr_result(restartable);
}

int wait_word(struct zs_domain *d, _Atomic uint32_t *word, uint32_t val, uint64_t deadline_ns, bool restartable)
{
    /* Never longer than this in one go: a dead engine cannot wake us, so look after it and the peer. */
    const uint64_t look_ns = 500000000u;
    uint64_t now = zs_now_ns(), nap = look_ns;
    if (deadline_ns != 0 && now >= deadline_ns)
        return -EAGAIN;
    if (deadline_ns != 0 && deadline_ns - now < nap)
        nap = deadline_ns - now;
    struct timespec t = {.tv_sec = (time_t)(nap / 1000000000u), .tv_nsec = (long)(nap % 1000000000u)};
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type); /* blocking calls are cancellation points */
    sleep_begin(word, -1);
    long r = zs_sys(SYS_futex, word, FUTEX_WAIT, val, &t, NULL, 0);
    int intr = sleep_end(restartable);
    pthread_setcanceltype(type, NULL);
    if (d->view.stats)
        atomic_fetch_add_explicit(&d->view.stats->sleeps, 1, memory_order_relaxed);
    if (intr < 0)
        return intr;
    if (r == -ETIMEDOUT && !zs_domain_check(d))
        zs_engine_lost(d);
    return 0;
}

/* ---- sigaction and kin ---- */

static void lock_disp(uint64_t *old)
{
    uint64_t all = ~UINT64_C(0);
    zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, sizeof all);
    zs_word_lock(&disp.lock);
}

static void unlock_disp(const uint64_t *old)
{
    zs_word_unlock(&disp.lock);
    zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, sizeof *old);
}

int zsp_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    if (zs_passthrough() || sig < 1 || sig >= NSIG_ALL || !zs_proc.conf.enabled)
        return REAL(sigaction)(sig, act, old);
    struct sigaction wrapped, before;
    bool handler = act != NULL && act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN;
    uint64_t mask;
    lock_disp(&mask);
    struct sigaction app_before = disp.act[sig];
    bool was_ours = atomic_load(&disp.ours[sig]);
    if (act != NULL) {
        wrapped = *act;
        if (handler) {
            wrapped.sa_sigaction = on_signal;
            wrapped.sa_flags |= SA_SIGINFO;
        }
        if (is_guarded(sig))
            guard_action(&wrapped);
        if (handler)
            disp.act[sig] = *act; /* before the kernel knows: the handler may run at once */
    }
    int r = REAL(sigaction)(sig, act != NULL ? &wrapped : NULL, &before);
    if (act != NULL && r == 0) {
        disp.act[sig] = *act;
        atomic_store(&disp.ours[sig], handler || is_guarded(sig));
    } else if (act != NULL) {
        disp.act[sig] = app_before;
    }
    if (r == 0 && old != NULL) {
        *old = before;
        if (was_ours && before.sa_sigaction == on_signal) {
            old->sa_sigaction = app_before.sa_sigaction;
            old->sa_flags = app_before.sa_flags | (before.sa_flags & 0x04000000 /* SA_RESTORER, as the kernel reports */);
        }
    }
    unlock_disp(&mask);
    return r;
}

static sighandler_t set_handler(int sig, sighandler_t h, int flags)
{
    struct sigaction act = {.sa_flags = flags}, old;
    act.sa_handler = h;
    sigemptyset(&act.sa_mask);
    if (!(flags & SA_NODEFER) && sig >= 1 && sig < NSIG_ALL)
        sigaddset(&act.sa_mask, sig);
    return zsp_sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

sighandler_t zsp_signal(int sig, sighandler_t h)
{
    return set_handler(sig, h, SA_RESTART); /* BSD semantics, as glibc's default */
}

sighandler_t zsp_sysv_signal(int sig, sighandler_t h)
{
    return set_handler(sig, h, (int)SA_RESETHAND | SA_NODEFER);
}

int zsp_siginterrupt(int sig, int flag)
{
    struct sigaction act;
    if (zsp_sigaction(sig, NULL, &act) < 0)
        return -1;
    if (flag)
        act.sa_flags &= ~SA_RESTART;
    else
        act.sa_flags |= SA_RESTART;
    return zsp_sigaction(sig, &act, NULL);
}
