// SPDX-License-Identifier: BSD-3-Clause
/** The addon as it is: numbers and lists. Negative numbers are errno values. */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';


/** A native handle; which one only the addon knows. */
export type Handle = object & { readonly __handle?: never };
export type NativeSegment = readonly [memory: ArrayBuffer, id: bigint, copied: string, handle: Handle];
export type NativeResult = readonly [bytes: number, copied: number, reason: string];

export interface NativePoller {
  readonly error: number;
  start(events: number): number;
  stop(): void;
  close(): void;
  unref(): void;
}

export interface Usage {
  /** Bytes of received segments that are not released yet and were not copied, and how many they may be. */
  readonly held: number;
  readonly heldQuota: number;
  /** Bytes lent out, and how many they may be. */
  readonly lent: number;
  readonly lentQuota: number;
  /** Segments that are not released yet. */
  readonly segments: number;
  /** Segments that nobody released: the garbage collector did. */
  readonly forgotten: number;
}

interface Native {
  alloc(size: number, shared: boolean): readonly [ArrayBuffer, bigint, Handle] | number;
  free(memory: ArrayBuffer, handle: Handle): number;
  busy(handle: Handle): number;
  recv(fd: number, max: number): readonly NativeSegment[] | number;
  release(memory: ArrayBuffer, handle: Handle): number;
  send(fd: number, views: Uint8Array[], ids: bigint[], skip: number, cookie: number): NativeResult;
  /** [cookie, lent, copied, reason, ...] */
  poll(): (number | string)[];
  arm(): number;
  queue(): number;
  info(fd: number): readonly [path: string, peer: number, reason: string] | number;
  usage(): Usage;
  setQuota(held: number, lent: number): number;
  readonly Poller: new (fd: number, callback: (events: number) => void) => NativePoller;
}

const here = dirname(fileURLToPath(import.meta.url));
const path = process.env['ZSTACK_ADDON'] ?? join(here, '../../../build/zstack.node');

export const native = createRequire(import.meta.url)(path) as Native;

export const [EAGAIN, EINVAL, EPIPE, ESTALE] = (['EAGAIN', 'EINVAL', 'EPIPE', 'ESTALE'] as const).map(
  (name) => -constants.errno[name],
) as [number, number, number, number];
export const READABLE = 1;
export const WRITABLE = 2;

/** libuv does not know all of them. */
const names = new Map(Object.entries(constants.errno).map(([name, number]) => [-number, name]));

/** An error with the name of a negative errno value as its code, as Node's own have it. */
export function errnoError(errno: number, call: string): NodeJS.ErrnoException {
  const code = names.get(errno) ?? `E${-errno}`;
  return Object.assign(new Error(`${call}: ${code}`), { code, errno, syscall: call });
}
