/* SPDX-License-Identifier: BSD-3-Clause
 * What net_tap needs. Its receive function does nothing until a real-time signal per frame has run a handler that bumps a
 * word. Those signals cost more than the frames, and the kernel turns them into a deadly SIGIO once too many are pending
 * (a stopped process). We switch them off and bump that word by calling the handler. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

void tap_start(struct tap *t, int fd)
{
    struct sigaction sa;
    int sig = fcntl(fd, F_GETSIG), flags = fcntl(fd, F_GETFL);
    t->trigger = NULL;
    if (sig < SIGRTMIN || sigaction(sig, NULL, &sa) != 0 || (sa.sa_flags & SA_SIGINFO) || sa.sa_handler == SIG_DFL ||
        sa.sa_handler == SIG_IGN)
        return;
    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_ASYNC) == 0)
        t->trigger = sa.sa_handler;
}

/* The queue can be written to while the interface is up, wherever it is. */
bool tap_is_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR | POLLHUP)) == POLLOUT;
}

static bool moved(int fd)
{
    struct stat theirs, ours;
    int ns = ioctl(fd, TUNGETDEVNETNS);
    if (ns < 0)
        return true;
    bool same = fstat(ns, &theirs) == 0 && stat("/proc/thread-self/ns/net", &ours) == 0 &&
                theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
    close(ns);
    return !same;
}

/* Takes CAP_NET_ADMIN from this thread, or gives it back. */
static void net_admin(bool on)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0)
        return;
    uint32_t bit = CAP_TO_MASK(CAP_NET_ADMIN) & data[CAP_TO_INDEX(CAP_NET_ADMIN)].permitted;
    data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective &= ~bit;
    data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective |= on ? bit : 0;
    syscall(SYS_capset, &header, data);
}

/* The driver sets the interface down by its name, in the namespace where it was made. Once the interface was moved that
 * name may be another one's: the driver must not be able to. */
void tap_close_device(uint16_t id, int fd, bool started)
{
    bool away = fd >= 0 && moved(fd);
    if (away)
        net_admin(false);
    if (started)
        rte_eth_dev_stop(id);
    rte_eth_dev_close(id);
    if (away)
        net_admin(true);
}
