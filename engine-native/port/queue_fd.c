/* SPDX-License-Identifier: BSD-3-Clause
 * net_af_packet and net_af_xdp sleep on a socket but do not tell which: it is found among the process's descriptors. */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

static bool is_packet_socket(int fd, unsigned ifindex)
{
    int domain = -1;
    struct sockaddr_ll at;
    socklen_t len = sizeof domain, at_len = sizeof at;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_PACKET &&
           getsockname(fd, (struct sockaddr *)&at, &at_len) == 0 && at.sll_ifindex == (int)ifindex && at.sll_protocol != 0;
}

/* The kernel has no name for an AF_XDP socket. */
static bool is_xdp_socket(int fd)
{
    int domain = -1;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_XDP;
}

static bool is_bpf(int fd)
{
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "anon_inode:bpf-", 15) == 0;
}

static bool is_of(int fd, enum queue_fd_type type, unsigned ifindex)
{
    return type == QUEUE_FD_PACKET ? is_packet_socket(fd, ifindex) : type == QUEUE_FD_XDP ? is_xdp_socket(fd) : is_bpf(fd);
}

void queue_fds_list(struct queue_fds *fds, enum queue_fd_type type, unsigned ifindex)
{
    DIR *dir = opendir("/proc/self/fd");
    fds->n = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fds->n < QUEUE_FDS_MAX && is_of(fd, type, ifindex))
            fds->fd[fds->n++] = fd;
    }
    if (dir != NULL)
        closedir(dir);
}

void queue_fds_subtract(struct queue_fds *fds, const struct queue_fds *others)
{
    unsigned n = 0;
    for (unsigned i = 0; i < fds->n; i++) {
        bool other = false;
        for (unsigned k = 0; k < others->n; k++)
            other = other || others->fd[k] == fds->fd[i];
        if (!other)
            fds->fd[n++] = fds->fd[i];
    }
    fds->n = n;
}

void queue_fds_close(const struct queue_fds *fds, enum queue_fd_type type)
{
    for (unsigned i = 0; i < fds->n; i++)
        if (is_of(fds->fd[i], type, 0))
            close(fds->fd[i]);
}
