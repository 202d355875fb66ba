/* SPDX-License-Identifier: BSD-3-Clause
 * What paths carry (RFC 1191, 8201), by destination: a small table that forgets, and whose lines replace each other, so that
 * whoever fills it gains nothing but a few packets smaller than need be. */
#include <stdlib.h>

#include "ip.h"

#define PMTU_LINES 1024u
#define PMTU_KEEP_NS (600 * NET_NS_PER_S) /* RFC 8201 4: 10 minutes */
#define PMTU_LEAST4 552u  /* as Linux' min_pmtu: who claims less wants us to burn cycles */
#define PMTU_LEAST6 1280u /* RFC 8201 4: never less */

struct pmtu_line {
    struct ip_addr dst;
    uint32_t mtu; /* 0: unused */
    uint64_t until;
};

struct pmtu_table {
    bool used; /* anything was ever learned */
    struct pmtu_line line[PMTU_LINES];
};

struct pmtu_table *pmtu_create(void)
{
    return calloc(1, sizeof(struct pmtu_table));
}

void pmtu_destroy(struct stack *st)
{
    free(st->pmtu);
}

static struct pmtu_line *line_of(struct stack *st, const struct ip_addr *dst)
{
    return &st->pmtu->line[ip_hash(dst) >> 22];
}

uint32_t pmtu_find(struct stack *st, const struct ip_addr *dst)
{
    if (!st->pmtu->used)
        return UINT32_MAX;
    const struct pmtu_line *l = line_of(st, dst);
    return l->mtu != 0 && l->until > st->now && ip_eq(&l->dst, dst) ? l->mtu : UINT32_MAX;
}

uint32_t pmtu_learn(struct stack *st, const struct ip_addr *dst, uint32_t mtu)
{
    uint32_t before = pmtu_find(st, dst);
    mtu = RTE_MAX(mtu, ip_is_v4(dst) ? PMTU_LEAST4 : PMTU_LEAST6);
    if (mtu >= before)
        return before; /* RFC 8201 4: a message never makes it larger */
    NET_COUNT(st, PMTU_LEARNED);
    st->pmtu->used = true;
    *line_of(st, dst) = (struct pmtu_line){*dst, mtu, st->now + PMTU_KEEP_NS};
    return mtu;
}
