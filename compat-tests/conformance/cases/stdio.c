/* SPDX-License-Identifier: BSD-3-Clause
 * stdio on a socket. */
#include "lib.h"

static void streams(void)
{
    int p[2];
    char line[64];
    tcp_pair(p);
    FILE *a = fdopen(p[0], "r+"), *b = fdopen(p[1], "r+");
    CHECK(a != NULL && b != NULL);
    trace("fileno agrees %d", fileno(a) == p[0]);
    R(fprintf(a, "GET %d\n", 42));
    R(fflush(a));
    trace("got %s", fgets(line, sizeof line, b));
    fprintf(b, "one\ntwo\nthree");
    R(fclose(b));
    while (fgets(line, sizeof line, a) != NULL)
        trace("line %s", line[strcspn(line, "\n")] == '\n' ? "complete" : line);
    trace("end %d, error %d", feof(a) != 0, ferror(a) != 0);
    R(fclose(a));
    R(close(p[0]));
}

static void separate(void)
{
    int p[2];
    char buf[64] = "";
    tcp_pair(p);
    FILE *in = fdopen(p[0], "r"), *out = fdopen(OK(dup(p[0])), "w");
    FILE *peer_in = fdopen(p[1], "r");
    setvbuf(out, NULL, _IOLBF, 0);
    fputs("line buffered\n", out);
    trace("%s", fgets(buf, sizeof buf, peer_in));
    setvbuf(peer_in, NULL, _IONBF, 0);
    size_t sent = 0;
    for (int i = 0; i < 10000; i++)
        sent += (size_t)fprintf(out, "%d,", i);
    R(fclose(out));
    R(fclose(in));
    size_t got = 0;
    int c;
    while ((c = fgetc(peer_in)) != EOF)
        got++;
    trace("all characters %d", got == sent);
    R(fclose(peer_in));
}

static void *answer(void *arg)
{
    char buf[64];
    ssize_t n = read(*(int *)arg, buf, sizeof buf);
    if (n > 0)
        write_all(*(int *)arg, buf, (size_t)n);
    return NULL;
}

/* Standard input and output themselves. */
static void standard(void)
{
    int p[2], was = OK(fcntl(STDOUT_FILENO, F_DUPFD, 50));
    char buf[64] = "";
    tcp_pair(p);
    OK(dup2(p[0], STDOUT_FILENO));
    pthread_t t = thread(answer, &p[1]);
    printf("through printf\n");
    fflush(stdout);
    read_exact(p[0], buf, 15);
    OK(dup2(was, STDOUT_FILENO));
    join(t);
    trace("%s", buf);
    OK(close(was));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void dprintf_it(void)
{
    int p[2];
    tcp_pair(p);
    R(dprintf(p[0], "%s %d", "number", 7));
    settle();
    show_recv("peer", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case stdio_cases[] = {
    {"stdio_streams", streams, TCP, NULL},
    {"stdio_separate", separate, TCP, NULL},
    {"stdio_standard", standard, TCP, NULL},
    {"stdio_dprintf", dprintf_it, TCP, NULL},
    {0},
};
