/* SPDX-License-Identifier: BSD-3-Clause
 * Node-API binding of libzstack: calls, segments as external ArrayBuffers, readiness by uv_poll on a duplicate of the socket's
 * descriptor. What is made of it is src/; nothing here knows of streams. State is per environment, so that worker threads have
 * theirs. Results are numbers as libzstack gives them; what is wrong in the arguments is the TypeScript's fault. */
#define NAPI_VERSION 8
#include <napi.h>
#include <uv.h>
#include <zstack/zstack.h>

#include <cerrno>
#include <cstdlib>
#include <sys/socket.h>
#include <fcntl.h>
#include <new>
#include <unistd.h>

#include "poller.h"

namespace {

constexpr unsigned SEGMENTS_MAX = 64;
constexpr unsigned EVENTS_MAX = 64;

/* A received segment: released by the program, or by the finalizer of its ArrayBuffer, which counts it as forgotten. */
struct Received {
    zs_segment segment;
    bool released;
};

void finalize_received(napi_env, void *, void *hint)
{
    auto *r = static_cast<Received *>(hint);
    if (!r->released)
        zs_segment_forgotten(&r->segment);
    delete r;
}

/* A buffer. When its ArrayBuffer is collected while it is lent, its memory stays until the process ends. */
struct Owned {
    zs_buffer buffer;
    bool freed;
};

void finalize_owned(napi_env, void *, void *hint)
{
    auto *o = static_cast<Owned *>(hint);
    if (!o->freed)
        zs_buffer_free(&o->buffer);
    delete o;
}

Napi::Value id_of(Napi::Env env, uint64_t id)
{
    return Napi::BigInt::New(env, id);
}

uint64_t to_id(const Napi::Value &value)
{
    bool lossless;
    return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

/* External memory as an ArrayBuffer; empty ones need no memory. */
Napi::Value array_buffer(Napi::Env env, const void *data, size_t size, napi_finalize finalize, void *hint)
{
    napi_value result;
    if (napi_create_external_arraybuffer(env, const_cast<void *>(data), size, finalize, hint, &result) != napi_ok)
        return env.Undefined();
    return Napi::Value(env, result);
}

/* alloc(size, shared): [ArrayBuffer, id, External], or a negative errno. */
Napi::Value alloc(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    auto *o = new Owned{};
    int r = zs_buffer_alloc(&o->buffer, static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()),
                            info[1].As<Napi::Boolean>() ? ZS_SHARED : 0);
    if (r < 0) {
        delete o;
        return Napi::Number::New(env, r);
    }
    Napi::Value memory = array_buffer(env, o->buffer.data, o->buffer.size, finalize_owned, o);
    if (memory.IsUndefined()) {
        zs_buffer_free(&o->buffer);
        delete o;
        return Napi::Number::New(env, -ENOMEM);
    }
    Napi::Array result = Napi::Array::New(env, 3);
    result.Set(0u, memory);
    result.Set(1u, id_of(env, o->buffer.id));
    result.Set(2u, Napi::External<Owned>::New(env, o));
    return result;
}

/* free(ArrayBuffer, External): 0 or a negative errno; the ArrayBuffer is detached. */
Napi::Value free_buffer(const Napi::CallbackInfo &info)
{
    auto *o = info[1].As<Napi::External<Owned>>().Data();
    int r = zs_buffer_free(&o->buffer);
    if (r == 0) {
        o->freed = true;
        info[0].As<Napi::ArrayBuffer>().Detach();
    }
    return Napi::Number::New(info.Env(), r);
}

/* busy(External) */
Napi::Value busy(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), zs_buffer_busy(&info[0].As<Napi::External<Owned>>().Data()->buffer));
}

/* recv(fd, max): a list of [ArrayBuffer, id, copied, External]; 0 at the end; a negative errno. */
Napi::Value receive(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    zs_segment segments[SEGMENTS_MAX];
    unsigned max = info[1].As<Napi::Number>().Uint32Value();
    int n = zs_recv(info[0].As<Napi::Number>().Int32Value(), segments, max < SEGMENTS_MAX ? max : SEGMENTS_MAX, MSG_DONTWAIT, nullptr);
    if (n <= 0)
        return Napi::Number::New(env, n);
    Napi::Array list = Napi::Array::New(env, static_cast<size_t>(n));
    for (int i = 0; i < n; i++) {
        auto *r = new Received{segments[i], false};
        Napi::Value memory = array_buffer(env, r->segment.data, r->segment.len, finalize_received, r);
        Napi::Array one = Napi::Array::New(env, 4);
        one.Set(0u, memory);
        one.Set(1u, id_of(env, r->segment.id));
        one.Set(2u, Napi::String::New(env, zs_copy_reason_name(r->segment.copied)));
        one.Set(3u, Napi::External<Received>::New(env, r));
        list.Set(static_cast<uint32_t>(i), one);
    }
    return list;
}

/* release(ArrayBuffer, External): 0 or a negative errno; the ArrayBuffer is detached. */
Napi::Value release(const Napi::CallbackInfo &info)
{
    auto *r = info[1].As<Napi::External<Received>>().Data();
    int result = r->released ? -ESTALE : zs_segment_release(&r->segment);
    r->released = true; /* before the detachment, which lets the finalizer run */
    info[0].As<Napi::ArrayBuffer>().Detach();
    return Napi::Number::New(info.Env(), result);
}

Napi::Value result_of(Napi::Env env, ssize_t n, const zs_report &report)
{
    Napi::Array result = Napi::Array::New(env, 3);
    result.Set(0u, Napi::Number::New(env, static_cast<double>(n)));
    result.Set(1u, Napi::Number::New(env, static_cast<double>(report.copied)));
    result.Set(2u, Napi::String::New(env, zs_copy_reason_name(report.reason)));
    return result;
}

/* State of an environment: its queue, and who is told. */
struct Instance {
    zs_queue *queue = nullptr;
    Poller *poller = nullptr;
    Napi::FunctionReference completed;
};

/* send(fd, [Uint8Array...], [id...], skip, cookie): [bytes or negative errno, copied, reason]. skip: bytes of the first piece that were
 * sent already. cookie 0: no event. */
Napi::Value send(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    auto views = info[1].As<Napi::Array>();
    auto ids = info[2].As<Napi::Array>();
    size_t skip = static_cast<size_t>(info[3].As<Napi::Number>().Int64Value());
    auto cookie = static_cast<uint64_t>(info[4].As<Napi::Number>().Int64Value());
    zs_iov iov[SEGMENTS_MAX];
    uint32_t n = views.Length();
    zs_report report = {};
    if (n > SEGMENTS_MAX)
        return result_of(env, -EINVAL, report);
    for (uint32_t i = 0; i < n; i++) {
        auto view = views.Get(i).As<Napi::Uint8Array>();
        size_t off = i == 0 ? skip : 0;
        iov[i] = {view.Data() + off, view.ByteLength() - off, to_id(ids.Get(i))};
    }
    auto *self = env.GetInstanceData<Instance>();
    ssize_t sent = zs_send(info[0].As<Napi::Number>().Int32Value(), iov, n, MSG_DONTWAIT, cookie != 0 ? self->queue : nullptr, cookie,
                           &report);
    return result_of(env, sent, report);
}

/* poll(): events as [cookie, lent, copied, reason] in a flat list. */
Napi::Value poll_queue(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    auto *self = env.GetInstanceData<Instance>();
    zs_event events[EVENTS_MAX];
    Napi::Array list = Napi::Array::New(env);
    int n = zs_queue_poll(self->queue, events, EVENTS_MAX);
    for (int i = 0; i < n; i++) {
        auto at = static_cast<uint32_t>(i) * 4;
        list.Set(at, Napi::Number::New(env, static_cast<double>(events[i].cookie)));
        list.Set(at + 1, Napi::Number::New(env, static_cast<double>(events[i].lent)));
        list.Set(at + 2, Napi::Number::New(env, static_cast<double>(events[i].copied)));
        list.Set(at + 3, Napi::String::New(env, zs_copy_reason_name(events[i].reason)));
    }
    return list;
}

Napi::Value arm(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), zs_queue_arm(info.Env().GetInstanceData<Instance>()->queue));
}

/* queue(): the eventfd of this environment's queue, made on first use, or a negative errno. */
Napi::Value queue(const Napi::CallbackInfo &info)
{
    auto *self = info.Env().GetInstanceData<Instance>();
    int r = self->queue == nullptr ? zs_queue_open(&self->queue) : 0;
    return Napi::Number::New(info.Env(), r < 0 ? r : zs_queue_fd(self->queue));
}

Napi::Value socket_info(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    static const char *const paths[] = {"kernel", "local", "wire"};
    struct zs_socket_info out;
    int r = zs_socket_info(info[0].As<Napi::Number>().Int32Value(), &out);
    if (r < 0)
        return Napi::Number::New(env, r);
    Napi::Array result = Napi::Array::New(env, 3);
    result.Set(0u, Napi::String::New(env, paths[out.path]));
    result.Set(1u, Napi::Number::New(env, out.peer));
    result.Set(2u, Napi::String::New(env, out.reason));
    return result;
}

Napi::Value usage(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    struct zs_usage u;
    zs_usage(&u);
    Napi::Object o = Napi::Object::New(env);
    o.Set("held", Napi::Number::New(env, static_cast<double>(u.held)));
    o.Set("heldQuota", Napi::Number::New(env, static_cast<double>(u.held_quota)));
    o.Set("lent", Napi::Number::New(env, static_cast<double>(u.lent)));
    o.Set("lentQuota", Napi::Number::New(env, static_cast<double>(u.lent_quota)));
    o.Set("segments", Napi::Number::New(env, static_cast<double>(u.segments)));
    o.Set("forgotten", Napi::Number::New(env, static_cast<double>(u.forgotten)));
    return o;
}

Napi::Value set_quota(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), zs_quota_set(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()),
                                                      static_cast<size_t>(info[1].As<Napi::Number>().Int64Value()), nullptr));
}

void finalize_instance(Napi::Env, Instance *self)
{
    zs_queue_close(self->queue);
    delete self;
}

Napi::Object init(Napi::Env env, Napi::Object exports)
{
    env.SetInstanceData<Instance, finalize_instance>(new Instance());
    const struct {
        const char *name;
        Napi::Value (*fn)(const Napi::CallbackInfo &);
    } functions[] = {{"alloc", alloc},     {"free", free_buffer}, {"busy", busy}, {"recv", receive},    {"release", release}, {"send", send},
                     {"poll", poll_queue}, {"arm", arm},          {"queue", queue}, {"info", socket_info}, {"usage", usage},     {"setQuota", set_quota}};
    for (const auto &f : functions)
        exports.Set(f.name, Napi::Function::New(env, f.fn, f.name));
    exports.Set("Poller", Poller::define(env));
    return exports;
}

} // namespace

NODE_API_MODULE(zstack, init)
