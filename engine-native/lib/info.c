/* SPDX-License-Identifier: BSD-3-Clause
 * Quotas, usage, where a socket is served, names. */
#define _GNU_SOURCE
#include "lib.h"

#include <fcntl.h>

const char *zs_copy_reason_name(int reason)
{
    static const char *const names[] = {
#define X(id, name, text) name,
        ZS_COPY_REASONS(X)
#undef X
    };
    return reason >= 0 && reason < ZS_COPY_COUNT ? names[reason] : "?";
}

int zs_quota_set(size_t held, size_t lent, struct zs_queue *queue)
{
    lib_enter();
    int r = queue != NULL && queue->process != lib.process ? -EPERM : 0;
    if (r == 0) {
        lib.held_quota = held != 0 ? held : lib.held_quota;
        lib.lent_quota = lent != 0 ? lent : lib.lent_quota;
        lib.watch = queue;
    }
    lib_leave();
    return r;
}

void zs_usage(struct zs_usage *usage)
{
    lib_enter();
    pieces_look_at_all();
    *usage = (struct zs_usage){lib.held, lib.held_quota, lib.lent, lib.lent_quota, lib.segments, lib.forgotten};
    lib_leave();
}

int zs_socket_info(int fd, struct zs_socket_info *out)
{
    struct zs_if_info info = {.reason = ""};
    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    lib_enter();
    if (lib.preload != NULL)
        lib.preload->info(fd, &info);
    lib_leave();
    *out = (struct zs_socket_info){.path = info.domain == NULL ? ZS_PATH_KERNEL : info.wire ? ZS_PATH_WIRE : ZS_PATH_LOCAL,
                                   .peer = (pid_t)info.peer_pid,
                                   .reason = info.reason};
    return 0;
}
