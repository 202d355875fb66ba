// SPDX-License-Identifier: BSD-3-Clause
/** poll and select. */
import { call, type Result } from './ffi.js';
import * as struct from './struct.js';

export interface Polled extends Result {
  /** In the order of the descriptors. */
  readonly revents: number[];
}

type Wanted = readonly (readonly [fd: number, events: number])[];

function polled(wanted: Wanted, f: (fds: Buffer) => Result): Polled {
  const bytes = Buffer.alloc(8 * Math.max(1, wanted.length));
  wanted.forEach(([fd, events], i) => {
    bytes.writeInt32LE(fd, 8 * i);
    bytes.writeUInt16LE(events, 8 * i + 4);
  });
  const result = f(bytes);
  return { ...result, revents: wanted.map((_, i) => bytes.readUInt16LE(8 * i + 6)) };
}

export const poll = (wanted: Wanted, timeout: number): Polled =>
  polled(wanted, (fds) => call('poll', 'izli', fds, wanted.length, timeout));

export function ppoll(
  wanted: Wanted,
  timeout: readonly [number, number] | null,
  mask: readonly number[] | null,
): Polled {
  const limit = timeout === null ? null : struct.time(...timeout);
  const set = mask === null ? null : struct.sigset(mask);
  return polled(wanted, (fds) => call('ppoll', 'izlzz', fds, wanted.length, limit, set));
}

export interface Selected extends Result {
  readonly read: number[];
  readonly write: number[];
  readonly except: number[];
}

type Sets = readonly [read: readonly number[], write: readonly number[], except: readonly number[]];

/** Sets of 8,192 descriptors: more than FD_SETSIZE. */
function selected(
  sets: Sets,
  f: (n: number, read: Buffer, write: Buffer, except: Buffer) => Result,
  top?: number,
): Selected {
  const bytes = sets.map((fds) => {
    const set = Buffer.alloc(1024);
    for (const fd of fds) set.writeUInt8(set.readUInt8(fd >> 3) | (1 << (fd & 7)), fd >> 3);
    return set;
  });
  const [read = EMPTY, write = EMPTY, except = EMPTY] = bytes;
  const result = f(top ?? Math.max(-1, ...sets.flat()) + 1, read, write, except);
  const [r = [], w = [], e = []] = sets.map((fds, i) =>
    fds.filter((fd) => ((bytes[i]?.readUInt8(fd >> 3) ?? 0) & (1 << (fd & 7))) !== 0),
  );
  return { ...result, read: r, write: w, except: e };
}
const EMPTY = Buffer.alloc(0);

export function select(sets: Sets, timeoutMs: number | null, top?: number): Selected {
  const limit = timeoutMs === null ? null : struct.time(Math.floor(timeoutMs / 1000), (timeoutMs % 1000) * 1000);
  return selected(sets, (n, r, w, e) => call('select', 'iizzzz', n, r, w, e, limit), top);
}

export function pselect(sets: Sets, timeoutMs: number | null, mask: readonly number[] | null): Selected {
  const limit = timeoutMs === null ? null : struct.milliseconds(timeoutMs);
  const set = mask === null ? null : struct.sigset(mask);
  return selected(sets, (n, r, w, e) => call('pselect', 'iizzzzz', n, r, w, e, limit, set));
}
