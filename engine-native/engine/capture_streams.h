/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What programs of this host send each other, as the packets that TCP and UDP would have sent: whole connections with handshake,
 * sequence numbers, acknowledgements as far as data was read, FIN and RST, and comments that name the programs. */
#ifndef ZSTACK_CAPTURE_STREAMS_H
#define ZSTACK_CAPTURE_STREAMS_H

#include "ops.h"
#include "pcapng.h"

#define STREAMS_ROOM 128u /* before the data, for headers */
#define STREAMS_DATA_MAX 65536u

struct streams;

struct streams_program {
    uint32_t pid;
    char name[16];
};

struct streams *streams_new(void); /* NULL: no memory */
void streams_free(struct streams *s);
/* Where zs_capture_take() puts the data of the next record, STREAMS_DATA_MAX bytes. */
uint8_t *streams_data(struct streams *s);
/* Writes the packets of a record that was just taken. `listener`: the program of the endpoint that rec->listener names;
 * pid 0: not known. Nothing in the record is trusted but rec->kept. */
void streams_record(struct streams *s, struct pcapng *w, const struct zs_capture_record *rec, uint32_t interface, uint32_t snaplen,
                    const struct streams_program *listener);

#endif
