/* SPDX-License-Identifier: BSD-3-Clause
 * Receives segments and sends them on where they are. */
#include "flow.h"

#include <errno.h>
#include <sys/socket.h>

static int receive(struct flow *f, struct flow_totals *t)
{
    while (flow_wants_in(f)) {
        struct zs_segment got[16];
        struct zs_report r;
        int n = zs_recv(f->from, got, 16, MSG_DONTWAIT, &r);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return n;
        f->eof = n == 0;
        t->in_lent += r.lent;
        t->in_copied += r.copied;
        for (int i = 0; i < n; i++)
            f->segment[(f->first + f->count++) % FLOW_SEGMENTS] = got[i];
    }
    return 0;
}

static int pass_on(struct flow *f, struct flow_totals *t)
{
    while (f->count > 0) {
        struct zs_iov v[FLOW_SEGMENTS];
        struct zs_report r;
        for (unsigned i = 0; i < f->count; i++) {
            const struct zs_segment *s = &f->segment[(f->first + i) % FLOW_SEGMENTS];
            size_t skip = i == 0 ? f->sent : 0;
            v[i] = (struct zs_iov){(const char *)s->data + skip, s->len - skip, s->id};
        }
        ssize_t n = zs_send(f->to, v, f->count, MSG_DONTWAIT, NULL, 0, &r);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return (int)n;
        t->out_lent += r.lent;
        t->out_copied += r.copied;
        for (f->sent += (size_t)n; f->count > 0 && f->sent >= f->segment[f->first].len; f->count--) {
            f->sent -= f->segment[f->first].len;
            zs_segment_release(&f->segment[f->first]); /* the stack holds it as long as it needs it */
            f->first = (f->first + 1) % FLOW_SEGMENTS;
        }
    }
    return 0;
}

int flow_run(struct flow *f, struct flow_totals *t)
{
    int r = receive(f, t);
    if (r == 0)
        r = pass_on(f, t);
    if (r == 0 && f->eof && f->count == 0 && !f->done) {
        f->done = true;
        shutdown(f->to, SHUT_WR);
    }
    return r;
}

void flow_drop(struct flow *f)
{
    for (; f->count > 0; f->count--) {
        zs_segment_release(&f->segment[f->first]);
        f->first = (f->first + 1) % FLOW_SEGMENTS;
    }
}
