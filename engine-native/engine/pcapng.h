/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A writer of pcapng files (draft-ietf-opsawg-pcapng). DPDK's librte_pcapng knows Ethernet devices only and, in 22.11, no comments
 * on packets; the traffic between programs has no device, and names. What is in the file is always whole blocks: a write that fails
 * cuts off the block that it broke. */
#ifndef ZSTACK_PCAPNG_H
#define ZSTACK_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PCAPNG_ETHERNET 1u /* LINKTYPE_ETHERNET */
#define PCAPNG_RAW 101u    /* LINKTYPE_RAW: begins with the IP header */

enum pcapng_direction { PCAPNG_UNKNOWN, PCAPNG_IN, PCAPNG_OUT }; /* as epb_flags has it */

struct pcapng_packet {
    uint32_t interface; /* from 0, in the order of pcapng_interface() */
    uint64_t time_ns;   /* CLOCK_REALTIME */
    uint32_t len;       /* of the packet on the wire */
    uint32_t kept;      /* of the first pieces of iov, at most len */
    const struct iovec *iov;
    enum pcapng_direction direction;
    const char *comment; /* NULL none */
};

struct pcapng;

/* Takes the descriptor of an empty regular file over. `most`: bytes that the file may get, 0 no limit. NULL: no memory, and the
 * descriptor is still the caller's. */
struct pcapng *pcapng_open(int fd, const char *program, uint64_t most);
void pcapng_interface(struct pcapng *w, uint32_t link_type, uint32_t snaplen, const char *name, const char *description);
void pcapng_packet(struct pcapng *w, const struct pcapng_packet *p);
/* What an interface saw, at the end: packets that came and, of them, those that are not in the file. */
void pcapng_statistics(struct pcapng *w, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t dropped);
/* What is in memory goes to the file. */
void pcapng_flush(struct pcapng *w);
/* Nothing is written any more: 0 no, -EOVERFLOW `most` is reached, other negative errno: the file cannot be written. */
int pcapng_error(const struct pcapng *w);
uint64_t pcapng_size(const struct pcapng *w); /* bytes, those in memory too */
uint64_t pcapng_packets(const struct pcapng *w);
void pcapng_close(struct pcapng *w);

#endif
