/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An engine inside the test, driven by hand with a clock of the test's own, and clients: this process, or children that
 * attach, prepare something and wait to be told or killed. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <sys/types.h>
#include <zstack/ctl.h>

#include "engine.h"
#include "ops.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

struct fixture {
    struct engine *e;
    uint64_t now;
    char name[32];
};

struct test_client {
    int fd;
    uint32_t seq;
    uint8_t token[16];
    struct zs_view view;
    int bell; /* the engine's doorbell */
};

/* cmocka set-up and tear-down; *state is the fixture. The tear-down also checks that nothing is left in the arena. */
int fixture_setup(void **state);
int fixture_setup_small(void **state); /* 1 MiB of ring memory */
int fixture_teardown(void **state);
int fixture_teardown_unclean(void **state); /* for tests that scribble */
/* Lets the engine work until `done` says so; fails the test after five seconds. */
void until(struct fixture *f, bool (*done)(struct fixture *f, void *arg), void *arg);
void advance(struct fixture *f, uint64_t ns);
void settle(struct fixture *f); /* handles what is ready now */

int control_connect(const char *name);
/* Sends a request and waits for the answer; `f` NULL: the engine runs elsewhere. Returns reply.error. *fd: in and out, -1 none. */
int rpc_full(struct fixture *f, struct test_client *c, struct zs_ctl_request *r, size_t len, struct zs_ctl_reply *reply,
             int *fd);
int rpc(struct fixture *f, struct test_client *c, uint32_t op, uint32_t a, uint32_t b, int fd, struct zs_ctl_reply *reply);
/* Without waiting for it to be read: there is no reply. */
void tell_share(struct test_client *c, uint32_t session, uint32_t gen, uint64_t cookie);
int rpc_share(struct fixture *f, struct test_client *c, uint32_t session, uint32_t gen, uint64_t cookie);
/* HELLO; maps the arena. Returns reply.error. */
int attach(struct fixture *f, const char *name, struct test_client *c, const uint8_t *token);
void detach(struct test_client *c);

/* A child with none of our descriptors. It attaches and runs `body`; then, if that returned 0, reports and waits to be
 * killed. The call returns when the child reported; its number is `pid`. What body stores in `out` comes back. */
struct child {
    pid_t pid;
    uint32_t out[8];
};
void child_start(struct fixture *f, struct child *child, int (*body)(struct test_client *c, uint32_t *out, void *arg),
                 void *arg);
void child_kill(struct fixture *f, struct child *child);

int tcp_listener(uint16_t *port);
int udp_socket(uint16_t *port);
uint64_t cookie_of(int fd);
struct zs_addr loopback(uint16_t port);

uint32_t sessions_in_use(struct zs_arena *a);
uint32_t blocks_in_use(struct zs_arena *a);

/* What a connecting client does, without taking care of a full queue. Returns zs_accept_push()'s result. */
int shm_connect(struct zs_view *v, uint32_t listener_session, uint32_t *client_end, uint32_t *server_end);

#endif
