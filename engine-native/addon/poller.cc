/* SPDX-License-Identifier: BSD-3-Clause
 * See poller.h. */
#define NAPI_VERSION 8
#include "poller.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

Napi::Function Poller::define(Napi::Env env)
{
    return DefineClass(env, "Poller",
                       {InstanceMethod("start", &Poller::start), InstanceMethod("stop", &Poller::stop),
                        InstanceMethod("close", &Poller::close), InstanceMethod("unref", &Poller::unref)});
}

Poller::Poller(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Poller>(info)
{
    Napi::Env env = info.Env();
    uv_loop_t *loop = nullptr;
    int fd = fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 0);
    int r = fd < 0 ? -errno : 0;
    if (r == 0 && napi_get_uv_event_loop(env, &loop) != napi_ok)
        r = -ENOTSUP;
    if (r == 0) {
        handle_ = new Handle{{}, fd, this};
        r = uv_poll_init(loop, &handle_->poll, fd);
        handle_->poll.data = handle_;
        if (r != 0) {
            delete handle_;
            handle_ = nullptr;
        }
    }
    if (r != 0 && fd >= 0)
        ::close(fd);
    if (r == 0)
        napi_add_env_cleanup_hook(env, environment_ends, this);
    callback_ = Napi::Persistent(info[1].As<Napi::Function>());
    info.This().As<Napi::Object>().Set("error", Napi::Number::New(env, r));
}

Poller::~Poller()
{
    let_go();
}

void Poller::environment_ends(void *self)
{
    static_cast<Poller *>(self)->let_go();
}

void Poller::let_go()
{
    if (handle_ == nullptr)
        return;
    napi_remove_env_cleanup_hook(Env(), environment_ends, this);
    handle_->owner = nullptr;
    uv_close(reinterpret_cast<uv_handle_t *>(&handle_->poll), closed);
    /* Now, not in closed(): the connection ends when its last descriptor does. uv_close has taken it out of the loop's set. */
    ::close(handle_->fd);
    handle_ = nullptr;
}

void Poller::closed(uv_handle_t *handle)
{
    delete static_cast<Handle *>(handle->data);
}

void Poller::ready(uv_poll_t *poll, int status, int events)
{
    Poller *self = static_cast<Handle *>(poll->data)->owner;
    if (self == nullptr)
        return;
    uv_poll_stop(poll);
    /* An error is for the call to find that is made now. */
    self->tell(status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

/* By the C interface: the environment may be ending, when nothing can be called any more and that is no error. */
void Poller::tell(int what)
{
    napi_env env = Env();
    napi_handle_scope scope;
    napi_value global, callback, number, error;
    bool thrown = false;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    if (napi_get_global(env, &global) == napi_ok && napi_get_reference_value(env, callback_, &callback) == napi_ok &&
        napi_create_int32(env, what, &number) == napi_ok)
        napi_make_callback(env, nullptr, global, callback, 1, &number, nullptr);
    if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown && napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
    napi_close_handle_scope(env, scope);
}

Napi::Value Poller::start(const Napi::CallbackInfo &info)
{
    int events = info[0].As<Napi::Number>().Int32Value();
    int r = handle_ == nullptr ? -EBADF
                               : uv_poll_start(&handle_->poll, ((events & 1) != 0 ? UV_READABLE | UV_DISCONNECT : 0) |
                                                                   ((events & 2) != 0 ? UV_WRITABLE : 0), ready);
    return Napi::Number::New(info.Env(), r);
}

Napi::Value Poller::stop(const Napi::CallbackInfo &info)
{
    if (handle_ != nullptr)
        uv_poll_stop(&handle_->poll);
    return info.Env().Undefined();
}

Napi::Value Poller::close(const Napi::CallbackInfo &info)
{
    let_go();
    return info.Env().Undefined();
}

Napi::Value Poller::unref(const Napi::CallbackInfo &info)
{
    if (handle_ != nullptr)
        uv_unref(reinterpret_cast<uv_handle_t *>(&handle_->poll));
    return info.Env().Undefined();
}
