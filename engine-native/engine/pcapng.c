/* SPDX-License-Identifier: BSD-3-Clause
 * See pcapng.h. Numbers are in this host's byte order, which the section header tells. */
#define _GNU_SOURCE
#include "pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

#define OPT_END 0u
#define OPT_COMMENT 1u
#define SHB_USERAPPL 4u
#define IF_NAME 2u
#define IF_DESCRIPTION 3u
#define IF_TSRESOL 9u
#define EPB_FLAGS 2u
#define ISB_IFRECV 4u
#define ISB_IFDROP 5u

#define BUFFER (512u << 10)
#define BLOCK_MAX (128u << 10) /* a packet of 64 KiB and its options */
#define TEXT_MAX 1024u

struct pcapng {
    int fd, error;
    uint64_t most;
    uint64_t at;    /* bytes in the file */
    size_t used;    /* whole blocks in the buffer, bytes */
    size_t block;   /* where the block begins that is being made */
    size_t end;     /* and where it ends so far */
    uint64_t packets;
    uint8_t buffer[BUFFER];
};

/* ---- The file ---- */

/* The buffer's first `written` bytes went out; what they have of a broken block is taken back. */
static void cut(struct pcapng *w, size_t written)
{
    size_t whole = 0;
    for (uint32_t len; whole < w->used; whole += len) {
        memcpy(&len, w->buffer + whole + 4, sizeof len);
        if (whole + len > written)
            break;
    }
    w->at += whole;
    w->used = 0;
    if (ftruncate(w->fd, (off_t)w->at) != 0 && w->error == 0)
        w->error = -errno;
}

void pcapng_flush(struct pcapng *w)
{
    size_t written = 0;
    while (written < w->used) {
        ssize_t n = write(w->fd, w->buffer + written, w->used - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            w->error = n < 0 ? -errno : -EIO;
            cut(w, written);
            return;
        }
        written += (size_t)n;
    }
    w->at += w->used;
    w->used = 0;
}

/* ---- Blocks ---- */

static void put(struct pcapng *w, const void *data, size_t n)
{
    memcpy(w->buffer + w->end, data, n);
    w->end += n;
}

static void put32(struct pcapng *w, uint32_t v)
{
    put(w, &v, sizeof v);
}

static void pad(struct pcapng *w)
{
    while (w->end % 4 != 0)
        w->buffer[w->end++] = 0;
}

/* False: nothing is written any more. */
static bool begin(struct pcapng *w, uint32_t type)
{
    if (w->error == 0 && w->used + BLOCK_MAX > BUFFER)
        pcapng_flush(w);
    if (w->error != 0)
        return false;
    w->block = w->end = w->used;
    put32(w, type);
    put32(w, 0);
    return true;
}

static bool end(struct pcapng *w)
{
    uint32_t len = (uint32_t)(w->end - w->block) + 4;
    put32(w, len);
    memcpy(w->buffer + w->block + 4, &len, sizeof len);
    if (w->most != 0 && w->at + w->end > w->most) {
        w->error = -EOVERFLOW;
        return false;
    }
    w->used = w->end;
    return true;
}

static void option(struct pcapng *w, uint16_t code, const void *value, size_t n)
{
    uint16_t len = (uint16_t)(n < TEXT_MAX ? n : TEXT_MAX);
    put(w, &code, sizeof code);
    put(w, &len, sizeof len);
    put(w, value, len);
    pad(w);
}

static void text(struct pcapng *w, uint16_t code, const char *value)
{
    if (value != NULL)
        option(w, code, value, strlen(value));
}

static void put_time(struct pcapng *w, uint64_t ns)
{
    put32(w, (uint32_t)(ns >> 32));
    put32(w, (uint32_t)ns);
}

struct pcapng *pcapng_open(int fd, const char *program, uint64_t most)
{
    struct pcapng *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->fd = fd;
    w->most = most;
    begin(w, BLOCK_SECTION);
    put32(w, BYTE_ORDER_MAGIC);
    put32(w, 1); /* version 1.0: major in the low half on little-endian hosts, which is all that Z-stack runs on */
    put32(w, UINT32_MAX); /* length of the section, 64 bits: not said */
    put32(w, UINT32_MAX);
    text(w, SHB_USERAPPL, program);
    put32(w, OPT_END);
    end(w);
    return w;
}

void pcapng_interface(struct pcapng *w, uint32_t link_type, uint32_t snaplen, const char *name, const char *description)
{
    const uint8_t nanoseconds = 9;
    if (!begin(w, BLOCK_INTERFACE))
        return;
    put32(w, link_type);
    put32(w, snaplen);
    text(w, IF_NAME, name);
    text(w, IF_DESCRIPTION, description);
    option(w, IF_TSRESOL, &nanoseconds, sizeof nanoseconds);
    put32(w, OPT_END);
    end(w);
}

void pcapng_packet(struct pcapng *w, const struct pcapng_packet *p)
{
    if (!begin(w, BLOCK_PACKET))
        return;
    put32(w, p->interface);
    put_time(w, p->time_ns);
    put32(w, p->kept);
    put32(w, p->len);
    uint32_t left = p->kept;
    for (const struct iovec *v = p->iov; left > 0; v++) {
        uint32_t n = v->iov_len < left ? (uint32_t)v->iov_len : left;
        put(w, v->iov_base, n);
        left -= n;
    }
    pad(w);
    if (p->direction != PCAPNG_UNKNOWN)
        option(w, EPB_FLAGS, &(uint32_t){p->direction}, 4);
    text(w, OPT_COMMENT, p->comment);
    put32(w, OPT_END);
    if (end(w))
        w->packets++;
}

void pcapng_statistics(struct pcapng *w, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t dropped)
{
    if (!begin(w, BLOCK_STATISTICS))
        return;
    put32(w, interface);
    put_time(w, time_ns);
    option(w, ISB_IFRECV, &received, sizeof received);
    option(w, ISB_IFDROP, &dropped, sizeof dropped);
    put32(w, OPT_END);
    end(w);
}

int pcapng_error(const struct pcapng *w)
{
    return w->error;
}

uint64_t pcapng_size(const struct pcapng *w)
{
    return w->at + w->used;
}

uint64_t pcapng_packets(const struct pcapng *w)
{
    return w->packets;
}

void pcapng_close(struct pcapng *w)
{
    pcapng_flush(w);
    close(w->fd);
    free(w);
}
