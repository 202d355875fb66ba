/* SPDX-License-Identifier: BSD-3-Clause
 * Programs that the library cannot enter: static ones, those of another word size or machine, and those that run with rights of another
 * user, for which the loader ignores LD_PRELOAD (ld.so(8), secure-execution mode). What they inherit has to be the kernel's: a listener stops
 * being reached in any other way, and a connection gets a relay (relay.c). Runs in vfork children, too, where nothing that the parent sees is
 * written. */
#include "foreign.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- The program ---- */

#define HEAD 4096u
#define SCRIPTS 4 /* interpreters that are scripts themselves, as deep as the kernel goes (binfmt_script) */

/* The loader decides by the two pairs of ids that the program will have. */
static bool other_rights(const struct stat *st)
{
    long uid = zs_sys(SYS_geteuid), gid = zs_sys(SYS_getegid);
    if (st->st_mode & S_ISUID)
        uid = st->st_uid;
    if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        gid = st->st_gid;
    return uid != zs_sys(SYS_getuid) || gid != zs_sys(SYS_getgid);
}

/* Without a loader, or with one that is not ours. */
static bool foreign_elf(const unsigned char *head, size_t n)
{
    const Elf64_Ehdr *e = (const void *)head;
    if (n < sizeof *e || e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_machine != EM_X86_64)
        return n >= sizeof *e;
    if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phoff > n || (n - e->e_phoff) / sizeof(Elf64_Phdr) < e->e_phnum)
        return false; /* not to be seen from here: as most programs are */
    for (unsigned i = 0; i < e->e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, head + e->e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_INTERP)
            return false;
    }
    return true;
}

/* Cuts the interpreter out of "#! PATH ARGUMENT". */
static const char *interpreter(char *head, size_t n)
{
    head[n] = 0;
    char *path = head + 2 + strspn(head + 2, " \t");
    path[strcspn(path, " \t\n")] = 0;
    return *path != 0 ? path : NULL;
}

/* Also what may be run but not read: its rights can be seen. */
static long open_file(int dir, const char *path)
{
    long fd = zs_sys(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    return fd != -EACCES ? fd : zs_sys(SYS_openat, dir, path, O_PATH | O_CLOEXEC, 0);
}

static bool is_foreign(long fd, int depth)
{
    char head[HEAD + 1];
    struct stat st;
    bool foreign = false;
    if (fd < 0)
        return false;
    bool file = zs_sys(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
    long n = file ? zs_sys(SYS_pread64, fd, head, HEAD, 0) : 0;
    bool seen = n > 2;
    zs_sys(SYS_close, fd);
    if (n < 0) {
        foreign = other_rights(&st);
    } else if (seen && memcmp(head, "#!", 2) == 0) { /* rights are the interpreter's */
        const char *path = interpreter(head, (size_t)n);
        foreign = path != NULL && depth < SCRIPTS && is_foreign(open_file(AT_FDCWD, path), depth + 1);
    } else if (seen && memcmp(head, ELFMAG, SELFMAG) == 0) {
        foreign = other_rights(&st) || foreign_elf((const unsigned char *)head, (size_t)n);
    }
    return foreign;
}

/* As execvp(3) searches. full: PATH_MAX bytes, where it is. */
static long open_searched(const char *file, char *full)
{
    const char *path = getenv("PATH");
    if (path == NULL)
        path = "/bin:/usr/bin";
    for (const char *dir = path, *end; ; dir = end + 1) {
        end = dir + strcspn(dir, ":");
        int n = snprintf(full, PATH_MAX, "%.*s%s%s", (int)(end - dir), dir, end > dir ? "/" : "", file);
        if (n > 0 && n < PATH_MAX && zs_sys(SYS_faccessat, AT_FDCWD, full, X_OK) == 0)
            return open_file(AT_FDCWD, full);
        if (*end == 0)
            return -ENOENT;
    }
}

static long open_program(const struct foreign_program *p, char *full)
{
    if (p->file == NULL || *p->file == 0)
        return p->dir >= 0 ? zs_sys(SYS_fcntl, p->dir, F_DUPFD_CLOEXEC, 0) : -ENOENT;
    if (p->searched && strchr(p->file, '/') == NULL)
        return open_searched(p->file, full);
    return open_file(p->dir, p->file);
}

/* ---- What it inherits ---- */

/* A vfork child has moved descriptors, and the table is its parent's. */
static struct zsock *by_cookie(int fd, int top)
{
    uint64_t cookie = sock_cookie(fd);
    for (int i = 0; i < top && cookie != 0; i++) {
        struct zsock *k = fd_sock(fdtab_raw(i));
        if (k != NULL && (k->cookie != 0 ? k->cookie : sock_cookie(i)) == cookie)
            return k;
    }
    return NULL;
}

/* What the program will have as fd, if it is accelerated. */
static struct zsock *inherited(int fd, int top)
{
    long flags = fd_tag(fdtab_raw(fd)) != FDT_SOCK && !zs_passthrough() ? -1 : zs_sys(SYS_fcntl, fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC))
        return NULL;
    struct zsock *k = zs_passthrough() ? by_cookie(fd, top) : fd_sock(fdtab_raw(fd));
    return k != NULL && sock_accelerated(k) ? k : NULL;
}

/* Another process of the same program has the socket, too, and will go on with it when this one has ended: a shell that was given it. */
static bool in_use_by_parent(const struct zsock *k)
{
    return k->came != 0 && (zs_passthrough() || k->came != atomic_load(&zs_proc.generation) + 1);
}

/* The descriptor is meant for the program, rather than forgotten to be closed: it is the only one that there is, one of the first three
 * (inetd), one that the environment names, or a listener that nobody has served here. */
static bool meant(const struct zsock *k, int fd, const char *listen_fds)
{
    bool given = fd <= STDERR_FILENO || (listen_fds != NULL && fd <= STDERR_FILENO + atoi(listen_fds));
    if (!atomic_load(&k->left))
        return true;
    return atomic_load(&k->kind) == ZK_CONN ? given && !in_use_by_parent(k) : given || (!k->served && k->came == 0);
}

static void becomes_kernel(struct zsock *k, int fd)
{
    client_self(); /* the engine is asked */
    if (atomic_load(&k->kind) == ZK_LISTEN) {
        relay_queued(k, fd);
        sock_stop_listening(k, fd, ZS_REASON_FOREIGN);
    } else {
        dgram_stop(k, fd, ZS_REASON_FOREIGN);
    }
}

/* A vfork child has its parent's memory, and asks the engine by a child of its own. */
static void becomes_kernel_in_child(struct zsock *k, int fd)
{
    long pid = zs_sys(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (pid == 0) {
        relay_child_begins(k, fd);
        becomes_kernel(k, fd);
        zs_sys(SYS_exit_group, 0);
    }
    while (pid > 0 && zs_sys(SYS_wait4, pid, NULL, __WALL, NULL) == -EINTR)
        ;
}

/* Descriptors of one socket that came by exec have an object each. */
static bool is_of(int fd, int top, const struct zs_session *s)
{
    const struct zsock *k = inherited(fd, top);
    return k != NULL && k->s == s;
}

/* All descriptors of the connection become the kernel's end of a relay. */
static void becomes_relayed(struct zsock *k, int fd, int top)
{
    int end = relay_start(k, fd);
    if (end < 0) {
        zs_log(ZS_LOG_WARN, "descriptor %d is lost to a program that the library cannot enter: %s", fd, strerror(-end));
        return;
    }
    const struct zs_session *s = k->s;
    for (int to = fd; to < top; to++) {
        if (!is_of(to, top, s))
            continue;
        struct zsock *of = zs_passthrough() ? NULL : fd_sock(fdtab_take(to));
        if (of != NULL)
            sock_detach_fd(of, to);
        zs_sys(SYS_dup3, end, to, 0);
        if (of != NULL)
            zsock_drop(of);
    }
    zs_sys(SYS_close, end);
}

/* Cheaper than to look at the program. */
static bool may_inherit(int top)
{
    for (int fd = 0; fd < top; fd++) {
        struct zsock *k = fd_sock(fdtab_raw(fd));
        if (k != NULL && sock_accelerated(k) && (zs_passthrough() || inherited(fd, top) != NULL))
            return true;
    }
    return false;
}

bool foreign_spawned(const struct foreign_program *p, bool moved, char *path)
{
    if (zs_passthrough() || (!moved && !may_inherit(fdtab_top())) || !user_readable(p->file, 1))
        return false;
    snprintf(path, PATH_MAX, "%s", p->file);
    return is_foreign(open_program(p, path), 0);
}

void foreign_before_exec(const struct foreign_program *p, const char *listen_fds)
{
    char full[PATH_MAX];
    int top = fdtab_top();
    if (!may_inherit(top) || (p->file != NULL && !user_readable(p->file, 1)) || !is_foreign(open_program(p, full), 0))
        return;
    for (int fd = 0; fd < top; fd++) {
        struct zsock *k = inherited(fd, top);
        if (k == NULL || !meant(k, fd, listen_fds))
            continue;
        if (atomic_load(&k->kind) == ZK_CONN)
            becomes_relayed(k, fd, top);
        else if (zs_passthrough())
            becomes_kernel_in_child(k, fd);
        else
            becomes_kernel(k, fd);
    }
}
