/* SPDX-License-Identifier: BSD-3-Clause
 * exec and posix_spawn: the next image is preloaded even when the program rebuilt its environment, and finds the sockets
 * that it inherits. Runs in vfork children, too: only stack memory, nothing is written that the parent sees. */
#include "foreign.h"

#include <alloca.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>

#define INHERIT_MAX 4096 /* bytes of ZSTACK_INHERIT */

struct env_plan {
    char preload[1024];
    char inherit[INHERIT_MAX];
    char token[64];
    char room[64]; /* ZSTACK_ROOM, "": none */
    const char *own[ZS_KEPT]; /* settings that are put back */
    int nown;
};

static bool names(const char *var, const char *name)
{
    size_t n = strlen(name);
    return strncmp(var, name, n) == 0 && var[n] == '=';
}

/* NAME=value */
static const char *entry(char *const envp[], const char *name)
{
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++)
        if (names(envp[i], name))
            return envp[i];
    return NULL;
}

static const char *find(char *const envp[], const char *name)
{
    const char *var = entry(envp, name);
    return var == NULL ? NULL : var + strlen(name) + 1;
}

static const char *const kept_names[ZS_KEPT] = {"ZSTACK_ENGINE", "ZSTACK_RUN",   "ZSTACK_PRELOAD", "ZSTACK_SPIN_US",
                                                "ZSTACK_LOG",    "ZSTACK_TRACE", "ZSTACK_TCP",     "ZSTACK_UDP",
                                                "ZSTACK_OWN_CALLS"};

void exec_keep_settings(void)
{
    for (int i = 0; i < ZS_KEPT; i++) {
        const char *var = entry(environ, kept_names[i]);
        zs_proc.conf.kept[i] = var == NULL ? NULL : strdup(var);
    }
}

/* Accelerated descriptors that survive the exec, and TCP sockets that may become so, as fd:session:generation. They may have two
 * holders from now on.
 * `moved`: what runs between here and the new image may move descriptors (a vfork child, file actions), so that it has to look
 * at all of its own: `*`. So it does when there are more than the list has room for. */
static void list_inherited(struct env_plan *plan, bool moved)
{
    size_t used = (size_t)snprintf(plan->inherit, sizeof plan->inherit, "ZSTACK_INHERIT=");
    struct zsock *shared[64];
    uint32_t n = 0;
    int top = fdtab_top();
    for (int fd = 0; fd < top; fd++) {
        struct zsock *k = fd_sock(fdtab_raw(fd));
        long fl = k != NULL ? zs_sys(SYS_fcntl, fd, F_GETFD) : -1;
        if (fl < 0 || (fl & FD_CLOEXEC))
            continue;
        if (!zs_passthrough())
            dgram_leaves(k, fd);
        if (!sock_accelerated(k) && atomic_load(&k->kind) != ZK_TCP)
            continue;
        if (used + 40 > sizeof plan->inherit)
            moved = true;
        else
            used += (size_t)snprintf(plan->inherit + used, sizeof plan->inherit - used, "%d:%u:%u,", fd, k->index, k->gen);
        /* This process is about to be replaced; if exec fails it goes on with the socket as a shared one. */
        if (!zs_passthrough() && sock_leaves(k, fd) && k->s != NULL)
            shared[n++] = k;
        if (n == sizeof shared / sizeof shared[0]) {
            share_socks(shared, n);
            n = 0;
        }
    }
    if (n > 0)
        share_socks(shared, n);
    if (moved && used + 3 <= sizeof plan->inherit)
        snprintf(plan->inherit + used, sizeof plan->inherit - used, "*,");
}

static bool any_sock(void)
{
    int top = fdtab_top();
    for (int fd = 0; fd < top; fd++)
        if (fd_sock(fdtab_raw(fd)) != NULL)
            return true;
    return false;
}

/* becomes: the program that this process is about to be; NULL: a child that libc makes. */
static void plan_env(struct env_plan *plan, char *const envp[], bool moved, const struct foreign_program *becomes)
{
    const char *pre = find(envp, "LD_PRELOAD");
    const char *lib = zs_proc.conf.preload;
    plan->nown = 0;
    plan->preload[0] = 0;
    if (*lib != 0 && (pre == NULL || strstr(pre, lib) == NULL))
        snprintf(plan->preload, sizeof plan->preload, "LD_PRELOAD=%s%s%s", lib, pre && *pre ? ":" : "", pre ? pre : "");
    for (int i = 0; i < ZS_KEPT; i++) {
        if (find(envp, kept_names[i]) != NULL)
            continue;
        /* A program that also cleared its own environment still has what stood in it at the start. */
        const char *own = entry(environ, kept_names[i]);
        if (own == NULL)
            own = zs_proc.conf.kept[i];
        if (own != NULL)
            plan->own[plan->nown++] = own;
    }
    bool frame = !zs_passthrough(); /* a handler that uses sockets must not come in between */
    if (frame)
        frame_enter();
    if (becomes != NULL)
        foreign_before_exec(becomes, find(envp, "LISTEN_FDS"));
    list_inherited(plan, moved);
    if (frame)
        frame_end();
    if (!space_room(plan->room, sizeof plan->room, becomes != NULL))
        plan->room[0] = 0;
    size_t at = (size_t)snprintf(plan->token, sizeof plan->token, "ZSTACK_TOKEN=");
    for (int i = 0; zs_proc.conf.have_token && i < 16; i++)
        at += (size_t)snprintf(plan->token + at, sizeof plan->token - at, "%02x", zs_proc.conf.token[i]);
}

static size_t env_count(char *const list[])
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

/* Fills out[] (env_count + ZS_KEPT + 5 entries). */
static void build_env(struct env_plan *plan, char *const envp[], char **out)
{
    size_t n = 0;
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++) {
        bool replaced = names(envp[i], "ZSTACK_INHERIT") || names(envp[i], "ZSTACK_TOKEN") || names(envp[i], "ZSTACK_ROOM") ||
                        (plan->preload[0] != 0 && names(envp[i], "LD_PRELOAD"));
        if (!replaced)
            out[n++] = envp[i];
    }
    if (plan->preload[0] != 0)
        out[n++] = plan->preload;
    for (int i = 0; i < plan->nown; i++)
        out[n++] = (char *)plan->own[i];
    if (strlen(plan->inherit) > strlen("ZSTACK_INHERIT="))
        out[n++] = plan->inherit;
    if (plan->room[0] != 0)
        out[n++] = plan->room;
    if (zs_proc.conf.have_token)
        out[n++] = plan->token;
    out[n] = NULL;
}

/* Declares `env_out`, the environment to use, in the caller's frame (a vfork child may only use its stack). */
#define WITH_ENV(envp, moved, becomes)                                                        \
    struct env_plan plan;                                                                     \
    char **env_out = (char **)(envp);                                                         \
    if (zs_proc.conf.enabled) {                                                               \
        plan_env(&plan, (envp), (moved), (becomes));                                          \
        env_out = alloca((env_count(envp) + ZS_KEPT + 5) * sizeof *env_out);                 \
        build_env(&plan, (envp), env_out);                                                    \
    }

/* Becomes the program that `call`, with env_out, starts; returns if it cannot. */
#define EXEC(envp, call, ...)                                                                 \
    const struct foreign_program becomes = {__VA_ARGS__};                                     \
    WITH_ENV(envp, zs_passthrough() && any_sock(), &becomes)                                  \
    uint64_t room = space_before_exec();                                                      \
    int r = (int)call;                                                                        \
    space_exec_failed(room);                                                                  \
    return r;

int zsp_execve(const char *path, char *const argv[], char *const envp[])
{
    EXEC(envp, REAL(execve)(path, argv, env_out), .dir = AT_FDCWD, .file = path)
}

int zsp_execv(const char *path, char *const argv[])
{
    return zsp_execve(path, argv, environ);
}

int zsp_execvpe(const char *file, char *const argv[], char *const envp[])
{
    EXEC(envp, REAL(execvpe)(file, argv, env_out), .dir = AT_FDCWD, .file = file, .searched = true)
}

int zsp_execvp(const char *file, char *const argv[])
{
    return zsp_execvpe(file, argv, environ);
}

int zsp_fexecve(int fd, char *const argv[], char *const envp[])
{
    EXEC(envp, REAL(fexecve)(fd, argv, env_out), .dir = fd)
}

int zsp_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    EXEC(envp, REAL(execveat)(dir, path, argv, env_out, flags), .dir = dir, .file = path)
}

/* File actions may give the new program any of our sockets under any number. */
static bool file_actions_move(const posix_spawn_file_actions_t *fa)
{
    bool moved = fa != NULL && zs_proc.conf.enabled && any_sock();
    if (moved && !zs_passthrough()) {
        frame_enter();
        share_all();
        frame_end();
    }
    return moved;
}

/* The C library's child runs nothing of ours between file actions and exec: a program that the library can enter, beside the library, goes on
 * from there (zstack-exec.c). False: it is not there. */
static bool stepping_stone(char path[PATH_MAX])
{
    const char *end = strrchr(zs_proc.conf.preload, '/');
    int n = end == NULL ? -1 : snprintf(path, PATH_MAX, "%.*s/zstack-exec", (int)(end - zs_proc.conf.preload), zs_proc.conf.preload);
    return n > 0 && n < PATH_MAX && zs_sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0;
}

static char **through_stone(char **out, char *stone, char *path, char *const argv[])
{
    size_t n = 0;
    out[n++] = stone;
    out[n++] = "--program";
    out[n++] = path;
    out[n++] = "--";
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++)
        out[n++] = argv[i];
    out[n] = NULL;
    return out;
}

#define SPAWN(real, file_, searched_)                                                                            \
    bool moved = file_actions_move(fa);                                                                          \
    const struct foreign_program p = {.dir = AT_FDCWD, .file = (file_), .searched = (searched_)};                \
    char path_out[PATH_MAX], stone[PATH_MAX];                                                                    \
    WITH_ENV(envp, moved, NULL)                                                                                  \
    if (!zs_proc.conf.enabled || !foreign_spawned(&p, moved, path_out) || !stepping_stone(stone))                 \
        return REAL(real)(pid, (file_), fa, attr, argv, env_out);                                                \
    char **args = alloca((env_count(argv) + 5) * sizeof *args);                                                  \
    return REAL(posix_spawn)(pid, stone, fa, attr, through_stone(args, stone, path_out, argv), env_out);

int zsp_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr,
                    char *const argv[], char *const envp[])
{
    SPAWN(posix_spawn, path, false)
}

int zsp_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr,
                     char *const argv[], char *const envp[])
{
    SPAWN(posix_spawnp, file, true)
}

/* The C library's own starts the shell behind our back. Only for programs that have sockets to inherit. */
int zsp_system(const char *command)
{
    if (command == NULL || !zs_proc.conf.enabled || zs_passthrough() || !any_sock())
        return REAL(system)(command);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, was_int, was_quit;
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    posix_spawnattr_t attr;
    sigset_t child, mask, reset;
    pid_t pid;
    int status = -1;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    zsp_sigaction(SIGINT, &ignore, &was_int);
    zsp_sigaction(SIGQUIT, &ignore, &was_quit);
    sigprocmask(SIG_BLOCK, &child, &mask);
    sigemptyset(&reset);
    if (was_int.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGINT);
    if (was_quit.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGQUIT);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &mask);
    posix_spawnattr_setsigdefault(&attr, &reset);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int r = zsp_posix_spawn(&pid, "/bin/sh", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    if (r != 0)
        status = 127 << 8; /* as if the shell had ended with it (system(3)) */
    while (r == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    zsp_sigaction(SIGINT, &was_int, NULL);
    zsp_sigaction(SIGQUIT, &was_quit, NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return status;
}

/* ---- The list forms ---- */

#define COLLECT_ARGS(first)                                  \
    va_list ap, count;                                       \
    size_t n = 1;                                            \
    va_start(ap, first);                                     \
    va_copy(count, ap);                                      \
    while (va_arg(count, char *) != NULL)                    \
        n++;                                                 \
    va_end(count);                                           \
    char **argv = alloca((n + 1) * sizeof *argv);            \
    argv[0] = (char *)first;                                 \
    for (size_t i = 1; i <= n; i++)                          \
        argv[i] = va_arg(ap, char *);

#define EXPORT __attribute__((visibility("default")))

EXPORT int execl(const char *path, const char *arg, ...)
{
    COLLECT_ARGS(arg)
    va_end(ap);
    return zsp_execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
    COLLECT_ARGS(arg)
    va_end(ap);
    return zsp_execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
    COLLECT_ARGS(arg)
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return zsp_execve(path, argv, envp);
}
