/* SPDX-License-Identifier: BSD-3-Clause
 * System calls that a program makes by instructions of its own. Go's standard library does not call the C library: the instruction is at a
 * few places of known form in the program, one for the `syscall` package and a dozen of the runtime's. Where the program has the C library
 * as well (cgo), so that its threads are that library's, a jump to the library takes their place when the program begins.
 *
 * The place of each is the instruction and the one or two after it, which are done in the stub it jumps to:
 *
 *     stub:  movabs $own_call_entry, %rcx; lea on(%rip), %r11; jmp *%rcx
 *     clone: syscall; movabs $own_call_cloned, %rcx; lea on(%rip), %r11; jmp *%rcx
 *     plain: syscall
 *     on:    what stood behind the instruction; jmp back */
#include "own_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern const char own_call_entry[] __attribute__((visibility("hidden")));
extern const char own_call_cloned[] __attribute__((visibility("hidden")));

/* ---- Calls ---- */

#define STACK_BYTES 2031616u /* exec has a pointer for each variable of an environment that is as large as it may be; below a huge page */
#define GUARDED (OWN_SLOT_LONGS - 1)

/* Bytes in use, then from one slot on [0] the top of its stack and [GUARDED] whether its end is; own_calls.S has the rest. */
__thread long own_stacks[OWN_SLOT_LONGS * (OWN_SLOTS + 1)] __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* By number: 1 where it is the library's to look at. */
const uint8_t own_call_taken[512] __attribute__((visibility("hidden"))) = {
    [SYS_clone] = 1, [SYS_clone3] = 1, [SYS_fork] = 1, [SYS_vfork] = 1, [SYS_io_uring_setup] = 1, [SYS_io_uring_register] = 1,
#define SYSC(number, call) [number] = 1,
#include "calls.def"
};

/* What is below a thread's stack may be another's. */
static void guard_stack(void)
{
    long *slot = own_stacks + own_stacks[0] / (long)sizeof(long);
    if (ZS_LIKELY(slot[GUARDED]))
        return;
    slot[GUARDED] = 1;
    zs_sys(SYS_mprotect, slot[0] - (long)STACK_BYTES, 4096, PROT_NONE);
}

enum { CLONED_THREAD, CLONED_FORK, CLONED_VFORK };

struct answer {
    long result;
    long back; /* bytes before where the program goes on: what is there still to be done */
};
#define BACK_PLAIN 2  /* `plain` before `on` */
#define BACK_CLONE 23 /* `clone` before `on` */

static __thread struct {
    int kind;
    uint64_t flags;
    long in_use; /* of own_stacks then */
} cloned __attribute__((tls_model("initial-exec"))); /* what own_call() said of a clone, for own_call_cloned_as() */

static struct answer clone_begins(long n, const long a[6])
{
    uint64_t flags = clone_flags(n, a);
    cloned.kind = !(flags & CLONE_VM) ? CLONED_FORK : flags & CLONE_VFORK ? CLONED_VFORK : CLONED_THREAD;
    cloned.flags = flags;
    cloned.in_use = own_stacks[0];
    if (cloned.kind == CLONED_THREAD || zs_passthrough())
        return (struct answer){n, BACK_PLAIN};
    if (cloned.kind == CLONED_VFORK)
        before_uid_change(); /* which is the child's, by a call of its own: then it is too late */
    zs_before_fork();
    if (cloned.kind == CLONED_FORK)
        netns_before_clone(flags);
    return (struct answer){n, BACK_CLONE};
}

/* A call by number n. A clone is made by the stub, since its child may go on in the program's frame. */
struct answer own_call(long n, const long a[6]) __attribute__((visibility("hidden"), used));
struct answer own_call(long n, const long a[6])
{
    int was = errno;
    struct answer to = {0};
    guard_stack();
    if (ZS_UNLIKELY(!zs_thread.registered))
        thread_register();
    if (n == SYS_clone || n == SYS_clone3 || n == SYS_fork || n == SYS_vfork) {
        to = clone_begins(n, a);
    } else {
        to.result = zsp_syscall_args(n, a);
        if (to.result == -1)
            to.result = -errno;
    }
    errno = was;
    return to;
}

long own_call_cloned_as(long r) __attribute__((visibility("hidden"), used));
long own_call_cloned_as(long r)
{
    int was = errno;
    if (cloned.kind == CLONED_VFORK) {
        zs_vfork_flag = r == 0; /* the thread's storage is the parent's, too, who waits and clears it */
        if (r != 0)
            own_stacks[0] = cloned.in_use; /* the child never came back from its exec */
    } else if (r == 0) {
        clone_child_begins(cloned.flags);
    } else {
        netns_parent();
    }
    errno = was;
    return r;
}

void own_calls_thread_ends(void)
{
    for (int i = 1; i <= OWN_SLOTS; i++) {
        long top = own_stacks[i * OWN_SLOT_LONGS];
        if (top == 0 || own_stacks[0] >= (long)(i * OWN_SLOT_LONGS * (int)sizeof(long)))
            continue; /* one that is in use is what this runs on */
        own_stacks[i * OWN_SLOT_LONGS] = own_stacks[i * OWN_SLOT_LONGS + GUARDED] = 0;
        munmap((void *)(top - (long)STACK_BYTES), STACK_BYTES);
    }
}

/* ---- Their places ---- */

#define STUB_BYTES 96u
#define STUB_PLACE (STUB_BYTES - 8u) /* there it has where its place is */
#define STUB_ON 42u /* `on` */
#define PLACES_MAX 64u /* Go's are about 25 */
#define JUMP_BYTES 5u

struct place {
    uint8_t *at;      /* the instruction */
    uint32_t follows; /* bytes of those behind it that go to the stub */
};

struct places {
    struct place list[PLACES_MAX];
    uint32_t n;
    uintptr_t low, high; /* the program's code */
};

/* What stands behind `syscall` in Go's assembly, as of 1.19; `any` is a displacement of the stack. */
enum { ANY = 256 };
static const uint16_t forms[][12] = {
    {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0},             /* cmp $-4095, %rax */
    {0x41, 0x54, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0}, /* push %r12; cmp $-4095, %rax */
    {0x89, 0x44, 0x24, ANY, 0xc3, 0},                    /* mov %eax, any(%rsp); ret */
};

/* How many bytes of a form stand at p; 0: it is another one. */
static uint32_t form_length(const uint16_t *form, const uint8_t *p)
{
    uint32_t n = 0;
    for (; form[n] != 0; n++)
        if (form[n] != ANY && form[n] != p[n])
            return 0;
    return n;
}

static void look_at(struct places *s, uint8_t *code, size_t n)
{
    const uint32_t longest = 16;
    for (uint8_t *q = code; n > longest && (q = memchr(q, 0x0f, (size_t)(code + n - longest - q))) != NULL; q++)
        for (size_t i = 0; q[1] == 0x05 && i < sizeof forms / sizeof forms[0]; i++) {
            uint32_t follows = form_length(forms[i], q + 2);
            if (follows > 0 && s->n < PLACES_MAX)
                s->list[s->n] = (struct place){q, follows};
            s->n += follows > 0;
        }
}

/* Go with cgo: these names are of its own, and among the dynamic ones even where everything else was stripped. In the program itself: of a
 * library in Go the runtime may be at work already. */
static bool is_go(void)
{
    const void *own = dlsym(RTLD_DEFAULT, "_cgo_topofstack");
    Dl_info there, program;
    return own != NULL && dlsym(RTLD_DEFAULT, "crosscall2") != NULL && dladdr(own, &there) != 0 &&
           dladdr((void *)getauxval(AT_ENTRY), &program) != 0 && there.dli_fbase == program.dli_fbase;
}

static int look_at_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct places *s = arg;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        uintptr_t at = info->dlpi_addr + part->p_vaddr;
        s->low = s->low == 0 || at < s->low ? at : s->low;
        s->high = at + part->p_memsz > s->high ? at + part->p_memsz : s->high;
        look_at(s, (uint8_t *)at, part->p_filesz);
    }
    return 1; /* the first one is the program */
}

/* Memory that jumps of the program's reach in 2 GiB. */
static uint8_t *near_code(const struct places *s, size_t bytes)
{
    const uintptr_t step = 1u << 20, reach = 1u << 30;
    for (uintptr_t off = step; off < reach; off += step) {
        /* Behind it if that is free: the program's own is the first code that it has. */
        const uintptr_t at[2] = {((s->high + step) & ~(step - 1)) + reach / 4 + off, (s->low & ~(step - 1)) - off};
        for (int i = 0; i < 2; i++) {
            if (i == 1 && off >= s->low)
                continue;
            void *p = mmap((void *)at[i], bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            if (p == (void *)at[i])
                return p;
            if (p != MAP_FAILED)
                munmap(p, bytes);
        }
    }
    return NULL;
}

static uint8_t *put(uint8_t *p, const void *what, size_t n)
{
    memcpy(p, what, n);
    return p + n;
}

/* A jump that is to stand at `at`. */
static void put_jump(uint8_t *p, const uint8_t *at, const uint8_t *to)
{
    int32_t far = (int32_t)(to - (at + JUMP_BYTES));
    *p++ = 0xe9;
    put(p, &far, sizeof far);
}

/* movabs $to, %rcx; lea on(%rip), %r11; jmp *%rcx: 19 bytes, `on` is so many after them. */
#define LEAVE_BYTES 19u
static uint8_t *put_leave(uint8_t *p, const char *to, uint32_t on)
{
    uint64_t address = (uint64_t)(uintptr_t)to;
    uint32_t far = on + 2;
    p = put(p, "\x48\xb9", 2);
    p = put(p, &address, sizeof address);
    p = put(p, "\x4c\x8d\x1d", 3);
    p = put(p, &far, sizeof far);
    return put(p, "\xff\xe1", 2);
}

static void write_stub(uint8_t *p, const struct place *at)
{
    memcpy(p + STUB_PLACE, &at->at, sizeof at->at);
    p = put_leave(p, own_call_entry, 2 + LEAVE_BYTES + 2);
    p = put(p, "\x0f\x05", 2);
    p = put_leave(p, own_call_cloned, 2);
    p = put(p, "\x0f\x05", 2);
    p = put(p, at->at + 2, at->follows);
    put_jump(p, p, at->at + 2 + at->follows);
}

/* ---- Handlers in the middle of a call ---- */

static struct {
    const uint8_t *at;
    size_t bytes;
} written; /* the stubs, once and for all */

/* Behind the program's instruction whose stub this is in; 0: in none. */
static uintptr_t place_of(uintptr_t in)
{
    uintptr_t place = 0;
    if (in - (uintptr_t)written.at >= written.bytes)
        return 0;
    memcpy(&place, written.at + (in - (uintptr_t)written.at) / STUB_BYTES * STUB_BYTES + STUB_PLACE, sizeof place);
    return place + 2;
}

void *own_call_context(void *context, ucontext_t *as)
{
    const greg_t *is = ((const ucontext_t *)context)->uc_mcontext.gregs;
    const long *slot = own_stacks + own_stacks[0] / (long)sizeof(long);
    uintptr_t at = (uintptr_t)is[REG_RSP], stack = at, top = own_stacks[0] != 0 ? (uintptr_t)slot[0] : 0, on = 0;
    uintptr_t place = place_of((uintptr_t)is[REG_RIP]); /* in the stub, which makes it */
    if (place == 0 && top != 0 && at <= top - sizeof on && at > top - STACK_BYTES) { /* on the stack of the call */
        memcpy(&on, (void *)(top - sizeof on), sizeof on);
        place = place_of(on);
        stack = (uintptr_t)slot[1];
    }
    if (place == 0)
        return context;
    memcpy(as, context, sizeof *as);
    as->uc_mcontext.gregs[REG_RIP] = (greg_t)place;
    as->uc_mcontext.gregs[REG_RSP] = (greg_t)stack;
    return as;
}

/* The program's own code, while nothing else of it runs. By the file of its memory, where that may be written, the mapping stays one: who looks
 * for it by its addresses, as profilers do, finds it whole. */
static bool change_code(int mem, uint8_t *at, const uint8_t *code, size_t n)
{
    const uintptr_t page = 4095;
    if (mem >= 0 && zs_sys(SYS_pwrite64, mem, code, n, (uintptr_t)at) == (long)n && memcmp(at, code, n) == 0)
        return true;
    uintptr_t first = (uintptr_t)at & ~page, last = ((uintptr_t)at + n - 1) | page;
    if (mprotect((void *)first, last + 1 - first, PROT_READ | PROT_WRITE) < 0)
        return false;
    memcpy(at, code, n);
    mprotect((void *)first, last + 1 - first, PROT_READ | PROT_EXEC);
    return true;
}

/* Puts at a place the jump to its stub, or what stood there, which the stub has. */
static bool change_place(int mem, const struct place *at, uint8_t *stub, bool jump)
{
    uint8_t code[16] = {0x0f, 0x05};
    size_t n = at->follows + 2;
    memcpy(code + 2, stub + STUB_ON, at->follows);
    if (jump) {
        put_jump(code, at->at, stub);
        memset(code + JUMP_BYTES, 0xcc, n - JUMP_BYTES);
    }
    return change_code(mem, at->at, code, n);
}

/* All of them or none. */
static bool redirect(const struct places *s, uint8_t *stubs)
{
    int mem = (int)zs_sys(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC);
    uint32_t i = 0;
    while (i < s->n && change_place(mem, &s->list[i], stubs + i * STUB_BYTES, true))
        i++;
    bool done = i == s->n;
    while (!done && i-- > 0)
        change_place(mem, &s->list[i], stubs + i * STUB_BYTES, false);
    if (mem >= 0)
        zs_sys(SYS_close, mem);
    return done;
}

bool own_calls_take(void)
{
    struct places s = {0};
    if (!is_go())
        return false;
    dl_iterate_phdr(look_at_program, &s);
    size_t bytes = (s.n * STUB_BYTES + 4095) & ~4095ul;
    uint8_t *stubs = s.n > 0 && s.n <= PLACES_MAX ? near_code(&s, bytes) : NULL; /* all of them or none */
    if (stubs == NULL)
        return false;
    for (uint32_t i = 0; i < s.n; i++)
        write_stub(stubs + i * STUB_BYTES, &s.list[i]);
    if (mprotect(stubs, bytes, PROT_READ | PROT_EXEC) < 0 || !redirect(&s, stubs)) {
        munmap(stubs, bytes);
        return false;
    }
    written.at = stubs;
    written.bytes = s.n * STUB_BYTES;
    return true;
}
