/* SPDX-License-Identifier: BSD-3-Clause
 * Names. The C library's resolver does its work by calls that no preload sees; what it must not go by is that the kernel has no
 * address of a family where an engine's port has one (AI_ADDRCONFIG, RFC 3493 6.1). */
#include "preload.h"

#include <netdb.h>

static bool has_wire(void)
{
    frame_begin();
    struct zs_domain *d = zs_attached();
    bool wire = d != NULL && d->view.arena->header.wire_ports != 0;
    frame_end();
    return wire;
}

int zsp_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    int r = REAL(getaddrinfo)(node, service, hints, res);
    bool asked = hints != NULL && (hints->ai_flags & AI_ADDRCONFIG) && zs_proc.conf.enabled && !zs_passthrough();
    bool for_want = asked && (r == EAI_ADDRFAMILY || (r == EAI_NONAME && hints->ai_family != AF_UNSPEC));
    if (!for_want || !has_wire())
        return r;
    struct addrinfo any = *hints;
    any.ai_flags &= ~AI_ADDRCONFIG;
    return REAL(getaddrinfo)(node, service, &any, res);
}
