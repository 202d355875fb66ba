/* SPDX-License-Identifier: BSD-3-Clause
 * net_af_packet and net_af_xdp sleep on a socket but do not tell which: it is found among the process's descriptors. */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "internal.h"

static bool is_queue(int fd, int domain, unsigned ifindex)
{
    int d = -1;
    struct sockaddr_ll at;
    socklen_t len = sizeof d, at_len = sizeof at;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &d, &len) != 0 || d != domain)
        return false;
    /* The kernel has no name for an AF_XDP socket. */
    if (domain != AF_PACKET)
        return true;
    return getsockname(fd, (struct sockaddr *)&at, &at_len) == 0 && at.sll_ifindex == (int)ifindex && at.sll_protocol != 0;
}

void queue_fds_list(struct queue_fds *fds, int domain, unsigned ifindex)
{
    DIR *dir = opendir("/proc/self/fd");
    fds->n = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fds->n < QUEUE_FDS_MAX && is_queue(fd, domain, ifindex))
            fds->fd[fds->n++] = fd;
    }
    if (dir != NULL)
        closedir(dir);
}

int queue_fds_new(const struct queue_fds *before, const struct queue_fds *after)
{
    int found = -1;
    for (unsigned i = 0; i < after->n; i++) {
        bool old = false;
        for (unsigned k = 0; k < before->n; k++)
            old = old || before->fd[k] == after->fd[i];
        if (!old)
            found = found == -1 ? after->fd[i] : -2;
    }
    return found;
}
