/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups of programs' sockets on the engine's ports: what each socket asked for, told to the stack, and looked at for
 * each datagram (ip_mc_join_group, ip_mc_source, ip_mc_sf_allow in Linux). */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERSHIPS_MAX 20u /* of a socket, Linux' default igmp_max_memberships; those of IPv6 among them */

struct wire_membership {
    LIST_ENTRY(wire_membership) link;
    struct wire_filter filter;
};

static struct wire_membership *membership(const struct tracked *t, uint32_t port, const uint8_t group[16])
{
    struct wire_membership *m;
    LIST_FOREACH(m, &t->groups, link)
        if (m->filter.port == port && memcmp(m->filter.group, group, 16) == 0)
            return m;
    return NULL;
}

static int source_at(const struct wire_filter *f, const uint8_t source[16])
{
    for (uint32_t i = 0; i < f->nsources; i++)
        if (memcmp(f->source[i], source, 16) == 0)
            return (int)i;
    return -1;
}

bool wire_group_accepts(const struct tracked *t, uint32_t port, const uint8_t group[16], const uint8_t source[16], bool joined_only)
{
    const struct wire_membership *m = membership(t, port, group);
    if (m == NULL)
        return !joined_only; /* IP_MULTICAST_ALL: somebody of this host joined */
    return (source_at(&m->filter, source) >= 0) != m->filter.exclude;
}

static int add_source(struct wire_filter *f, const uint8_t source[16])
{
    if (source_at(f, source) >= 0)
        return -EADDRNOTAVAIL;
    if (f->nsources == WIRE_SOURCES_MAX)
        return -ENOBUFS;
    memcpy(f->source[f->nsources++], source, 16);
    return 0;
}

static int remove_source(struct wire_filter *f, const uint8_t source[16])
{
    int i = source_at(f, source);
    if (i < 0)
        return -EADDRNOTAVAIL;
    memmove(f->source[i], f->source[i + 1], (--f->nsources - (uint32_t)i) * sizeof f->source[0]);
    return 0;
}

/* What the socket's wish becomes; `there`: it is in the group already. */
static int change(struct wire_filter *f, const struct zs_ctl_group *g, bool there)
{
    switch (g->how) {
    case ZS_GROUP_JOIN:
        f->exclude = true;
        return there ? -EADDRINUSE : 0;
    case ZS_GROUP_LEAVE:
        f->exclude = false;
        f->nsources = 0;
        return there ? 0 : -EADDRNOTAVAIL;
    case ZS_GROUP_ALLOW:
        return there && f->exclude ? -EINVAL : add_source(f, g->source);
    case ZS_GROUP_DISALLOW:
        return !there || f->exclude ? (there ? -EINVAL : -EADDRNOTAVAIL) : remove_source(f, g->source);
    case ZS_GROUP_BLOCK:
        return !there || !f->exclude ? -EINVAL : add_source(f, g->source);
    case ZS_GROUP_UNBLOCK:
        return !there || !f->exclude ? -EINVAL : remove_source(f, g->source);
    default:
        return -EINVAL;
    }
}

int wire_group_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, const struct zs_ctl_group *g)
{
    struct tracked *t = wire_udp_tracked(e, c, session, gen);
    uint32_t count = 0;
    if (e->wire == NULL)
        return -ENODEV;
    if (t == NULL)
        return -ESTALE;
    struct wire_membership *m = membership(t, g->port, g->group), *each;
    LIST_FOREACH(each, &t->groups, link)
        count++;
    struct wire_filter f = {.port = g->port};
    memcpy(f.group, g->group, 16);
    if (m != NULL)
        f = m->filter;
    int err = change(&f, g, m != NULL);
    if (err == 0 && m == NULL)
        err = count < MEMBERSHIPS_MAX ? 0 : -ENOBUFS;
    if (err != 0)
        return err;
    struct wire_membership *fresh = m == NULL ? calloc(1, sizeof *fresh) : NULL;
    if (m == NULL && (m = fresh) == NULL)
        return -ENOMEM;
    if (fresh != NULL)
        LIST_INSERT_HEAD(&t->groups, fresh, link);
    err = e->wire->ops->group(e->wire->stack, &f, m, e->now);
    if (err == 0)
        m->filter = f;
    if ((!m->filter.exclude && m->filter.nsources == 0) || (err != 0 && fresh != NULL)) {
        LIST_REMOVE(m, link);
        free(m);
    }
    return err;
}

void wire_groups_leave(struct engine *e, struct tracked *t)
{
    while (!LIST_EMPTY(&t->groups)) {
        struct wire_membership *m = LIST_FIRST(&t->groups);
        struct wire_filter none = m->filter;
        none.exclude = false;
        none.nsources = 0;
        if (e->wire != NULL && e->wire->stack != NULL)
            e->wire->ops->group(e->wire->stack, &none, m, e->now);
        LIST_REMOVE(m, link);
        free(m);
    }
}
