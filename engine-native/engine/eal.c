/* SPDX-License-Identifier: BSD-3-Clause
 * DPDK's environment abstraction layer: initialised with the launcher's arguments, or with cheap ones of our own.
 *
 * Our own choice: no huge pages (none needed before there is a port), 64 MiB that are touched only when used, no PCI
 * scan, no shared configuration file (`--no-shconf`; 22.11 refuses `--in-memory` together with `--no-huge`), one lcore,
 * a runtime directory of this engine's own for telemetry. EAL's threads block; none of them polls. */
#define _GNU_SOURCE
#include "wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#define OWN_ARGS_MAX 16
#define PREFIX "zstack-%u-"

/* EAL and getopt print to standard output and error: what they say is kept for the error line, the option summary that
 * EAL adds is not shown. */
struct capture {
    int fd, out, err;
};

static bool capture_begin(struct capture *c)
{
    fflush(stdout);
    c->out = c->err = -1;
    c->fd = memfd_create("zstack-eal-output", MFD_CLOEXEC);
    if (c->fd < 0)
        return false;
    c->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    c->err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(c->fd, STDOUT_FILENO);
    dup2(c->fd, STDERR_FILENO);
    return true;
}

static void restore(int saved, int fd)
{
    if (saved < 0) {
        close(fd);
        return;
    }
    dup2(saved, fd);
    close(saved);
}

/* What was printed, at most size - 1 bytes, up to the summary of options. */
static void capture_end(struct capture *c, char *text, size_t size)
{
    fflush(stdout);
    restore(c->out, STDOUT_FILENO);
    restore(c->err, STDERR_FILENO);
    ssize_t n = pread(c->fd, text, size - 1, 0);
    text[n < 0 ? 0 : n] = 0;
    close(c->fd);
}

/* The lines that tell something, to the log; the first that names an error becomes the failure's text. */
static void explain(struct engine *e, char *output, bool failed, char *reason, size_t size)
{
    bool usage = false;
    char *save = NULL;
    for (char *line = strtok_r(output, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        bool ours = strncmp(line, "EAL: ", 5) == 0 || strncmp(line, "zstackd: ", 9) == 0 ||
                    strncmp(line, "TELEMETRY: ", 11) == 0;
        usage = usage || strncmp(line, "Usage:", 6) == 0;
        if (usage && !ours)
            continue;
        LOG_DEBUG(e, "%s", line);
        char *said = strchr(line, ' ') != NULL ? strchr(line, ' ') + 1 : line;
        bool chatter = strstr(line, "Detected") != NULL || strstr(line, "Selected") != NULL;
        if (failed && ours && !chatter && reason[0] == 0)
            snprintf(reason, size, "%s", said);
    }
}

static int first_cpu(const cpu_set_t *cpus)
{
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, cpus))
            return i;
    return 0;
}

static bool given(struct engine *e, const char *option)
{
    for (int i = 0; i < e->opt.eal_argc; i++)
        if (strncmp(e->opt.eal_argv[i], option, strlen(option)) == 0)
            return true;
    return false;
}

/* The arguments for EAL, argv[0] first. They stay until EAL is gone. */
static char **arguments(struct engine *e, const cpu_set_t *cpus, int *argc)
{
    char **argv = calloc((size_t)e->opt.eal_argc + OWN_ARGS_MAX + 1, sizeof *argv);
    char text[128];
    int n = 0;
    if (argv == NULL)
        return NULL;
    argv[n++] = strdup("zstackd");
    for (int i = 0; i < e->opt.eal_argc; i++)
        argv[n++] = strdup(e->opt.eal_argv[i]);
    if (e->opt.eal_argc == 0) {
        static const char *const cheap[] = {"--no-huge", "-m", "64", "--no-shconf", "--no-pci", "-l"};
        for (size_t i = 0; i < sizeof cheap / sizeof cheap[0]; i++)
            argv[n++] = strdup(cheap[i]);
        snprintf(text, sizeof text, "%d", first_cpu(cpus));
        argv[n++] = strdup(text);
    }
    if (!given(e, "--file-prefix")) {
        /* Names are unique in a network namespace, runtime directories in a file system. */
        snprintf(text, sizeof text, "--file-prefix=" PREFIX "%s-%llu", e->uid, e->name,
                 (unsigned long long)e->netns_cookie);
        argv[n++] = strdup(text);
    }
    *argc = n;
    return argv;
}

/* EAL reorders the vector it is given (getopt), so it gets its own. */
static int initialise(struct engine *e, char *reason, size_t size)
{
    char *output = malloc(65536);
    char **argv = calloc((size_t)e->dpdk.argc + 2, sizeof *argv);
    struct capture capture;
    bool captured = output != NULL && capture_begin(&capture);
    for (int i = 0; argv != NULL && i <= e->dpdk.argc; i++)
        argv[i] = e->dpdk.argv[i - 1];
    int result = argv == NULL ? -1 : rte_eal_init(e->dpdk.argc + 1, argv);
    int err = rte_errno;
    if (captured) {
        capture_end(&capture, output, 65536);
        explain(e, output, result < 0, reason, size);
    }
    if (result < 0 && reason[0] == 0)
        snprintf(reason, size, "%s", rte_strerror(err));
    free(output);
    free(argv);
    return result;
}

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            unlinkat(dirfd(dir), d->d_name, 0);
    closedir(dir);
    rmdir(path);
}

/* True when nobody listens on the telemetry socket of that directory: its engine was killed. */
static bool abandoned(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int n = snprintf(sun.sun_path, sizeof sun.sun_path, "%s/dpdk_telemetry.v2", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused = n < (int)sizeof sun.sun_path && connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* Our own directory, those of killed engines of this user beside it, and the parent when no application is left in it. */
static void remove_runtime_dirs(struct engine *e)
{
    char parent[sizeof e->dpdk.runtime_dir], prefix[32], path[sizeof parent + 264];
    snprintf(parent, sizeof parent, "%s", e->dpdk.runtime_dir);
    snprintf(prefix, sizeof prefix, PREFIX, e->uid);
    remove_dir(e->dpdk.runtime_dir);
    char *slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent)
        return;
    *slash = 0;
    DIR *dir = opendir(parent);
    for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", parent, d->d_name);
        if (strncmp(d->d_name, prefix, strlen(prefix)) == 0 && abandoned(path))
            remove_dir(path);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(parent);
}

bool engine_start_dpdk(struct engine *e, struct engine_failure *f)
{
    if (e->opt.no_dpdk)
        return true;
    cpu_set_t cpus;
    bool saved = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
    int argc = 0;
    char reason[sizeof f->text - 64] = "";
    char **argv = arguments(e, &cpus, &argc);
    if (argv != NULL) {
        e->dpdk.argv = argv + 1;
        e->dpdk.argc = argc - 1;
    }
    snprintf(e->dpdk.version, sizeof e->dpdk.version, "%s", rte_version());
    int result = argv == NULL ? -1 : initialise(e, reason, sizeof reason);
    snprintf(e->dpdk.runtime_dir, sizeof e->dpdk.runtime_dir, "%s", rte_eal_get_runtime_dir());
    /* EAL pins the main thread to its main lcore. Unless that is asked for (--cores) it only gets in the way of the programs
     * on that CPU. */
    if (saved)
        sched_setaffinity(0, sizeof cpus, &cpus);
    if (result < 0) {
        remove_runtime_dirs(e);
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2110",
                    "check the arguments after -- and `zstack-run doctor`, or start with --no-dpdk",
                    "DPDK cannot start: %s", reason);
        return false;
    }
    e->dpdk.enabled = true;
    e->dpdk.hugepages = rte_eal_has_hugepages();
    LOG_INFO(e, "%s initialised, huge pages: %s", e->dpdk.version, e->dpdk.hugepages ? "yes" : "no");
    return wire_open(e, f);
}

void eal_stop(struct engine *e)
{
    if (e->dpdk.enabled) {
        rte_eal_cleanup();
        remove_runtime_dirs(e);
    }
    e->dpdk.enabled = false;
    char **argv = e->dpdk.argv != NULL ? e->dpdk.argv - 1 : NULL;
    for (int i = 0; argv != NULL && i <= e->dpdk.argc; i++)
        free(argv[i]);
    free(argv);
    e->dpdk.argv = NULL;
    e->dpdk.argc = 0;
}
