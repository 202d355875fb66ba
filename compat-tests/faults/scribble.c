/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scribble MODE SEED PORT: a program gone wrong. Opens connections to an echo server, finds the arena that the preload
 * library mapped, and overwrites parts of it with random bytes. Then it uses its connections as if nothing had happened,
 * says how each ended, and ends.
 *
 * MODE: rings      its connections' positions and rings, on both ends
 *       sessions   the whole blocks of its connections' own ends
 *       peers      and those of the other ends
 *       locks      the lock words of its connections, as if somebody held them for good
 *       client     its own entry in the table of programs
 *       free       everything in the session table that nobody uses, with its hints
 *       all        everything but the data: sessions, listeners, ports, waiters, programs, block owners, header
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <zstack/shm.h>

#define CONNECTIONS 8

static struct zs_arena *arena;
static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void scribble(void *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile uint8_t *)at)[i] = (uint8_t)next_random();
}

static void *find_arena(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long from, to;
    void *found = NULL;
    while (maps != NULL && found == NULL && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "memfd:zstack") != NULL && sscanf(line, "%lx-%lx", &from, &to) == 2 &&
            to - from >= sizeof(struct zs_arena))
            found = (void *)from;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

static const char *echo(int fd)
{
    static char data[5000], back[5000];
    memset(data, 'x', sizeof data);
    if (send(fd, data, sizeof data, MSG_NOSIGNAL) != (ssize_t)sizeof data)
        return errno == EAGAIN ? "timeout" : strerrorname_np(errno);
    for (size_t got = 0; got < sizeof back;) {
        ssize_t n = recv(fd, back + got, sizeof back - got, 0);
        if (n == 0)
            return "eof";
        if (n < 0)
            return errno == EAGAIN ? "timeout" : strerrorname_np(errno);
        got += (size_t)n;
    }
    return memcmp(data, back, sizeof data) == 0 ? "ok" : "differs";
}

/* Our sessions: those of the client whose process this is. */
static uint32_t own_client(void)
{
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++)
        if (atomic_load(&arena->client[i].id) != 0 && atomic_load(&arena->client[i].pid) == (uint32_t)getpid())
            return atomic_load(&arena->client[i].id);
    return 0;
}

static void damage(const char *mode, struct zs_session *s, struct zs_session *peer)
{
    struct zs_session *both[2] = {s, peer};
    for (int i = 0; i < 2; i++) {
        if (strcmp(mode, "rings") == 0) {
            scribble(&both[i]->rx_prod, sizeof s->rx_prod);
            scribble(&both[i]->rx_cons, sizeof s->rx_cons);
            scribble(&both[i]->rx_rings, sizeof s->rx_rings);
            atomic_store(&both[i]->rx_prod.lock, 0);
            atomic_store(&both[i]->rx_cons.lock, 0);
        } else if (strcmp(mode, "locks") == 0) {
            atomic_store(&both[i]->rx_prod.lock, (uint32_t)next_random() | 1);
            atomic_store(&both[i]->rx_cons.lock, (uint32_t)next_random() | 1);
        } else if (strcmp(mode, "peers") == 0 || (strcmp(mode, "sessions") == 0 && i == 0)) {
            scribble(both[i], sizeof *s);
        }
    }
}

static void damage_own(const char *mode)
{
    uint32_t client = own_client();
    uint32_t own[2 * CONNECTIONS], n = 0;
    for (uint32_t i = 0; i < ZS_MAX_SESSIONS && n < 2 * CONNECTIONS; i++)
        if (atomic_load(&arena->session[i].owner) == client)
            own[n++] = i;
    if (client == 0 || n != CONNECTIONS) {
        fprintf(stderr, "%u sessions of client %x\n", n, client);
        exit(1);
    }
    if (strcmp(mode, "client") == 0)
        scribble(&arena->client[ZS_CLIENT_SLOT(client)], sizeof arena->client[0]);
    /* The last one is left as it is, but for the mode "client" all are. */
    for (uint32_t i = 0; i + 1 < n; i++) {
        uint32_t peer = arena->session[own[i]].peer;
        damage(mode, &arena->session[own[i]], &arena->session[peer < ZS_MAX_SESSIONS ? peer : own[i]]);
    }
}

static void damage_tables(const char *mode)
{
    if (strcmp(mode, "free") == 0) {
        for (uint32_t i = 4096; i < 12288; i++)
            scribble(&arena->session[i], sizeof arena->session[i]);
        scribble(&arena->session_hint, sizeof arena->session_hint);
        return;
    }
    scribble(arena->session, 512 * sizeof arena->session[0]);
    scribble(&arena->session_hint, sizeof arena->session_hint);
    scribble(&arena->waiter_hint, sizeof arena->waiter_hint);
    scribble(arena->listener, 4 * sizeof arena->listener[0]);
    scribble(arena->waiter, 8 * sizeof arena->waiter[0]);
    scribble(arena->client, 64 * sizeof arena->client[0]);
    scribble(&arena->tcp_ports, sizeof arena->tcp_ports);
    scribble(&arena->udp_ports, sizeof arena->udp_ports);
    for (uint32_t c = 0; c < ZS_NCLASS; c++)
        scribble(arena->block[c].owner, 4096);
    scribble(&arena->header, sizeof arena->header);
}

int main(int argc, char **argv)
{
    int fd[CONNECTIONS];
    if (argc != 4)
        return 2;
    state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < CONNECTIONS; i++) {
        fd[i] = dial(atoi(argv[3]));
        const char *how = echo(fd[i]);
        if (strcmp(how, "ok") != 0) {
            fprintf(stderr, "before: %s\n", how);
            return 1;
        }
    }
    arena = find_arena();
    if (arena == NULL) {
        fprintf(stderr, "no arena is mapped\n");
        return 1;
    }
    if (strcmp(argv[1], "free") == 0 || strcmp(argv[1], "all") == 0)
        damage_tables(argv[1]);
    else
        damage_own(argv[1]);
    printf("scribbled\n");
    fflush(stdout);
    for (int i = 0; i < CONNECTIONS; i++) {
        printf("%s\n", echo(fd[i]));
        fflush(stdout);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fd[i]);
    return 0;
}
