/* SPDX-License-Identifier: BSD-3-Clause
 * FreeBSD's sysctls, by name as sysctl(8) has them. A name is found by the meta sysctls {0, 3} (number) and {0, 4} (kind); what
 * can only be set at boot (loader.conf(5) there) is in the configuration that libfstack starts with and is compared here. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

/* sys/sysctl.h there. */
#define BSD_CTLTYPE 0xfu
#define BSD_CTLTYPE_STRING 3u
#define BSD_CTLFLAG_WR 0x40000000u

/* By CTLTYPE_*: the numbers' sizes in bytes. */
static const struct {
    uint8_t size;
    bool is_signed;
} numbers[BSD_CTLTYPE + 1] = {[2] = {4, true}, [4] = {8, true}, [6] = {4, false}, [7] = {8, true}, [8] = {8, false},
                              [9] = {8, false}, [10] = {1, false}, [11] = {2, false}, [12] = {1, true}, [13] = {2, true},
                              [14] = {4, true}, [15] = {4, false}};

struct setting {
    char name[FS_SYSCTL_MAX];
    const char *value;
    int oid[FS_OID_MAX];
    unsigned len;
    uint32_t kind;
};

unsigned fs_sysctl_find(const char *name, int oid[FS_OID_MAX])
{
    static const int name_to_oid[] = {0, 3};
    size_t size = FS_OID_MAX * sizeof *oid;
    return ff_sysctl(name_to_oid, 2, oid, &size, name, strlen(name)) == 0 ? (unsigned)(size / sizeof *oid) : 0;
}

static bool find(const char *text, struct setting *s)
{
    int ask[FS_OID_MAX + 2] = {0, 4};
    uint8_t kind[sizeof s->kind + 64]; /* and a format */
    size_t size = sizeof kind;
    const char *equals = strchr(text, '=');
    snprintf(s->name, sizeof s->name, "%.*s", (int)(equals - text), text);
    s->value = equals + 1;
    s->len = fs_sysctl_find(s->name, s->oid);
    if (s->len == 0)
        return false;
    memcpy(ask + 2, s->oid, s->len * sizeof *s->oid);
    if (ff_sysctl(ask, s->len + 2, kind, &size, NULL, 0) != 0 || size < sizeof s->kind)
        return false;
    memcpy(&s->kind, kind, sizeof s->kind);
    return true;
}

static bool is_text(const struct setting *s)
{
    return (s->kind & BSD_CTLTYPE) == BSD_CTLTYPE_STRING;
}

static bool is_number(const struct setting *s)
{
    return numbers[s->kind & BSD_CTLTYPE].size > 0;
}

/* The value as the sysctl has it in memory (little endian, as every machine that DPDK and libfstack run on). */
static bool parse_number(const struct setting *s, uint64_t *bits)
{
    unsigned width = numbers[s->kind & BSD_CTLTYPE].size * 8u;
    bool is_signed = numbers[s->kind & BSD_CTLTYPE].is_signed;
    char *end;
    errno = 0;
    if (is_signed) {
        int64_t most = INT64_MAX >> (64 - width), n = strtoll(s->value, &end, 10);
        *bits = (uint64_t)n;
        return errno == 0 && end != s->value && *end == 0 && n <= most && n >= -most - 1;
    }
    *bits = strtoull(s->value, &end, 10);
    return errno == 0 && end != s->value && *end == 0 && s->value[0] != '-' && *bits <= UINT64_MAX >> (64 - width);
}

/* What it is now, as text. */
static bool read_text(const struct setting *s, char *to, size_t size)
{
    uint8_t now[FS_SYSCTL_MAX] = {0};
    size_t len = sizeof now - 1;
    int64_t number = 0;
    if (ff_sysctl(s->oid, s->len, now, &len, NULL, 0) != 0)
        return false;
    if (is_text(s)) {
        snprintf(to, size, "%s", (const char *)now);
        return true;
    }
    unsigned bytes = numbers[s->kind & BSD_CTLTYPE].size;
    memcpy(&number, now, RTE_MIN(len, sizeof number));
    if (numbers[s->kind & BSD_CTLTYPE].is_signed && bytes < 8)
        number = (int64_t)((uint64_t)number << (64 - bytes * 8)) >> (64 - bytes * 8);
    snprintf(to, size, numbers[s->kind & BSD_CTLTYPE].is_signed ? "%jd" : "%ju", (intmax_t)number);
    return true;
}

static bool refuse(struct engine_failure *f, const struct setting *s, const char *why)
{
    engine_fail(f, ENGINE_EXIT_USAGE, "ZS2132", "sysctl(8) of FreeBSD 13 and tcp(4), mod_cc(4) there have the names and values",
                "--fstack-sysctl %s=%s: %s", s->name, s->value, why);
    return false;
}

static bool apply(const char *text, struct engine_failure *f)
{
    struct setting s = {0};
    char now[FS_SYSCTL_MAX];
    uint64_t bits = 0;
    if (!find(text, &s))
        return refuse(f, &s, "this libfstack has no such sysctl");
    if (strcmp(s.name, "kern.hz") == 0)
        return refuse(f, &s, "the engine ticks this clock");
    if (!is_text(&s) && !is_number(&s))
        return refuse(f, &s, "it is neither a number nor a text");
    if (is_number(&s) && !parse_number(&s, &bits))
        return refuse(f, &s, "expected a whole number in its range");
    if (s.kind & BSD_CTLFLAG_WR) {
        const void *value = is_text(&s) ? (const void *)s.value : &bits;
        size_t size = is_text(&s) ? strlen(s.value) + 1 : numbers[s.kind & BSD_CTLTYPE].size;
        return ff_sysctl(s.oid, s.len, NULL, NULL, value, size) == 0 || refuse(f, &s, strerror(errno));
    }
    return (read_text(&s, now, sizeof now) && strcmp(now, s.value) == 0) || refuse(f, &s, "it cannot be set");
}

bool fs_sysctls_apply(const struct fstack *fs, struct engine_failure *f)
{
    for (uint32_t i = 0; i < fs->nsysctls; i++)
        if (!apply(fs->sysctls[i], f))
            return false;
    return true;
}

/* ---- For the status ---- */

static json_t *settings(const struct fstack *fs)
{
    json_t *all = json_object();
    for (uint32_t i = 0; i < fs->nsysctls; i++) {
        struct setting s = {0};
        char now[FS_SYSCTL_MAX];
        if (find(fs->sysctls[i], &s) && read_text(&s, now, sizeof now))
            json_object_set_new(all, s.name, json_string(now));
    }
    return all;
}

/* Connections and listeners by the TCP that serves them: lines of a name in 32 columns, a mark, an alias and the count. */
static json_t *functions(void)
{
    int oid[FS_OID_MAX];
    char text[2048] = "", *rest = text;
    size_t size = sizeof text - 1;
    unsigned len = fs_sysctl_find("net.inet.tcp.functions_available", oid);
    json_t *all = json_object();
    if (len == 0 || ff_sysctl(oid, len, text, &size, NULL, 0) != 0)
        return all;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char name[33];
        const char *count = strrchr(line, ' ');
        if (count != NULL && count[1] >= '0' && count[1] <= '9' && sscanf(line, "%32s", name) == 1)
            json_object_set_new(all, name, json_integer(atoll(count + 1)));
    }
    return all;
}

void fs_describe_sysctls(const struct fstack *fs, json_t *wire)
{
    json_object_set_new(wire, "sysctls", settings(fs));
    json_object_set_new(wire, "tcp_functions", functions());
}
