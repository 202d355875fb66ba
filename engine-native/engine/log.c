/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

bool log_level_parse(const char *text, enum log_level *level)
{
    for (int i = 0; i <= LOG_L_DEBUG; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

int log_open(struct log *log, enum log_level level, const char *file, bool also_stderr)
{
    log->level = level;
    log->fd = -1;
    log->to_stderr = file == NULL || also_stderr;
    if (file == NULL)
        return 0;
    log->fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return log->fd < 0 ? -errno : 0;
}

void log_close(struct log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

void log_line(struct log *log, enum log_level level, const char *format, ...)
{
    if (level > log->level)
        return;
    char line[1024];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    int n = (int)strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += snprintf(line + n, sizeof line - (size_t)n, ".%03ldZ zstackd: %s: ", now.tv_nsec / 1000000,
                  level_names[level]);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    n = m < 0 ? n : n + m < (int)sizeof line - 1 ? n + m : (int)sizeof line - 2;
    /* Names come from applications: a line stays one line. */
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    line[n++] = '\n';
    /* A full disk or a closed terminal must not stop the engine. */
    if (log->fd >= 0 && write(log->fd, line, (size_t)n) < 0)
        return;
    if (log->to_stderr && write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
}
