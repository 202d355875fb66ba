/* SPDX-License-Identifier: BSD-3-Clause
 * What a program says about all of its memory: RLIMIT_AS and mlockall. The arena takes many GiB of addresses and, of these, as
 * much memory as was ever used; neither is the program's, so that its limits leave room for it, and its locks do not fill it. */
#include "preload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* ---- RLIMIT_AS ---- */

/* The kernel's soft limit is the program's and what the library has mapped; the hard one has room for as much as that may become:
 * an arena, the segment of received packets, buffers of peers. */
#define HARD_ROOM (sizeof(struct zs_arena) + (UINT64_C(4) << 30))
#define OWN_ROOM (UINT64_C(32) << 20) /* the library itself and its tables */

static rlim_t more(rlim_t limit, uint64_t room)
{
    return limit < RLIM_INFINITY - room ? limit + room : RLIM_INFINITY;
}

static rlim_t less(rlim_t limit, uint64_t room)
{
    return limit == RLIM_INFINITY || limit < room ? limit : limit - room;
}

static bool limit_now(struct rlimit *lim)
{
    return zs_sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, lim) == 0;
}

/* Moves the kernel's soft limit, as far as the hard one lets it. */
static void room_add(int64_t bytes)
{
    struct zs_space *s = &zs_proc.space;
    struct rlimit lim;
    if (bytes == 0 || !limit_now(&lim) || lim.rlim_cur == RLIM_INFINITY)
        return;
    uint64_t left = lim.rlim_max == RLIM_INFINITY ? UINT64_MAX : lim.rlim_max - lim.rlim_cur;
    if (bytes > 0 && (uint64_t)bytes > left)
        bytes = (int64_t)left;
    if (bytes < 0 && (uint64_t)-bytes > s->soft)
        bytes = -(int64_t)s->soft;
    lim.rlim_cur += (uint64_t)bytes;
    if (zs_sys(SYS_prlimit64, 0, RLIMIT_AS, &lim, NULL) == 0)
        s->soft += (uint64_t)bytes;
}

void space_mapped(int64_t bytes)
{
    atomic_fetch_add(&zs_proc.space.mapped, bytes);
    room_add(bytes);
}

/* `room` is what the program before this one says that it left in the limits: see space_room. A limit that others set may leave
 * none: the arena does not fit then, and sockets are the kernel's. */
void space_init(const char *room)
{
    struct zs_space *s = &zs_proc.space;
    char *end = NULL;
    uint64_t soft = room != NULL ? strtoull(room, &end, 10) : 0;
    s->hard = end != NULL && *end == ',' ? strtoull(end + 1, NULL, 10) : 0;
    s->soft = soft;
    room_add(-(int64_t)soft);
    s->soft = 0;
    room_add(OWN_ROOM);
}

bool space_room(char *out, size_t size, bool exec)
{
    const struct zs_space *s = &zs_proc.space;
    uint64_t soft = exec && !zs_passthrough() ? 0 : s->soft; /* space_before_exec takes it back */
    snprintf(out, size, "ZSTACK_ROOM=%llu,%llu", (unsigned long long)soft, (unsigned long long)s->hard);
    return soft != 0 || s->hard != 0;
}

/* What to ask the kernel for, and the room in that. */
static void limit_with_room(const struct rlimit *asked, struct rlimit *to, struct zs_space *room)
{
    struct rlimit now = {RLIM_INFINITY, RLIM_INFINITY};
    limit_now(&now);
    *to = *asked;
    if (asked->rlim_cur <= asked->rlim_max) { /* else the kernel has the error for it */
        int64_t mapped = atomic_load(&zs_proc.space.mapped);
        *to = (struct rlimit){more(asked->rlim_cur, OWN_ROOM + (uint64_t)mapped), more(asked->rlim_max, HARD_ROOM)};
        to->rlim_cur = to->rlim_cur < to->rlim_max ? to->rlim_cur : to->rlim_max;
        if (to->rlim_max > now.rlim_max && asked->rlim_max <= less(now.rlim_max, zs_proc.space.hard)) {
            to->rlim_max = now.rlim_max; /* set by others, and what the program asks for is less */
            to->rlim_cur = to->rlim_cur < to->rlim_max ? to->rlim_cur : to->rlim_max;
        }
    }
    room->soft = to->rlim_cur == RLIM_INFINITY ? 0 : to->rlim_cur - asked->rlim_cur;
    room->hard = to->rlim_max == RLIM_INFINITY ? 0 : to->rlim_max - asked->rlim_max;
}

int space_prlimit(const struct rlimit *asked, struct rlimit *old)
{
    const uint64_t soft = zs_proc.space.soft, hard = zs_proc.space.hard;
    struct zs_space room = {0};
    struct rlimit to;
    bool there = (asked == NULL || user_readable(asked, sizeof *asked)) && (old == NULL || user_writable(old, sizeof *old));
    if (!there || !zs_proc.conf.enabled || zs_passthrough())
        return REAL(prlimit)(0, RLIMIT_AS, asked, old);
    if (asked != NULL)
        limit_with_room(asked, &to, &room);
    if (REAL(prlimit)(0, RLIMIT_AS, asked != NULL ? &to : NULL, old) < 0)
        return -1;
    if (old != NULL) {
        old->rlim_cur = less(old->rlim_cur, soft);
        old->rlim_max = less(old->rlim_max, hard);
    }
    if (asked != NULL) {
        zs_proc.space.soft = room.soft;
        zs_proc.space.hard = room.hard;
    }
    return 0;
}

uint64_t space_before_exec(void)
{
    uint64_t room = zs_proc.space.soft;
    if (!zs_proc.conf.enabled || zs_passthrough())
        return 0;
    room_add(-(int64_t)room);
    return room;
}

void space_exec_failed(uint64_t room)
{
    int error = errno;
    room_add((int64_t)room);
    errno = error;
}

/* ---- mlockall ---- */

/* One line of /proc/self/maps (proc_pid_maps(5)). */
struct vma {
    unsigned long start, end;
    bool accessible, ours;
};

static bool parse(const char *line, struct vma *v)
{
    char *end;
    v->start = strtoul(line, &end, 16);
    if (*end != '-')
        return false;
    v->end = strtoul(end + 1, &end, 16);
    if (*end != ' ')
        return false;
    v->accessible = strncmp(end + 1, "---", 3) != 0;
    v->ours = strstr(end, " /memfd:zstack-") != NULL;
    return strstr(end, " [v") == NULL; /* vsyscall, vvar: not memory */
}

/* 0, or what the limit of locked memory says. Pages that are not there, or that another thread unmapped meanwhile, are none of
 * mlockall's errors. */
static int lock_vma(const struct vma *v, bool on_fault, bool limited)
{
    size_t size = v->end - v->start;
    long r = zs_sys(SYS_mlock2, v->start, size, MLOCK_ONFAULT);
    if (r < 0 && limited)
        return (int)r;
    if (v->accessible && !on_fault)
        zs_sys(SYS_mlock, v->start, size);
    return 0;
}

/* MCL_CURRENT for all but the library's segments. */
static int lock_current(bool on_fault)
{
    char text[8192];
    size_t have = 0;
    int r = 0;
    struct rlimit lim = {RLIM_INFINITY, RLIM_INFINITY};
    zs_sys(SYS_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &lim);
    bool limited = lim.rlim_cur != RLIM_INFINITY && geteuid() != 0;
    long fd = zs_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    for (long n; r == 0 && (n = zs_sys(SYS_read, fd, text + have, sizeof text - 1 - have)) > 0;) {
        have += (size_t)n;
        text[have] = 0;
        char *line = text, *end;
        for (; r == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            struct vma v;
            *end = 0;
            if (parse(line, &v) && !v.ours)
                r = lock_vma(&v, on_fault, limited);
        }
        have = strlen(line); /* a part of the next line */
        memmove(text, line, have);
    }
    zs_sys(SYS_close, fd);
    return r;
}

static void locks_memory(bool future)
{
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    zs_proc.locks_memory = future;
    if (d != NULL)
        d->view.locked = future;
}

/* mlockall but for the segments, with flags that the kernel would take. */
static int lock_all(int flags)
{
    if ((flags & MCL_FUTURE) && REAL(mlockall)(flags & ~MCL_CURRENT) < 0)
        return -1;
    int r = lock_current((flags & MCL_ONFAULT) != 0);
    if (r < 0)
        errno = -r;
    return r < 0 ? -1 : 0;
}

int zsp_mlockall(int flags)
{
    bool ours = (flags & MCL_CURRENT) && !(flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) && atomic_load(&zs_proc.domain) != NULL;
    int r = ours ? lock_all(flags) : REAL(mlockall)(flags);
    if (r == 0)
        locks_memory((flags & MCL_FUTURE) != 0);
    return r;
}

int zsp_munlockall(void)
{
    int r = REAL(munlockall)();
    if (r == 0)
        locks_memory(false);
    return r;
}
