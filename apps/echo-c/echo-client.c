/* SPDX-License-Identifier: BSD-3-Clause */
/* echo-client HOST PORT TEXT [COUNT]: sends TEXT COUNT times (default 1) and checks that it comes back each time. */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: echo-client HOST PORT TEXT [COUNT]\n");
        return 2;
    }

    int fd = connect_to(argv[1], (int)number(argv[2], "PORT", 1, 65535));
    long count = argc == 5 ? number(argv[4], "COUNT", 1, 1000000000) : 1;
    size_t size = strlen(argv[3]);
    char *answer = malloc(size + 1);

    if (answer == NULL)
        die("malloc");
    for (long i = 0; i < count; i++) {
        write_all(fd, argv[3], size);
        if (size > 0 && (!read_all(fd, answer, size) || memcmp(answer, argv[3], size) != 0)) {
            fprintf(stderr, "echo-client: message %ld came back different\n", i);
            return 1;
        }
    }
    printf("%ld messages of %zu bytes came back\n", count, size);
    free(answer);
    close(fd);
    return 0;
}
