/* SPDX-License-Identifier: BSD-3-Clause
 * The administration socket: JSON, one object per line, both ways; and the events that lease holders get. */
#define _GNU_SOURCE
#include "capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADMIN_MAX 256u
#define LINE_MAX_BYTES 65536u
#define OUTPUT_MAX (8u << 20) /* of one connection: who does not read that much does not read */

void admin_close(struct engine *e, struct admin_conn *a)
{
    TAILQ_REMOVE(&e->admins, a, link);
    e->admin_count--;
    source_close(e, &a->src);
    capture_forget(e, a);
    free(a->in);
    free(a->out);
    a->in = a->out = NULL;
    defer_free(e, a);
    if (a->lease) {
        a->lease = false;
        e->leases--;
        linger_update(e);
    }
}

/* Writes what it can; false when the connection is closed. */
static bool flush(struct engine *e, struct admin_conn *a)
{
    while (a->out_sent < a->out_len) {
        ssize_t n = send(a->src.fd, a->out + a->out_sent, a->out_len - a->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            source_events(e, &a->src, EPOLLIN | EPOLLOUT);
            return true;
        }
        if (n < 0) {
            admin_close(e, a);
            return false;
        }
        a->out_sent += (size_t)n;
    }
    a->out_sent = a->out_len = 0;
    source_events(e, &a->src, EPOLLIN);
    if (a->closing)
        admin_close(e, a);
    return !a->closing;
}

static bool append(struct admin_conn *a, const char *text, size_t n)
{
    if (a->out_sent > 0) {
        memmove(a->out, a->out + a->out_sent, a->out_len - a->out_sent);
        a->out_len -= a->out_sent;
        a->out_sent = 0;
    }
    char *more = a->out_len + n + 1 > OUTPUT_MAX ? NULL : realloc(a->out, a->out_len + n + 1);
    if (more == NULL)
        return false;
    a->out = more;
    memcpy(a->out + a->out_len, text, n);
    a->out[a->out_len + n] = '\n';
    a->out_len += n + 1;
    return true;
}

void admin_send(struct engine *e, struct admin_conn *a, json_t *object)
{
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(object);
    if (text == NULL)
        return;
    bool kept = append(a, text, strlen(text));
    free(text);
    if (kept)
        flush(e, a);
    else
        admin_close(e, a);
}

static bool wants(const struct admin_conn *a, const char *run, bool life)
{
    return a->lease && !a->closing && (a->lives || !life) && (run == NULL || strcmp(run, a->run) == 0);
}

static void send_event(struct engine *e, const char *run, bool life, json_t *event)
{
    struct admin_conn *a, *next;
    for (a = TAILQ_FIRST(&e->admins); a != NULL && event != NULL; a = next) {
        next = TAILQ_NEXT(a, link);
        if (wants(a, run, life))
            admin_send(e, a, json_incref(event));
    }
    json_decref(event);
}

void admin_event(struct engine *e, const char *run, json_t *event)
{
    send_event(e, run, false, event);
}

void admin_life_event(struct engine *e, const struct client *c, const char *event)
{
    struct admin_conn *a;
    bool any = false;
    TAILQ_FOREACH(a, &e->admins, link)
        any |= wants(a, c->run, true);
    if (any)
        send_event(e, c->run, true, json_pack("{s:s, s:i, s:s}", "event", event, "pid", (int)c->pid, "name", c->name));
}

void admin_warn(struct engine *e, const char *text)
{
    LOG_WARN(e, "%s", text);
    admin_event(e, NULL, json_pack("{s:s, s:s}", "event", "warning", "text", text));
}

static void line(struct engine *e, struct admin_conn *a, const char *text, size_t n)
{
    json_error_t error;
    json_t *request = json_loadb(text, n, 0, &error), *answer;
    COUNT(e, ADMIN_REQUESTS);
    if (!json_is_object(request))
        answer = admin_error("ZS2001", "send one JSON object per line: {\"id\": 1, \"cmd\": \"ping\"}",
                             "not a JSON object: %s", request == NULL ? error.text : "another type");
    else
        answer = admin_command(e, a, request);
    json_t *id = request == NULL ? NULL : json_object_get(request, "id");
    json_object_set_new(answer, "id", id == NULL ? json_null() : json_incref(id));
    json_decref(request);
    admin_send(e, a, answer);
}

/* Handles the complete lines of the input. */
static void lines(struct engine *e, struct admin_conn *a)
{
    size_t start = 0;
    char *end;
    while (a->src.fd >= 0 && !a->closing && (end = memchr(a->in + start, '\n', a->in_len - start)) != NULL) {
        size_t n = (size_t)(end - (a->in + start));
        size_t at = start;
        start += n + 1;
        if (n > 0)
            line(e, a, a->in + at, n);
    }
    if (a->src.fd < 0)
        return;
    memmove(a->in, a->in + start, a->in_len - start);
    a->in_len -= start;
    if (a->in_len == LINE_MAX_BYTES) {
        a->closing = true;
        json_t *error = admin_error("ZS2001", "requests are short", "a line of more than %u bytes", LINE_MAX_BYTES);
        json_object_set_new(error, "id", json_null());
        admin_send(e, a, error);
    }
}

static void conn_ready(struct engine *e, struct source *s, uint32_t events)
{
    struct admin_conn *a = CONTAINER(s, struct admin_conn, src);
    if ((events & EPOLLOUT) && !flush(e, a))
        return;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n = recv(s->fd, a->in + a->in_len, LINE_MAX_BYTES - a->in_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        admin_close(e, a);
        return;
    }
    a->in_len += (size_t)n;
    lines(e, a);
}

static void conn_new(struct engine *e, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    bool allowed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && (cred.uid == e->uid || cred.uid == 0);
    struct admin_conn *a = allowed && e->admin_count < ADMIN_MAX ? calloc(1, sizeof *a) : NULL;
    if (a == NULL || (a->in = malloc(LINE_MAX_BYTES)) == NULL || source_add(e, &a->src, fd, EPOLLIN, conn_ready) != 0) {
        if (a != NULL)
            free(a->in);
        free(a);
        close(fd);
        return;
    }
    TAILQ_INSERT_TAIL(&e->admins, a, link);
    e->admin_count++;
}

void admin_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)events;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                accept_pause(e, s);
            return;
        }
        conn_new(e, fd);
    }
}
