/* SPDX-License-Identifier: BSD-3-Clause
 * Rest: an idle connection gives back what it does not need. What a connection needs while it sends (struct tcp_send): given when the first byte leaves, taken back when all is acknowledged
 * and nothing more was sent for a retransmission timeout. Until then duplicates of the last recovery may still be told of, and the
 * growth of the window goes on where it was; afterwards it begins anew (RFC 9438 5.8, RFC 5681 4.1). */
#include <stdlib.h>

#include "tcp_conn.h"

#define SPARES_MAX 256u /* kept for the next who send */

bool tcp_send_begin(struct tcp_conn *c)
{
    struct tcp_table *t = c->st->tcp;
    struct tcp_send *s = SLIST_FIRST(&t->spare);
    if (c->send != NULL)
        return true;
    if (s != NULL) {
        SLIST_REMOVE_HEAD(&t->spare, spare);
        t->spares--;
    } else if ((s = malloc(sizeof *s)) == NULL) {
        return false;
    }
    *s = (struct tcp_send){.queued_flush = c->st->flushes - 1};
    c->send = s;
    tcp_pace_follow(c);
    return true;
}

void tcp_send_end(struct tcp_conn *c)
{
    struct tcp_table *t = c->st->tcp;
    struct tcp_send *s = c->send;
    tcp_pace_end(c);
    c->send = NULL;
    c->flags &= ~(TCP_F_REO_ROUND | TCP_F_PROBE_OUT | TCP_F_CWR_SEQ);
    if (s == NULL)
        return;
    if (t->spares >= SPARES_MAX) {
        free(s);
        return;
    }
    SLIST_INSERT_HEAD(&t->spare, s, spare);
    t->spares++;
}

void tcp_rest(struct tcp_conn *c)
{
    uint64_t rto = tcp_rto_ns(c), again = tcp_loans_rest(c);
    bool rested = tcp_flight(c) == 0 && c->st->now - c->last_send >= rto && !tcp_pace_owes(c);
    if (rested)
        tcp_send_end(c);
    else if (c->send != NULL && tcp_flight(c) == 0)
        again = RTE_MIN(again, rto);
    if (again != UINT64_MAX)
        tcp_timer_set(c, TCP_T_REST, again);
}

void tcp_send_destroy(struct stack *st)
{
    struct tcp_send *s;
    while ((s = SLIST_FIRST(&st->tcp->spare)) != NULL) {
        SLIST_REMOVE_HEAD(&st->tcp->spare, spare);
        free(s);
    }
}
