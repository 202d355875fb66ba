/* SPDX-License-Identifier: BSD-3-Clause
 * TCP_INFO as the kernel has it, whose header and the stack's exclude each other. */
#include <string.h>
#include <sys/socket.h>

#include "tcpinfo_kernel.h"

void pd_kernel_info(const struct zs_tcp_info *info, void *to, socklen_t *len);

void pd_kernel_info(const struct zs_tcp_info *info, void *to, socklen_t *len)
{
    struct tcp_info ti;
    zs_tcp_info_kernel(info, &ti);
    *len = *len < sizeof ti ? *len : (socklen_t)sizeof ti;
    memcpy(to, &ti, *len);
}
