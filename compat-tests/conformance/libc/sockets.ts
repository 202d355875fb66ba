// SPDX-License-Identifier: BSD-3-Clause
/** Sockets: their life, their names, and the calls that carry data. */
import { call, type Arg, type Result } from './ffi.js';
import * as struct from './struct.js';
import type { Address, Control } from './struct.js';

export interface Received extends Result {
  readonly data: Buffer;
}
export interface ReceivedFrom extends Received {
  readonly from: Address | null;
  readonly length: number;
}
export interface ReceivedMessage extends ReceivedFrom {
  readonly flags: number;
  readonly control: Control[];
  readonly controlLength: number;
}
export interface Named extends Result {
  readonly address: Address | null;
  readonly length: number;
}

export const socket = (domain: number, type: number, protocol = 0): Result =>
  call('socket', 'iiii', domain, type, protocol);

export function socketpair(type: number): Result & { readonly fds: readonly [number, number] } {
  const fds = Buffer.alloc(8);
  const result = call('socketpair', 'iiiiz', struct.AF.UNIX, type, 0, fds);
  return { ...result, fds: [fds.readInt32LE(0), fds.readInt32LE(4)] };
}

export function bind(fd: number, address: Address): Result {
  const bytes = struct.sockaddr(address);
  return call('bind', 'iizu', fd, bytes, bytes.length);
}

export const listen = (fd: number, backlog: number): Result => call('listen', 'iii', fd, backlog);

export function connect(fd: number, address: Address): Result {
  const bytes = struct.sockaddr(address);
  return call('connect', 'iizu', fd, bytes, bytes.length);
}

function withAddress(f: (address: Buffer, length: Buffer) => Result): Named {
  const bytes = Buffer.alloc(128);
  const length = struct.int32(bytes.length);
  const result = f(bytes, length);
  const told = length.readInt32LE();
  return { ...result, length: told, address: result.r < 0 ? null : struct.addressFrom(bytes, told) };
}

export const accept = (fd: number): Named => withAddress((a, l) => call('accept', 'iizz', fd, a, l));
export const accept4 = (fd: number, flags: number): Named =>
  withAddress((a, l) => call('accept4', 'iizzi', fd, a, l, flags));
export const getsockname = (fd: number): Named => withAddress((a, l) => call('getsockname', 'iizz', fd, a, l));
export const getpeername = (fd: number): Named => withAddress((a, l) => call('getpeername', 'iizz', fd, a, l));
export const shutdown = (fd: number, how: number): Result => call('shutdown', 'iii', fd, how);
export const sockatmark = (fd: number): Result => call('sockatmark', 'ii', fd);

/** A call with any arguments, bad ones too: see {@link call}. */
export const raw = (name: string, signature: string, ...args: readonly Arg[]): Result => call(name, signature, ...args);

/* ---- Data ---- */

function received(result: Result, buffer: Buffer): Received {
  const n = Math.max(0, Math.min(result.r, buffer.length));
  return { ...result, data: Buffer.from(buffer.subarray(0, n)) };
}

export function read(fd: number, size: number): Received {
  const buffer = Buffer.alloc(size);
  return received(call('read', 'lizz', fd, buffer, size), buffer);
}

export const write = (fd: number, data: Buffer): Result => call('write', 'lizz', fd, data, data.length);

export function recv(fd: number, size: number, flags = 0): Received {
  const buffer = Buffer.alloc(size);
  return received(call('recv', 'lizzi', fd, buffer, size, flags), buffer);
}

export const send = (fd: number, data: Buffer, flags = 0): Result =>
  call('send', 'lizzi', fd, data, data.length, flags);

export function recvfrom(fd: number, size: number, flags = 0): ReceivedFrom {
  const buffer = Buffer.alloc(size);
  const named = withAddress((a, l) => call('recvfrom', 'lizzizz', fd, buffer, size, flags, a, l));
  return { ...received(named, buffer), from: named.address, length: named.length };
}

export function sendto(fd: number, data: Buffer, flags: number, address: Address): Result {
  const bytes = struct.sockaddr(address);
  return call('sendto', 'lizzizu', fd, data, data.length, flags, bytes, bytes.length);
}

export function readv(fd: number, sizes: readonly number[]): Received {
  const buffers = sizes.map((size) => Buffer.alloc(size));
  const result = call('readv', 'lizi', fd, struct.iovec(buffers), buffers.length);
  return received(result, Buffer.concat(buffers));
}

export function writev(fd: number, pieces: readonly Buffer[]): Result {
  return call('writev', 'lizi', fd, struct.iovec(pieces), pieces.length);
}

export function preadv2(fd: number, sizes: readonly number[], offset: number, flags: number): Received {
  const buffers = sizes.map((size) => Buffer.alloc(size));
  const result = call('preadv2', 'lizili', fd, struct.iovec(buffers), buffers.length, offset, flags);
  return received(result, Buffer.concat(buffers));
}

export function pwritev2(fd: number, pieces: readonly Buffer[], offset: number, flags: number): Result {
  return call('pwritev2', 'lizili', fd, struct.iovec(pieces), pieces.length, offset, flags);
}

/* ---- Messages ---- */

export interface SendMessage {
  readonly pieces: readonly Buffer[];
  readonly to?: Address;
  readonly control?: readonly Control[];
}

function outgoing({ pieces, to, control }: SendMessage, at?: Buffer): { header: Buffer; keep: readonly unknown[] } {
  const name = to === undefined ? undefined : struct.sockaddr(to);
  const ancillary = control === undefined ? undefined : struct.controlBytes(control);
  const iov = struct.iovec(pieces);
  return {
    header: struct.msghdr({ name, iov, count: pieces.length, control: ancillary }, at),
    keep: [name, ancillary, iov, pieces],
  };
}

export function sendmsg(fd: number, message: SendMessage, flags = 0): Result {
  const { header, keep } = outgoing(message);
  const result = call('sendmsg', 'lizi', fd, header, flags);
  return kept(result, keep);
}

/** Holds what the kernel read until here, and copies the result. */
function kept(result: Result, keep: readonly unknown[]): Result {
  return keep.length === 0 ? result : { ...result };
}

export interface ReceiveMessage {
  readonly sizes: readonly number[];
  /** Room for ancillary data, bytes; 0: a null pointer. */
  readonly control?: number;
  /** Room for the address; 0: a null pointer. */
  readonly name?: number;
}

interface Incoming {
  readonly header: Buffer;
  finish(result: Result): ReceivedMessage;
}

function incoming({ sizes, control = 256, name = 128 }: ReceiveMessage, at?: Buffer): Incoming {
  const buffers = sizes.map((size) => Buffer.alloc(size));
  const nameBytes = name === 0 ? undefined : Buffer.alloc(name);
  const controlBytes = control === 0 ? undefined : Buffer.alloc(control);
  const iov = struct.iovec(buffers);
  const header = struct.msghdr({ name: nameBytes, iov, count: sizes.length, control: controlBytes, flags: 0x55 }, at);
  const finish = (result: Result): ReceivedMessage => {
    const length = header.readUInt32LE(8);
    const controlLength = Number(header.readBigUInt64LE(40));
    return {
      ...received(result, Buffer.concat(buffers)),
      from: result.r < 0 || nameBytes === undefined ? null : struct.addressFrom(nameBytes, length),
      length,
      flags: header.readInt32LE(48),
      control:
        controlBytes === undefined || result.r < 0 ? [] : struct.controlFrom(controlBytes.subarray(0, controlLength)),
      controlLength,
      ...(iov.length < 0 ? { iov } : {}),
    };
  };
  return { header, finish };
}

export function recvmsg(fd: number, message: ReceiveMessage, flags = 0): ReceivedMessage {
  const { header, finish } = incoming(message);
  return finish(call('recvmsg', 'lizi', fd, header, flags));
}

/** `struct mmsghdr`: a header, the length, padding. */
const MMSG = 64;

export function sendmmsg(
  fd: number,
  messages: readonly SendMessage[],
  flags = 0,
): Result & { readonly lengths: number[] } {
  const vector = Buffer.alloc(MMSG * messages.length);
  const keep = messages.map((message, i) => outgoing(message, vector.subarray(i * MMSG, i * MMSG + 56)).keep);
  const result = kept(call('sendmmsg', 'iizui', fd, vector, messages.length, flags), keep);
  const lengths = Array.from({ length: Math.max(0, result.r) }, (_, i) => vector.readUInt32LE(i * MMSG + 56));
  return { ...result, lengths };
}

export function recvmmsg(
  fd: number,
  messages: readonly ReceiveMessage[],
  flags = 0,
  timeoutMs?: number,
): Result & { readonly messages: ReceivedMessage[] } {
  const vector = Buffer.alloc(MMSG * messages.length);
  const all = messages.map((message, i) => incoming(message, vector.subarray(i * MMSG, i * MMSG + 56)));
  const timeout = timeoutMs === undefined ? null : struct.milliseconds(timeoutMs);
  const result = call('recvmmsg', 'iizuiz', fd, vector, messages.length, flags, timeout);
  const done = all.slice(0, Math.max(0, result.r));
  return { ...result, messages: done.map((m, i) => m.finish({ r: vector.readUInt32LE(i * MMSG + 56), err: '' })) };
}
