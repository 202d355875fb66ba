/* SPDX-License-Identifier: BSD-3-Clause
 * zstackd's command line. */
#define _GNU_SOURCE
#include "options.h"
#include "capture.h"
#include "wire_stack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ZSTACK_VERSION
#define ZSTACK_VERSION "0.1.0"
#endif

#define MEMORY_DEFAULT_MIB 1024u
#define MEMORY_MIN_MIB 1u
#define MEMORY_MAX_MIB 12288u /* the ranges of all block classes together */
#define LINGER_MAX_S 86400u
#define POLL_US_MAX 1000000u
#define POLL_US_DEFAULT 50u
#define SYSCTL_TEXT_MAX 200u /* of a name, of a value */

static const char usage[] =
    "usage: zstackd [options] [-- EAL-ARGUMENTS...]\n"
    "  --name NAME          name of the engine (default)\n"
    "  --linger SECONDS     end this long after the last program; 0: stay (3)\n"
    "  --memory MIB         limit of ring memory (1024)\n"
    "  --cores LIST         CPUs to run on, as 0,2-3 (all that are allowed); one for each worker if there are enough\n"
    "  --workers N          threads that serve TCP over the ports, 1 to 16 (1)\n"
    "  --poll-us US         how long after the last packet the ports are polled before the engine sleeps (50)\n"
    "  --log-level LEVEL    error, warn, info or debug (warn)\n"
    "  --log-file PATH      write the log there instead of to standard error\n"
    "  --foreground         write the log to standard error, too\n"
    "  --no-dpdk            same-host sockets only\n"
    "  --port DEVICE[,KEY=VALUE...]\n"
    "                       serve a DPDK device; ip=A.B.C.D/LEN gateway= mtu= mac= bell=; up to 8 times\n"
    "  --stack NAME         TCP/IP stack behind the ports: native (default), fstack\n"
    "  --ecn MODE           ECN of TCP: passive (default: when the peer asks), on (asked for, too), off\n"
    "  --fstack-sysctl NAME=VALUE\n"
    "                       a sysctl of FreeBSD, with --stack fstack; may be repeated\n"
    "  --capture FILE       write all traffic, also between programs, to this pcapng file\n"
    "  --capture-snaplen BYTES\n"
    "                       of each packet only so much (262144: everything)\n"
    "  --capture-max-size MIB\n"
    "                       stop when the file is that large\n"
    "  --version, --help\n";

static enum options_result refuse(struct engine_failure *f, const char *format, ...)
{
    va_list args;
    memset(f, 0, sizeof *f);
    f->status = ENGINE_EXIT_USAGE;
    snprintf(f->code, sizeof f->code, "ZS2010");
    snprintf(f->hint, sizeof f->hint, "zstackd --help lists the options");
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return OPTIONS_ERROR;
}

static bool number(const char *text, uint32_t min, uint32_t max, uint32_t *to)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || value < min || value > max)
        return false;
    *to = (uint32_t)value;
    return true;
}

/* A list of CPUs as cpuset(7) has them: 0,2-3. */
static bool cpu_list(const char *text, cpu_set_t *cpus)
{
    CPU_ZERO(cpus);
    for (const char *p = text;; p++) {
        char *end;
        if (*p < '0' || *p > '9')
            return false;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (*end == '-') {
            p = end + 1;
            if (*p < '0' || *p > '9')
                return false;
            last = strtoul(p, &end, 10);
        }
        if (first > last || last >= CPU_SETSIZE)
            return false;
        for (; first <= last; first++)
            CPU_SET(first, cpus);
        if (*end != ',')
            return *end == 0;
        p = end;
    }
}

static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= ENGINE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static bool ecn_mode(const char *text, enum engine_ecn *to)
{
    static const char *const names[] = {[ENGINE_ECN_PASSIVE] = "passive", [ENGINE_ECN_ON] = "on", [ENGINE_ECN_OFF] = "off"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *to = (enum engine_ecn)i;
            return true;
        }
    return false;
}

/* Names as FreeBSD has them; values without spaces and quotes, since they pass a configuration file. */
static bool sysctl_form(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t name = strspn(text, letters);
    const char *value = text + name + 1;
    return name > 0 && name <= SYSCTL_TEXT_MAX && text[name] == '=' && memchr(text, '.', name) != NULL && value[0] != 0 &&
           strlen(value) <= SYSCTL_TEXT_MAX && strspn(value, letters) == strlen(value);
}

static enum options_result take_sysctl(struct engine_options *o, const char *value, struct engine_failure *f)
{
    if (!sysctl_form(value))
        return refuse(f, "--fstack-sysctl: expected NAME=VALUE as net.inet.tcp.cc.algorithm=cubic, got '%s'", value);
    if (o->nsysctls == ENGINE_SYSCTLS_MAX)
        return refuse(f, "--fstack-sysctl: at most %u", ENGINE_SYSCTLS_MAX);
    o->sysctls[o->nsysctls++] = value;
    return OPTIONS_RUN;
}

/* One option with a value. */
static enum options_result take(struct engine_options *o, const char *name, char *value, struct engine_failure *f)
{
    if (strcmp(name, "--name") == 0) {
        o->name = value;
        return name_valid(value) ? OPTIONS_RUN
                                 : refuse(f, "--name: expected 1 to %u letters, digits, '.', '_' or '-', got '%s'",
                                          ENGINE_NAME_MAX, value);
    }
    if (strcmp(name, "--linger") == 0)
        return number(value, 0, LINGER_MAX_S, &o->linger_s)
                   ? OPTIONS_RUN : refuse(f, "--linger: expected 0 to %u seconds, got '%s'", LINGER_MAX_S, value);
    if (strcmp(name, "--memory") == 0)
        return number(value, MEMORY_MIN_MIB, MEMORY_MAX_MIB, &o->memory_mib)
                   ? OPTIONS_RUN : refuse(f, "--memory: expected %u to %u MiB, got '%s'", MEMORY_MIN_MIB,
                                          MEMORY_MAX_MIB, value);
    if (strcmp(name, "--workers") == 0)
        return number(value, 1, WIRE_WORKERS_MAX, &o->workers)
                   ? OPTIONS_RUN : refuse(f, "--workers: expected 1 to %u, got '%s'", WIRE_WORKERS_MAX, value);
    if (strcmp(name, "--poll-us") == 0)
        return number(value, 0, POLL_US_MAX, &o->poll_us)
                   ? OPTIONS_RUN : refuse(f, "--poll-us: expected 0 to %u microseconds, got '%s'", POLL_US_MAX, value);
    if (strcmp(name, "--cores") == 0) {
        o->pinned = true;
        return cpu_list(value, &o->cores) ? OPTIONS_RUN : refuse(f, "--cores: expected a list as 0,2-3, got '%s'", value);
    }
    if (strcmp(name, "--log-level") == 0)
        return log_level_parse(value, &o->log_level)
                   ? OPTIONS_RUN : refuse(f, "--log-level: expected error, warn, info or debug, got '%s'", value);
    if (strcmp(name, "--port") == 0) {
        if (o->nports == sizeof o->ports / sizeof o->ports[0])
            return refuse(f, "--port: at most %zu ports", sizeof o->ports / sizeof o->ports[0]);
        o->ports[o->nports++] = value;
        return OPTIONS_RUN;
    }
    if (strcmp(name, "--stack") == 0) {
        o->stack = value;
        return wire_stack_named(value) != NULL
                   ? OPTIONS_RUN : refuse(f, "--stack: this program has no stack '%s' (fstack is in zstackd-fstack, which is built "
                                          "where libfstack is installed)", value);
    }
    if (strcmp(name, "--ecn") == 0)
        return ecn_mode(value, &o->ecn) ? OPTIONS_RUN : refuse(f, "--ecn: expected passive, on or off, got '%s'", value);
    if (strcmp(name, "--fstack-sysctl") == 0)
        return take_sysctl(o, value, f);
    if (strcmp(name, "--capture") == 0) {
        o->capture = value;
        return value[0] != 0 ? OPTIONS_RUN : refuse(f, "--capture: expected a path");
    }
    if (strcmp(name, "--capture-snaplen") == 0)
        return number(value, CAPTURE_SNAPLEN_MIN, CAPTURE_SNAPLEN_MAX, &o->capture_snaplen)
                   ? OPTIONS_RUN : refuse(f, "--capture-snaplen: expected %u to %u bytes, got '%s'", CAPTURE_SNAPLEN_MIN,
                                          CAPTURE_SNAPLEN_MAX, value);
    if (strcmp(name, "--capture-max-size") == 0)
        return number(value, 1, CAPTURE_SIZE_MAX_MIB, &o->capture_max_mib)
                   ? OPTIONS_RUN : refuse(f, "--capture-max-size: expected 1 to %u MiB, got '%s'", CAPTURE_SIZE_MAX_MIB, value);
    o->log_file = value;
    return value[0] != 0 ? OPTIONS_RUN : refuse(f, "--log-file: expected a path");
}

static bool has_value(const char *name)
{
    static const char *const names[] = {"--name", "--linger", "--memory", "--cores", "--workers", "--poll-us", "--log-level", "--log-file", "--port",
                                        "--stack", "--ecn", "--fstack-sysctl", "--capture", "--capture-snaplen", "--capture-max-size"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

enum options_result options_parse(int argc, char **argv, struct engine_options *o, struct engine_failure *f)
{
    memset(o, 0, sizeof *o);
    o->name = "default";
    o->linger_s = 3;
    o->memory_mib = MEMORY_DEFAULT_MIB;
    o->poll_us = POLL_US_DEFAULT;
    o->log_level = LOG_L_WARN;
    o->capture_snaplen = CAPTURE_SNAPLEN_MAX;
    for (int i = 1; i < argc; i++) {
        char *name = argv[i], *equals = strchr(name, '='), *value = NULL;
        if (strcmp(name, "--") == 0) {
            o->eal_argc = argc - i - 1;
            o->eal_argv = argv + i + 1;
            break;
        }
        if (strcmp(name, "--help") == 0 || strcmp(name, "--version") == 0) {
            fputs(name[2] == 'h' ? usage : "zstackd " ZSTACK_VERSION "\n", stdout);
            return OPTIONS_EXIT;
        }
        if (strcmp(name, "--foreground") == 0) {
            o->foreground = true;
            continue;
        }
        if (strcmp(name, "--no-dpdk") == 0) {
            o->no_dpdk = true;
            continue;
        }
        if (equals != NULL) {
            *equals = 0;
            value = equals + 1;
        }
        if (!has_value(name))
            return refuse(f, "unknown option '%s'", name);
        if (value == NULL && i + 1 == argc)
            return refuse(f, "%s needs a value", name);
        enum options_result r = take(o, name, value != NULL ? value : argv[++i], f);
        if (r != OPTIONS_RUN)
            return r;
    }
    if (o->nsysctls > 0 && (o->stack == NULL || strcmp(o->stack, "fstack") != 0))
        return refuse(f, "--fstack-sysctl: for --stack fstack only");
    if (o->nports > 0 && o->no_dpdk)
        return refuse(f, "--port needs DPDK: it does not go with --no-dpdk");
    return OPTIONS_RUN;
}
