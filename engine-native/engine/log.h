/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's log: one line per event, time and level first. */
#ifndef ZSTACK_ENGINE_LOG_H
#define ZSTACK_ENGINE_LOG_H

#include <stdbool.h>

enum log_level { LOG_L_ERROR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG };

struct log {
    enum log_level level;
    int fd;         /* file, or -1 */
    bool to_stderr;
};

/* Returns 0 or a negative errno value when the file cannot be opened. */
int log_open(struct log *log, enum log_level level, const char *file, bool also_stderr);
void log_close(struct log *log);
void log_line(struct log *log, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool log_level_parse(const char *text, enum log_level *level);

#define LOG_ERROR(e, ...) log_line(&(e)->log, LOG_L_ERROR, __VA_ARGS__)
#define LOG_WARN(e, ...) log_line(&(e)->log, LOG_L_WARN, __VA_ARGS__)
#define LOG_INFO(e, ...) log_line(&(e)->log, LOG_L_INFO, __VA_ARGS__)
#define LOG_DEBUG(e, ...) log_line(&(e)->log, LOG_L_DEBUG, __VA_ARGS__)

#endif
