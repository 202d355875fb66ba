/* SPDX-License-Identifier: BSD-3-Clause
 * Readiness of a descriptor for JavaScript: uv_poll on a duplicate, since libuv has the original. */
#ifndef ZSTACK_ADDON_POLLER_H
#define ZSTACK_ADDON_POLLER_H

#include <napi.h>
#include <uv.h>

/* new Poller(fd, callback): start(events) waits once for 1 readable, 2 writable, then callback(events); stop(); close(). Keeps the
 * loop alive while it waits, unless unref() was called. `error`: a negative errno when it could not be made. */
class Poller : public Napi::ObjectWrap<Poller> {
public:
    static Napi::Function define(Napi::Env env);
    explicit Poller(const Napi::CallbackInfo &info);
    ~Poller() override;

private:
    /* Lives until libuv has closed it, which may be after the object. */
    struct Handle {
        uv_poll_t poll;
        int fd;
        Poller *owner;
    };
    static void ready(uv_poll_t *poll, int status, int events);
    static void closed(uv_handle_t *handle);
    static void environment_ends(void *self);
    Napi::Value start(const Napi::CallbackInfo &info);
    Napi::Value stop(const Napi::CallbackInfo &info);
    Napi::Value close(const Napi::CallbackInfo &info);
    Napi::Value unref(const Napi::CallbackInfo &info);
    void tell(int what);
    void let_go();

    Handle *handle_ = nullptr;
    Napi::FunctionReference callback_;
};

#endif
