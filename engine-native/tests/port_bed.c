/* SPDX-License-Identifier: BSD-3-Clause
 * See port_bed.h. */
#define _GNU_SOURCE
#include "port_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "eal_runtime.h"

#define SECONDS 5

void bed_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", file, line, what, strerror(errno));
    _exit(1);
}

bool bed_run(void (*body)(void *arg), void *arg)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* cmocka's handlers would go on with the next test, in the child. */
        for (int sig = 1; sig < SIGRTMIN; sig++)
            signal(sig, SIG_DFL);
        body(arg);
        fflush(NULL);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, text, strlen(text));
    (void)n;
    close(fd);
}

void bed_own_network(void)
{
    CHECK(unshare(CLONE_NEWNET) == 0);
    write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    bed_command("ip link set lo up");
}

void bed_command(const char *format, ...)
{
    char command[256];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    int status = system(command);
    if (status != 0)
        bed_failed(__FILE__, __LINE__, command);
}

void bed_veth_pair(void)
{
    bed_command("ip link add zsa type veth peer name zsb");
    bed_command("ip link set zsa up");
    bed_command("ip link set zsb up");
}

pid_t bed_other_network(void)
{
    int ready[2];
    char c;
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bed_own_network();
        CHECK(write(ready[1], "", 1) == 1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    CHECK(read(ready[0], &c, 1) == 1);
    close(ready[0]);
    return pid;
}

void bed_enter(pid_t holder)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", holder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && setns(fd, CLONE_NEWNET) == 0);
    close(fd);
}

void bed_eal(const char *const *vdevs, unsigned n)
{
    static char prefix[64];
    char *argv[32] = {"port_test", "--no-huge", "-m", "128", "--no-shconf", "--no-pci", "--no-telemetry",
                      "--log-level=lib.*:error", "-l", "0", prefix};
    int argc = 11;
    snprintf(prefix, sizeof prefix, "--file-prefix=zsport%d", (int)getpid());
    for (unsigned i = 0; i < n; i++)
        argv[argc++] = strdup(vdevs[i]);
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    CHECK(rte_eal_init(argc, argv) >= 0);
    sched_setaffinity(0, sizeof cpus, &cpus);
    eal_runtime_remove();
}

struct rte_mempool *bed_pool(void)
{
    struct rxpool p; /* its memory goes with the process */
    CHECK(rxpool_create(&p, "rx", BED_BUFFERS, RTE_MBUF_DEFAULT_BUF_SIZE) == 0);
    return p.pool;
}

struct port *bed_open(const char *text, struct rte_mempool *pool)
{
    return bed_open_for(text, NULL, pool);
}

struct port *bed_open_for(const char *text, const struct port_threads *threads, struct rte_mempool *pool)
{
    struct port_spec spec;
    struct port_failure f = {"", ""};
    char why[256];
    if (port_spec_parse(text, &spec, why, sizeof why) != 0)
        bed_failed(text, 0, why);
    struct port *p = port_open(&spec, threads, pool, &f);
    if (p == NULL)
        bed_failed(f.hint, 0, f.text);
    return p;
}

void bed_refused(const char *text, struct rte_mempool *pool, const char *expect)
{
    struct port_spec spec;
    struct port_failure f;
    char why[256];
    CHECK(port_spec_parse(text, &spec, why, sizeof why) == 0);
    CHECK(port_open(&spec, NULL, pool, &f) == NULL);
    if (strstr(f.text, expect) == NULL || f.hint[0] == 0 || strchr(f.text, '\n') != NULL)
        bed_failed(expect, 0, f.text);
}

/* ---- The kernel's end ---- */

int bed_raw(const char *iface)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(iface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;
    struct timeval timeout = {.tv_sec = SECONDS};
    CHECK(fd >= 0 && at.sll_ifindex != 0);
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

void bed_raw_send(int fd, const void *frame, size_t len)
{
    CHECK(send(fd, frame, len, 0) == (ssize_t)len);
}

static bool is_test_frame(const uint8_t *frame, size_t len)
{
    return len >= 14 && frame[12] == BED_TYPE >> 8 && frame[13] == (BED_TYPE & 255);
}

size_t bed_raw_recv(int fd, void *frame, size_t size)
{
    for (;;) {
        ssize_t n = recv(fd, frame, size, MSG_TRUNC);
        CHECK(n > 0 || errno == EINTR);
        if (n > 0 && is_test_frame(frame, (size_t)n))
            return (size_t)n;
    }
}

/* ---- The port's end ---- */

void bed_fill(uint8_t *frame, size_t len, uint8_t seed)
{
    static const uint8_t head[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, BED_TYPE >> 8, BED_TYPE & 255};
    memcpy(frame, head, sizeof head);
    for (size_t i = sizeof head; i < len; i++)
        frame[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

bool bed_is(const struct rte_mbuf *m, size_t len, uint8_t seed)
{
    uint8_t expect[9100], copy[9100];
    if (m == NULL || rte_pktmbuf_pkt_len(m) != len || rte_mbuf_refcnt_read(m) != 1)
        return false;
    bed_fill(expect, len, seed);
    return memcmp(rte_pktmbuf_read(m, 0, (uint32_t)len, copy), expect, len) == 0;
}

struct rte_mbuf *bed_next(struct port *p)
{
    struct rte_mbuf *m;
    time_t end = time(NULL) + SECONDS;
    while (time(NULL) <= end) {
        while (port_rx(p, 0, &m, 1) == 1) {
            if (is_test_frame(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_data_len(m)))
                return m;
            rte_pktmbuf_free(m);
        }
        if (!port_sleep(p, 0))
            continue;
        uint64_t most = port_sleep_max_ns(p, 0);
        struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
        poll(&fd, 1, most == UINT64_MAX ? SECONDS * 1000 : (int)((most + 999999) / 1000000));
        port_wake(p, 0);
    }
    return NULL;
}

static void free_external(void *buffer, void *arg)
{
    (void)arg;
    free(buffer);
}

void bed_send(struct port *p, struct rte_mempool *pool, const uint8_t *frame, size_t len, unsigned segments, bool external)
{
    struct net_port_conf conf;
    struct rte_mbuf *head = NULL;
    port_conf(p, 0, &conf);
    for (unsigned i = 0; i < segments; i++) {
        size_t from = len * i / segments, n = len * (i + 1) / segments - from;
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
        CHECK(m != NULL);
        if (external && i > 0 && i == segments - 1) {
            uint16_t size = 4096;
            uint8_t *buffer = malloc(size);
            CHECK(buffer != NULL);
            memcpy(buffer, frame + from, n);
            struct rte_mbuf_ext_shared_info *info =
                rte_pktmbuf_ext_shinfo_init_helper(buffer, &size, free_external, NULL);
            rte_pktmbuf_attach_extbuf(m, buffer, RTE_BAD_IOVA, size, info);
            m->data_len = m->pkt_len = (uint16_t)n;
        } else {
            memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame + from, n);
        }
        if (head == NULL)
            head = m;
        else
            CHECK(rte_pktmbuf_chain(head, m) == 0);
    }
    /* A memif takes nothing before the other side has looked once. */
    for (int i = 0; conf.ops->tx_burst(conf.dev, &head, 1) == 0; i++) {
        CHECK(i < SECONDS * 1000);
        usleep(1000);
    }
}

void bed_settle(struct port *p)
{
    struct rte_mbuf *m;
    struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
    for (int i = 0; i < 1000; i++) {
        while (port_rx(p, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        if (port_sleep(p, 0) && poll(&fd, 1, 1) == 0)
            return;
        port_wake(p, 0);
    }
    bed_failed(__FILE__, __LINE__, "the port does not come to rest");
}

void bed_link(struct port *p, bool up, uint32_t ups)
{
    struct port_stats s;
    struct rte_mbuf *m;
    time_t end = time(NULL) + SECONDS;
    do {
        CHECK(time(NULL) <= end);
        while (port_rx(p, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
        if (port_sleep(p, 0))
            poll(&fd, 1, 200);
        port_wake(p, 0);
        port_stats(p, &s);
    } while (s.link_up != up || port_link_ups(p) != ups);
}

/* ---- Descriptors ---- */

void bed_fds(struct bed_fds *fds)
{
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    memset(fds, 0, sizeof *fds);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fd < (int)RTE_DIM(fds->open) && fd != dirfd(dir))
            fds->open[fd] = true;
    }
    closedir(dir);
}

bool bed_no_new_fds(const struct bed_fds *before)
{
    struct bed_fds now;
    bool none = true;
    bed_fds(&now);
    for (size_t i = 0; i < RTE_DIM(now.open); i++) {
        if (now.open[i] && !before->open[i]) {
            char path[64], target[256] = "";
            snprintf(path, sizeof path, "/proc/self/fd/%zu", i);
            ssize_t n = readlink(path, target, sizeof target - 1);
            fprintf(stderr, "left open: %zu %s\n", i, n > 0 ? target : "?");
            none = false;
        }
    }
    return none;
}
