// SPDX-License-Identifier: BSD-3-Clause
/** epoll: `struct epoll_event` is packed, 12 bytes on x86-64. */
import { call, type Result } from './ffi.js';
import * as struct from './struct.js';

export interface Event {
  readonly events: number;
  readonly data: number;
}
export interface Events extends Result {
  readonly events: Event[];
}

export const epoll_create = (size: number): Result => call('epoll_create', 'ii', size);
export const epoll_create1 = (flags = 0): Result => call('epoll_create1', 'ii', flags);

export function epoll_ctl(ep: number, op: number, fd: number, events = 0, data = fd): Result {
  const event = Buffer.alloc(12);
  event.writeUInt32LE(events >>> 0, 0);
  event.writeUInt32LE(data, 4);
  return call('epoll_ctl', 'iiiiz', ep, op, fd, event);
}

function events(max: number, f: (events: Buffer) => Result): Events {
  const bytes = Buffer.alloc(12 * Math.max(1, max));
  const result = f(bytes);
  const found = Array.from({ length: Math.max(0, result.r) }, (_, i) => ({
    events: bytes.readUInt32LE(12 * i),
    data: bytes.readUInt32LE(12 * i + 4),
  }));
  return { ...result, events: found };
}

export const epoll_wait = (ep: number, max: number, timeout: number): Events =>
  events(max, (bytes) => call('epoll_wait', 'iizii', ep, bytes, max, timeout));

/** `mask`: signals to block meanwhile, null none given. */
export function epoll_pwait(ep: number, max: number, timeout: number, mask: readonly number[] | null): Events {
  const set = mask === null ? null : struct.sigset(mask);
  return events(max, (bytes) => call('epoll_pwait', 'iiziiz', ep, bytes, max, timeout, set));
}

/** `timeout`: seconds and nanoseconds, null for ever. */
export function epoll_pwait2(
  ep: number,
  max: number,
  timeout: readonly [number, number] | null,
  mask: readonly number[] | null,
): Events {
  const set = mask === null ? null : struct.sigset(mask);
  const limit = timeout === null ? null : struct.time(...timeout);
  return events(max, (bytes) => call('epoll_pwait2', 'iizizz', ep, bytes, max, limit, set));
}
