/* SPDX-License-Identifier: BSD-3-Clause
 * Zero-copy connections that end badly.
 *
 *   chaos kill SEED ROUNDS       in each round a server and a client that lend, hold and send on; one is killed at a random instant, then
 *                                the other. A pair of its own must go on through all of it.
 *   chaos scribble SEED PORT     opens connections to a zero-copy echo at PORT, lends to it, and overwrites the reference rings of both
 *                                directions and the records of its loans with random bytes, while they are read. Says how each ended.
 *
 * "done" on stdout, then it waits for the end of its input: meanwhile nothing of the rounds may be left. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstack/shm.h>
#include <zstack/zstack.h>

#define SIZE 20000u
#define BUFFERS 4

static uint64_t seed;

static uint64_t rnd(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * UINT64_C(2685821657736338717);
}

static void fail(const char *what)
{
    fprintf(stderr, "chaos: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int listen_any(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        fail("listen");
    *port = ntohs(a.sin_port);
    return fd;
}

/* -1: nobody listens any more. */
static int try_dial(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        fail("socket");
    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

static int dial(uint16_t port)
{
    int fd = try_dial(port);
    if (fd < 0)
        fail("connect");
    return fd;
}

/* Gives back what comes, from where it is; holds some of it for a while. */
static void echo(int fd)
{
    struct zs_segment s[8], kept[8];
    int n, nkept = 0;
    while ((n = zs_recv(fd, s, 8, 0, NULL)) > 0) {
        for (int i = 0; i < n; i++) {
            struct zs_iov v = {s[i].data, s[i].len, s[i].id};
            if (zs_send(fd, &v, 1, 0, NULL, 0, NULL) < 0)
                return;
            if (nkept < 8 && rnd() % 2 == 0)
                kept[nkept++] = s[i];
            else
                zs_segment_release(&s[i]);
        }
        while (nkept > 0 && rnd() % 3 != 0)
            zs_segment_release(&kept[--nkept]);
    }
}

/* Lends to the echo and reads what comes back, by both calls, until the connection ends. */
static void talk(int fd)
{
    struct zs_buffer b[BUFFERS];
    struct zs_queue *q;
    struct zs_event e;
    static uint8_t copy[SIZE];
    if (zs_queue_open(&q) < 0)
        return;
    for (int i = 0; i < BUFFERS; i++)
        if (zs_buffer_alloc(&b[i], SIZE, 0) < 0)
            return;
    for (uint64_t round = 0;; round++) {
        struct zs_buffer *one = &b[round % BUFFERS];
        while (zs_buffer_busy(one) == 1)
            if (zs_queue_wait(q, &e, 1, 1000) < 0)
                return;
        memset(one->data, (int)round, SIZE);
        struct zs_iov v = {one->data, SIZE, one->id};
        if (zs_send(fd, &v, 1, 0, q, round, NULL) != (ssize_t)SIZE)
            return;
        for (size_t got = 0; got < SIZE;) {
            struct zs_segment s;
            bool lent = rnd() % 2 == 0;
            ssize_t n = lent ? zs_recv(fd, &s, 1, 0, NULL) : read(fd, copy, SIZE - got);
            if (n <= 0)
                return;
            const uint8_t *p = lent ? s.data : copy;
            size_t len = lent ? s.len : (size_t)n;
            for (size_t i = 0; i < len; i++) {
                if (p[i] != (uint8_t)round) {
                    fprintf(stderr, "chaos: byte %zu of round %llu is wrong\n", got + i, (unsigned long long)round);
                    exit(1);
                }
            }
            got += len;
            if (lent)
                zs_segment_release(&s);
        }
    }
}

/* ---- Killed ---- */

static pid_t child(bool server, int port_pipe[2], uint64_t own_seed)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    uint16_t port;
    seed = own_seed | 1;
    if (server) {
        int l = listen_any(&port), fd;
        if (write(port_pipe[1], &port, sizeof port) != sizeof port)
            _exit(0);
        while ((fd = accept(l, NULL, NULL)) >= 0)
            echo(fd), close(fd);
    } else if (read(port_pipe[0], &port, sizeof port) == sizeof port) {
        int fd = try_dial(port); /* the server may be dead already */
        if (fd >= 0)
            talk(fd);
    }
    _exit(0);
}

static void end(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    /* A client that ends by itself found its server gone; one that found wrong bytes says 1. */
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        exit(1);
}

static void own_pair(int fd[2])
{
    uint16_t port;
    int l = listen_any(&port);
    fd[0] = dial(port);
    fd[1] = accept(l, NULL, NULL);
    if (fd[1] < 0)
        fail("accept");
    close(l);
}

static void use_own(int fd[2], struct zs_buffer *b, int round)
{
    struct zs_segment s;
    struct zs_iov v = {b->data, SIZE, b->id};
    memset(b->data, round, SIZE);
    if (zs_send(fd[0], &v, 1, 0, NULL, 0, NULL) != (ssize_t)SIZE)
        fail("zs_send");
    for (size_t got = 0; got < SIZE; got += s.len) {
        if (zs_recv(fd[1], &s, 1, 0, NULL) != 1 || ((const uint8_t *)s.data)[s.len - 1] != (uint8_t)round)
            fail("the pair that nobody kills");
        zs_segment_release(&s);
    }
}

static void kill_rounds(int rounds)
{
    int fd[2];
    struct zs_buffer b;
    own_pair(fd);
    if (zs_buffer_alloc(&b, SIZE, 0) < 0)
        fail("zs_buffer_alloc");
    for (int round = 0; round < rounds; round++) {
        int ports[2];
        if (pipe(ports) != 0)
            fail("pipe");
        pid_t server = child(true, ports, rnd()), client = child(false, ports, rnd());
        close(ports[1]);
        usleep((useconds_t)(rnd() % 20000));
        bool first = rnd() % 2;
        end(first ? server : client);
        usleep((useconds_t)(rnd() % 1500));
        end(first ? client : server);
        close(ports[0]);
        use_own(fd, &b, round);
    }
    while (zs_buffer_busy(&b) == 1)
        usleep(1000);
    zs_buffer_free(&b);
    close(fd[0]);
    close(fd[1]);
}

/* ---- Scribbled over ---- */

static struct zs_arena *find_arena(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long from, to;
    void *found = NULL;
    while (maps != NULL && found == NULL && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "memfd:zstack-arena") != NULL && sscanf(line, "%lx-%lx", &from, &to) == 2 &&
            to - from >= sizeof(struct zs_arena))
            found = (void *)from;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static void scribble(void *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rnd() % 2 == 0)
            ((volatile uint8_t *)at)[i] = (uint8_t)rnd();
}

/* The reference ring of one direction, and the records that its entries and its connection have. */
static void scribble_direction(struct zs_arena *a, struct zs_session *rx)
{
    uint32_t ref = atomic_load(&rx->rx_prod.ref_ring), index = (uint32_t)(rx - a->session);
    uint8_t *ring = ref == 0 ? NULL : zs_block_ptr(a, ref);
    for (uint32_t i = 0; i < 4096; i++) {
        uint64_t holder = atomic_load(&a->loan[i].holder);
        if (ZS_HOLD_IS_SESSION(holder) && ZS_HOLD_INDEX(holder) == index)
            scribble(&a->loan[i], sizeof a->loan[i]);
    }
    if (ring != NULL)
        scribble(ring, 512);
    if (rnd() % 4 == 0)
        scribble(&rx->rx_prod.ref_tail, sizeof rx->rx_prod.ref_tail);
    if (rnd() % 4 == 0)
        scribble(&rx->rx_cons.ref_head, sizeof rx->rx_cons.ref_head);
}

static void damage(struct zs_arena *a, uint32_t client)
{
    for (uint32_t i = 0; i < 4096; i++) {
        struct zs_session *s = &a->session[i];
        uint32_t peer = *(volatile uint32_t *)&s->peer; /* read once: the connection may end meanwhile */
        if (atomic_load(&s->owner) != client || s->kind != ZS_KIND_TCP || peer >= ZS_MAX_SESSIONS)
            continue;
        scribble_direction(a, s);
        scribble_direction(a, &a->session[peer]);
    }
}

static uint32_t own_client(const struct zs_arena *a)
{
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++)
        if (atomic_load(&a->client[i].id) != 0 && atomic_load(&a->client[i].pid) == (uint32_t)getpid())
            return atomic_load(&a->client[i].id);
    return 0;
}

#define CONNECTIONS 6
static void scribble_rounds(uint16_t port)
{
    int fd[CONNECTIONS];
    struct timeval limit = {.tv_sec = 2};
    for (int i = 0; i < CONNECTIONS; i++) {
        fd[i] = dial(port);
        setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    struct zs_arena *a = find_arena();
    uint32_t client = a == NULL ? 0 : own_client(a);
    if (client == 0)
        fail("no arena");
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < CONNECTIONS; i++) {
            struct zs_buffer b;
            struct zs_segment s[4];
            if (zs_buffer_alloc(&b, SIZE, 0) < 0)
                continue; /* its own records said that the others are lent: they stay, to its own cost */
            struct zs_iov v = {b.data, SIZE, b.id};
            zs_send(fd[i], &v, 1, MSG_DONTWAIT, NULL, 0, NULL);
            if (round % 8 == 7)
                damage(a, client);
            int n = zs_recv(fd[i], s, 4, MSG_DONTWAIT, NULL);
            while (n > 0)
                zs_segment_release(&s[--n]);
            if (zs_buffer_busy(&b) == 0)
                zs_buffer_free(&b);
            if (n < 0 && n != -EAGAIN) { /* reset, as it should be: another one */
                close(fd[i]);
                fd[i] = dial(port);
            }
        }
    }
}

int main(int argc, char **argv)
{
    char c;
    if (argc != 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    seed = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    if (strcmp(argv[1], "kill") == 0)
        kill_rounds(atoi(argv[3]));
    else
        scribble_rounds((uint16_t)atoi(argv[3]));
    puts("done");
    fflush(stdout);
    while (read(0, &c, 1) > 0)
        ;
    return 0;
}
