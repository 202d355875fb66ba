/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capturing: a pcapng file of what passes the engine's ports and of what goes between programs, which they write to the capture ring
 * (shm/capring.h). One at a time, by --capture or by the administration command `capture`, and then until the connection
 * ends that asked for it. A file that cannot be written ends the capture and nothing else. */
#ifndef ZSTACK_CAPTURE_H
#define ZSTACK_CAPTURE_H

#include "internal.h"

#define CAPTURE_SNAPLEN_MIN 64u
#define CAPTURE_SNAPLEN_MAX 262144u /* as tcpdump: everything */
#define CAPTURE_SIZE_MAX_MIB 1048576u

/* By the options, if they say so. False and *f: the file cannot be written. */
bool capture_open(struct engine *e, struct engine_failure *f);
void capture_close(struct engine *e);
void capture_due(struct engine *e);
json_t *capture_command(struct engine *e, struct admin_conn *a, json_t *request);
void capture_forget(struct engine *e, const struct admin_conn *a); /* the connection ends */
void capture_ports(struct engine *e); /* the wire is there: its frames, too */
json_t *capture_status(struct engine *e); /* NULL: nothing is captured */

#endif
