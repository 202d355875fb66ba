/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of processes (proc(5)), by bare system calls: also for the inside of programs, whose calls are hooked. */
#ifndef ZSTACK_SHM_PROC_H
#define ZSTACK_SHM_PROC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What there is of /proc/PID/NAME, up to size - 1 bytes from `at` on, terminated; 0 or below: nothing. */
long zs_proc_read(int32_t pid, const char *name, off_t at, char *text, size_t size);
/* When the process began, in clock ticks after boot; 0: there is none. */
uint64_t zs_start_time(int32_t pid);

#endif
