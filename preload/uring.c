/* SPDX-License-Identifier: BSD-3-Clause
 * io_uring(7). A ring's operations name descriptors behind our back, so that a ring that carries sockets would find placeholders.
 * The kernel itself can confine a ring to what is about files (IORING_REGISTER_RESTRICTIONS, Linux 5.10): every ring that is made
 * through syscall(2) or liburing is made so, what else it is asked for fails with -EACCES, and who asks what it can do (a probe)
 * is told before. Programs then use the calls that we see for their sockets.
 *
 * Without: CLOSE, which would leave a stale entry in our table; POLL_*, EPOLL_* and URING_CMD, which would ask the placeholder. READ
 * and WRITE cannot be refused by descriptor: on a connection's or listener's placeholder, which is not connected, they are ENOTCONN and EPIPE. */
#include "preload.h"

#include <dlfcn.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>

#define OPS 256u            /* of struct io_uring_probe, at most */
#define REGISTER_OPS 64u    /* more than any kernel has; those that this one lacks are found out */
#define SETUP_REGISTERED_FD_ONLY (1u << 15) /* what is newer than the headers of Debian 12 */
#define SETUP_NO_SQARRAY (1u << 16)
#define REGISTER_USE_REGISTERED_RING (1u << 31)
enum { OP_FUTEX_WAIT = 51, OP_FUTEX_WAKE, OP_FUTEX_WAITV, OP_FIXED_FD_INSTALL, OP_FTRUNCATE, OP_READV_FIXED = 60, OP_WRITEV_FIXED, OP_PIPE };

static bool about_files(unsigned op)
{
    switch (op) {
    case IORING_OP_NOP:
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
    case IORING_OP_READ:
    case IORING_OP_WRITE:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE_FIXED:
    case OP_READV_FIXED:
    case OP_WRITEV_FIXED:
    case IORING_OP_FSYNC:
    case IORING_OP_SYNC_FILE_RANGE:
    case IORING_OP_FALLOCATE:
    case OP_FTRUNCATE:
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
    case IORING_OP_STATX:
    case IORING_OP_FADVISE:
    case IORING_OP_MADVISE:
    case IORING_OP_SPLICE:
    case IORING_OP_TEE:
    case OP_PIPE:
    case IORING_OP_RENAMEAT:
    case IORING_OP_UNLINKAT:
    case IORING_OP_MKDIRAT:
    case IORING_OP_SYMLINKAT:
    case IORING_OP_LINKAT:
    case IORING_OP_FSETXATTR:
    case IORING_OP_SETXATTR:
    case IORING_OP_FGETXATTR:
    case IORING_OP_GETXATTR:
    case IORING_OP_FILES_UPDATE:
    case OP_FIXED_FD_INSTALL:
    case IORING_OP_PROVIDE_BUFFERS:
    case IORING_OP_REMOVE_BUFFERS:
    case IORING_OP_TIMEOUT:
    case IORING_OP_TIMEOUT_REMOVE:
    case IORING_OP_LINK_TIMEOUT:
    case IORING_OP_ASYNC_CANCEL:
    case IORING_OP_MSG_RING:
    case OP_FUTEX_WAIT:
    case OP_FUTEX_WAKE:
    case OP_FUTEX_WAITV:
        return true;
    }
    return false;
}

struct probe {
    struct io_uring_probe head;
    struct io_uring_probe_op ops[OPS];
};

/* What the kernel says of its operations, without those that rings are refused. */
static void probe_filter(struct io_uring_probe *p, unsigned entries)
{
    for (unsigned i = 0; i < p->ops_len && i < entries; i++)
        if (!about_files(p->ops[i].op))
            p->ops[i].flags &= (uint16_t)~IO_URING_OP_SUPPORTED;
}

/* libuv makes two rings by these very numbers (src/unix/linux.c since 1.45): one for epoll_ctl, and with UV_USE_IO_URING=1 one for
 * files, close among them. It takes every failure of an operation of the first for a reason to abort, and none at setup. */
static bool of_libuv(unsigned entries, const struct io_uring_params *p)
{
    unsigned flags = p->flags & ~SETUP_NO_SQARRAY;
    return (entries == 256 && flags == 0) || (entries == 64 && flags == IORING_SETUP_SQPOLL);
}

/* Registers the restrictions of a disabled ring. fd: the ring's descriptor; high: REGISTER_USE_REGISTERED_RING when it is the index
 * of a registered one. 0 or negative errno. */
static long confine(long fd, unsigned high)
{
    static const uint8_t every_flag = 0xff;
    struct probe probe = {0};
    struct io_uring_restriction list[OPS + REGISTER_OPS + 1] = {0};
    unsigned n = 0;
    long r = zs_sys(SYS_io_uring_register, fd, IORING_REGISTER_PROBE | high, &probe, OPS);
    if (r < 0)
        return r;
    list[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = every_flag};
    for (unsigned op = 0; op <= probe.head.last_op; op++)
        if (about_files(op))
            list[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (uint8_t)op};
    /* The kernel refuses the whole list for a registration that it does not know, and does not tell how many it knows. */
    for (unsigned last = REGISTER_OPS; last > IORING_REGISTER_ENABLE_RINGS; last--) {
        unsigned m = n;
        for (unsigned op = 0; op < last; op++)
            if (op != IORING_REGISTER_RESTRICTIONS)
                list[m++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (uint8_t)op};
        r = zs_sys(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS | high, list, m);
        if (r != -EINVAL)
            return r;
    }
    return -EINVAL;
}

/* io_uring_setup(2) with a ring for files. A kernel that cannot confine rings is one that has none. */
static long uring_setup(unsigned entries, struct io_uring_params *p)
{
    signals_guard();
    if (!user_writable(p, sizeof *p))
        return -EFAULT;
    if (of_libuv(entries, p))
        return -ENOSYS;
    unsigned asked = p->flags;
    p->flags |= IORING_SETUP_R_DISABLED;
    long fd = zs_sys(SYS_io_uring_setup, entries, p);
    p->flags = (p->flags & ~IORING_SETUP_R_DISABLED) | (asked & IORING_SETUP_R_DISABLED);
    if (fd < 0)
        return fd;
    unsigned high = asked & SETUP_REGISTERED_FD_ONLY ? REGISTER_USE_REGISTERED_RING : 0;
    long r = confine(fd, high);
    if (r == 0 && !(asked & IORING_SETUP_R_DISABLED))
        r = zs_sys(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS | high, NULL, 0);
    if (r == 0)
        return fd;
    zs_log(ZS_LOG_WARN, "an io_uring is refused: the kernel does not confine it to files (%ld)", -r);
    if (high == 0)
        zs_sys(SYS_close, fd);
    return -ENOSYS;
}

/* io_uring_register(2). */
static long uring_register(unsigned fd, unsigned op, void *arg, unsigned n)
{
    long r = zs_sys(SYS_io_uring_register, fd, op, arg, n);
    if (r == 0 && zs_proc.conf.enabled && (op & ~REGISTER_USE_REGISTERED_RING) == IORING_REGISTER_PROBE)
        probe_filter(arg, n);
    return r;
}

/* ---- liburing: its own system calls pass us by, the functions that make a ring do not ---- */

/* A function of it. RTLD_NEXT does not find a library that was opened later and for itself. */
static void *liburing(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    void *lib = f == NULL ? dlopen("liburing.so.2", RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (lib != NULL) {
        f = dlsym(lib, name);
        dlclose(lib);
    }
    return f;
}

#define LIBURING_RING_FD 196u /* where struct io_uring of liburing.so.2 has the descriptor */

static bool is_ring(int fd)
{
    char path[32], target[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    long n = zs_sys(SYS_readlink, path, target, sizeof target);
    return n == 21 && memcmp(target, "anon_inode:[io_uring]", 21) == 0;
}

/* Confines and enables a ring that liburing made disabled; one that is not to be confined is ended again. */
static int ring_confined(uint8_t *ring, bool enable)
{
    int fd = -1;
    memcpy(&fd, ring + LIBURING_RING_FD, sizeof fd);
    long r = fd >= 0 && is_ring(fd) ? confine(fd, 0) : -EBADF;
    if (r == 0 && enable)
        r = zs_sys(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r == 0)
        return 0;
    zs_log(ZS_LOG_WARN, "an io_uring is refused: it cannot be confined to files (%ld)", -r);
    void (*end)(void *) = liburing("io_uring_queue_exit");
    if (end != NULL)
        end(ring);
    return -ENOSYS;
}

/* True: the ring is to be enabled once it is confined. */
static bool begin_disabled(struct io_uring_params *p)
{
    bool enable = !(p->flags & IORING_SETUP_R_DISABLED);
    p->flags |= IORING_SETUP_R_DISABLED;
    return enable;
}

/* r: what liburing said, 0, or what of the program's buffer the ring uses. */
static int ring_made(void *ring, struct io_uring_params *p, int r, bool enable)
{
    if (enable)
        p->flags &= ~IORING_SETUP_R_DISABLED;
    int done = r < 0 ? r : ring_confined(ring, enable);
    return done < 0 ? done : r;
}

int zsp_io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    struct io_uring_params *p = params;
    int (*init)(unsigned, void *, void *) = liburing("io_uring_queue_init_params");
    if (init == NULL)
        return -ENOSYS;
    if (!zs_proc.conf.enabled)
        return init(entries, ring, p);
    bool enable = begin_disabled(p);
    return ring_made(ring, p, init(entries, ring, p), enable);
}

int zsp_io_uring_queue_init(unsigned entries, void *ring, unsigned flags)
{
    struct io_uring_params p = {.flags = flags};
    return zsp_io_uring_queue_init_params(entries, ring, &p);
}

int zsp_io_uring_queue_init_mem(unsigned entries, void *ring, void *params, void *buf, size_t size)
{
    struct io_uring_params *p = params;
    int (*init)(unsigned, void *, void *, void *, size_t) = liburing("io_uring_queue_init_mem");
    if (init == NULL)
        return -ENOSYS;
    if (!zs_proc.conf.enabled)
        return init(entries, ring, p, buf, size);
    bool enable = begin_disabled(p);
    return ring_made(ring, p, init(entries, ring, p, buf, size), enable);
}

/* The functions by which programs ask what a ring can do; the first two give memory that io_uring_free_probe frees. */
void *zsp_io_uring_get_probe_ring(void *ring)
{
    void *(*get)(void *) = liburing("io_uring_get_probe_ring");
    struct io_uring_probe *p = get != NULL ? get(ring) : NULL;
    if (p != NULL && zs_proc.conf.enabled)
        probe_filter(p, p->ops_len);
    return p;
}

void *zsp_io_uring_get_probe(void)
{
    void *(*get)(void) = liburing("io_uring_get_probe");
    struct io_uring_probe *p = get != NULL ? get() : NULL;
    if (p != NULL && zs_proc.conf.enabled)
        probe_filter(p, p->ops_len);
    return p;
}

int zsp_io_uring_register_probe(void *ring, void *probe, unsigned n)
{
    int (*get)(void *, void *, unsigned) = liburing("io_uring_register_probe");
    int r = get != NULL ? get(ring, probe, n) : -ENOSYS;
    if (r == 0 && zs_proc.conf.enabled)
        probe_filter(probe, n);
    return r;
}

/* The bare calls, which give a negative errno there. */
int zsp_io_uring_setup(unsigned entries, void *params)
{
    return (int)(zs_proc.conf.enabled ? uring_setup(entries, params) : zs_sys(SYS_io_uring_setup, entries, params));
}

int zsp_io_uring_register(unsigned fd, unsigned op, const void *arg, unsigned n)
{
    return (int)uring_register(fd, op, (void *)arg, n);
}
