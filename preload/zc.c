/* SPDX-License-Identifier: BSD-3-Clause
 * The preload's half of the zero-copy sockets: finds the socket behind a descriptor for libzstack.so (interface.h). */
#include "preload.h"

#include "interface.h"

static int64_t zc_lend(int fd, struct zs_domain *d, struct zs_ref *ref, uint32_t least, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_send", fd);
    if (k == NULL)
        return -ENOTSOCK;
    int64_t r = atomic_load(&k->kind) != ZK_CONN ? -ENOTSOCK : k->d != d ? -EXDEV : stream_lend(k, ref, least, flags);
    call_end(&c, fd, r);
    return r;
}

static int zc_take(int fd, struct zs_domain **d, struct zs_taken *t, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_recv", fd);
    if (k == NULL)
        return -ENOTSOCK;
    *d = k->d;
    int64_t r = atomic_load(&k->kind) != ZK_CONN ? -ENOTSOCK : stream_take(k, t, flags);
    call_end(&c, fd, r);
    return r > 0 ? 1 : (int)r;
}

static int zc_info(int fd, struct zs_if_info *info)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_info", fd);
    *info = (struct zs_if_info){.reason = ""};
    if (k == NULL)
        return 0;
    if (atomic_load(&k->kind) == ZK_CONN) {
        info->domain = k->d;
        info->wire = (atomic_load(&k->s->flags) & ZS_F_WIRE) != 0;
        info->reason = info->wire ? "WIRE_ROUTE" : "PEER_LOCAL";
        uint32_t owner = info->wire || k->peer == NULL ? 0 : atomic_load(&k->peer->owner);
        if (owner != 0 && owner != ZS_CLIENT_ENGINE)
            info->peer_pid = atomic_load(&k->d->view.arena->client[ZS_CLIENT_SLOT(owner) % ZS_MAX_CLIENTS].pid);
    }
    call_end(&c, fd, 0);
    return 0;
}

static struct zs_domain *zc_domain(void)
{
    if (zs_passthrough() || !zs_proc.conf.enabled)
        return NULL;
    frame_begin();
    struct zs_domain *d = zs_attached();
    frame_end();
    return d;
}

static void zc_enter(void)
{
    frame_enter();
}

static void zc_leave(void)
{
    frame_end();
}

__attribute__((visibility("default"))) zs_interface_fn zstack_interface;

const struct zs_interface *zstack_interface(uint32_t version, uint32_t layout)
{
    static struct zs_interface table = {
        .version = ZS_INTERFACE_VERSION,
        .layout = ZS_LAYOUT_VERSION,
        .domain = zc_domain,
        .enter = zc_enter,
        .leave = zc_leave,
        .lend = zc_lend,
        .take = zc_take,
        .info = zc_info,
    };
    table.spin_us = zs_proc.conf.spin_us; /* as the environment says, once */
    return version == ZS_INTERFACE_VERSION && layout == ZS_LAYOUT_VERSION ? &table : NULL;
}
