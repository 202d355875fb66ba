/* SPDX-License-Identifier: BSD-3-Clause
 * Programs that wait for events by system calls of their own. A runtime that makes its sockets and its epoll sets through the C library but has
 * the wait itself inline (Bun: epoll_pwait2) would sleep in the kernel's set, where nothing of shared memory is ever told. Such a program
 * is known by its code before it gets its first socket from us, and is left to the kernel as a whole. */
#include "preload.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>

#define CHUNK (UINT64_C(256) << 10)
#define REACH 48 /* as far before the call its number is put into eax: compilers set the arguments in between */

static bool is_wait(uint32_t number)
{
    return number == SYS_epoll_wait || number == SYS_epoll_pwait || number == SYS_epoll_pwait2;
}

/* Whether `syscall` at p[at] has one of these numbers: mov $number, %eax not far before it. */
static bool waits_at(const uint8_t *p, size_t at)
{
    for (size_t i = at > REACH ? at - REACH : 0; i + 5 <= at; i++) {
        uint32_t number;
        memcpy(&number, p + i + 1, sizeof number);
        if (p[i] == 0xb8 && is_wait(number))
            return true;
    }
    return false;
}

static bool waits_in(const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    for (const uint8_t *q = p; (q = memchr(q, 0x05, (size_t)(end - q))) != NULL; q++)
        if (q > p && q[-1] == 0x0f && waits_at(p, (size_t)(q - 1 - p)))
            return true;
    return false;
}

/* n bytes of the file from `from` on, in pieces that overlap by what belongs to one call. */
static bool waits_in_file(int fd, uint64_t from, uint64_t n, uint8_t *buffer)
{
    for (uint64_t at = 0; at < n; at += CHUNK - REACH - 2) {
        uint64_t want = n - at < CHUNK ? n - at : CHUNK;
        long got = zs_sys(SYS_pread64, fd, buffer, want, from + at);
        if (got <= 0)
            return false;
        if (waits_in(buffer, (size_t)got))
            return true;
        if (want < CHUNK)
            break;
    }
    return false;
}

static bool waits_in_elf(int fd, uint8_t *buffer)
{
    Elf64_Ehdr head;
    if (zs_sys(SYS_pread64, fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_phentsize != sizeof(Elf64_Phdr))
        return false;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;
        if (zs_sys(SYS_pread64, fd, &part, sizeof part, head.e_phoff + i * sizeof part) != sizeof part)
            return false;
        if (part.p_type == PT_LOAD && (part.p_flags & PF_X) && waits_in_file(fd, part.p_offset, part.p_filesz, buffer))
            return true;
    }
    return false;
}

bool waits_by_itself(void)
{
    long fd = zs_sys(SYS_openat, AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    uint8_t *buffer = zs_chunk_alloc(CHUNK);
    bool found = buffer != NULL && waits_in_elf((int)fd, buffer);
    if (buffer != NULL)
        munmap(buffer, CHUNK);
    zs_sys(SYS_close, fd);
    return found;
}
