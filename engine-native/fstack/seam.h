/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What libfstack calls by other names (seam.syms maps DPDK's and the C library's names to these in the engine's copy of
 * its object): EAL is the engine's, already initialised; its devices are the engine's ports; its timer is ticked by the
 * engine; its loop returns after one turn; what it prints is logged. Types and results are those of the functions replaced,
 * see DPDK's and the C library's own documentation. */
#ifndef ZSTACK_FSTACK_SEAM_H
#define ZSTACK_FSTACK_SEAM_H

#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_timer.h>
#include <stdarg.h>

struct fstack;

/* The stack of this process: libfstack's functions have no argument for it. */
struct fstack *fs_seam_stack(void);

int zs_fstack_eal_init(int argc, char **argv);
int zs_fstack_eal_cleanup(void);
int zs_fstack_launch(lcore_function_t *f, void *arg, enum rte_rmt_call_main_t call_main);
void zs_fstack_wait(void);
void *zs_fstack_malloc(const char *type, size_t size, unsigned align);
void zs_fstack_free(void *p);
void zs_fstack_host_free(void *p);
int zs_fstack_timer_subsystem_init(void);
int zs_fstack_timer_reset(struct rte_timer *tim, uint64_t ticks, enum rte_timer_type type, unsigned lcore, rte_timer_cb_t f,
                          void *arg);
int zs_fstack_timer_manage(void);
void zs_fstack_log_set_global_level(uint32_t level);
int zs_fstack_log_set_level(uint32_t type, uint32_t level);
int zs_fstack_openlog_stream(FILE *f);
int zs_fstack_vlog(uint32_t level, uint32_t type, const char *format, va_list args);
__rte_noreturn void zs_fstack_rte_exit(int status, const char *format, ...);
__rte_noreturn void zs_fstack_exit(int status);
int zs_fstack_printf(const char *format, ...);
int zs_fstack_puts(const char *line);
int zs_fstack_putchar(int c);

extern struct rte_eth_fp_ops zs_fstack_fp_ops[RTE_MAX_ETHPORTS];
int zs_fstack_macaddr_get(uint16_t port, struct rte_ether_addr *mac);
int zs_fstack_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t n, unsigned socket, const struct rte_eth_txconf *conf);
int zs_fstack_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n, unsigned socket, const struct rte_eth_rxconf *conf,
                             struct rte_mempool *pool);
int zs_fstack_promiscuous_enable(uint16_t port);
int zs_fstack_link_get_nowait(uint16_t port, struct rte_eth_link *link);
int zs_fstack_dev_start(uint16_t port);
int zs_fstack_dev_info_get(uint16_t port, struct rte_eth_dev_info *info);
uint16_t zs_fstack_dev_count_avail(void);
int zs_fstack_dev_configure(uint16_t port, uint16_t rxq, uint16_t txq, const struct rte_eth_conf *conf);
int zs_fstack_adjust_desc(uint16_t port, uint16_t *rx, uint16_t *tx);

#endif
