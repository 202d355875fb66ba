/* SPDX-License-Identifier: BSD-3-Clause
 * What a stack tells of a connection, as the kernel tells it (TCP_INFO, tcp(7)). For those who may include the kernel's header. */
#ifndef ZSTACK_SHM_TCPINFO_KERNEL_H
#define ZSTACK_SHM_TCPINFO_KERNEL_H

#include <linux/tcp.h>

#include <zstack/tcpinfo.h>

/* enum of the kernel's include/net/tcp_states.h, which user space's headers share only in part */
enum { ZS_K_ESTABLISHED = 1, ZS_K_SYN_SENT, ZS_K_SYN_RECV, ZS_K_FIN_WAIT1, ZS_K_FIN_WAIT2, ZS_K_TIME_WAIT, ZS_K_CLOSE, ZS_K_CLOSE_WAIT, ZS_K_LAST_ACK, ZS_K_LISTEN,
       ZS_K_CLOSING };

/* Fields that the stack does not have are 0. */
void zs_tcp_info_kernel(const struct zs_tcp_info *i, struct tcp_info *ti);

#endif
