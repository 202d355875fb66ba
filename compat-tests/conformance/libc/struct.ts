// SPDX-License-Identifier: BSD-3-Clause
/** The structures of the socket calls as bytes (x86-64 Linux): addresses, vectors, messages, ancillary data, times. */
import { addressOf } from './ffi.js';

export const AF = { UNSPEC: 0, UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;

export interface Address {
  readonly family: number;
  readonly host: string;
  readonly port: number;
}

/** `ip:port` of an address, IPv6 in brackets. */
function v6bytes(host: string): Buffer {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  const text =
    dotted === null
      ? host
      : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [head = '', tail] = text.split('::');
  const words = (part: string): number[] => (part === '' ? [] : part.split(':').map((word) => parseInt(word, 16)));
  const [left, right] = [words(head), words(tail ?? '')];
  const all = tail === undefined ? left : [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  const bytes = Buffer.alloc(16);
  all.forEach((word, i) => bytes.writeUInt16BE(word, 2 * i));
  return bytes;
}

function v6text(bytes: Buffer): string {
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i));
  if (words.slice(0, 5).every((w) => w === 0) && words[5] === 0xffff)
    return `::ffff:${[...bytes.subarray(12)].join('.')}`;
  const text = words.map((w) => w.toString(16)).join(':');
  return text.replace(/(^|:)0(:0)+(:|$)/, '::');
}

export function sockaddr({ family, host, port }: Address): Buffer {
  const bytes = Buffer.alloc(family === AF.INET6 ? 28 : 16);
  bytes.writeUInt16LE(family, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === AF.INET6) v6bytes(host).copy(bytes, 8);
  else host.split('.').forEach((part, i) => bytes.writeUInt8(Number(part), 4 + i));
  return bytes;
}

/** What a call wrote; `length` as it told it. */
export function addressFrom(bytes: Buffer, length: number): Address | null {
  if (length < 8) return null;
  const family = bytes.readUInt16LE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF.INET) return { family, port, host: [...bytes.subarray(4, 8)].join('.') };
  if (family === AF.INET6 && length >= 24) return { family, port, host: v6text(bytes.subarray(8, 24)) };
  return { family, port: 0, host: '?' };
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** `struct iovec`s of the buffers. */
export function iovec(buffers: readonly Buffer[]): Buffer {
  const bytes = Buffer.alloc(16 * buffers.length);
  buffers.forEach((buffer, i) => {
    bytes.writeBigUInt64LE(BigInt(addressOf(buffer)), 16 * i);
    bytes.writeBigUInt64LE(BigInt(buffer.length), 16 * i + 8);
  });
  return bytes;
}

export interface MessageParts {
  readonly name?: Buffer | undefined;
  readonly iov: Buffer;
  readonly count: number;
  readonly control?: Buffer | undefined;
  readonly flags?: number;
}

/** `struct msghdr`, 56 bytes; written into `at` when given (of a `struct mmsghdr` array). */
export function msghdr(parts: MessageParts, at: Buffer = Buffer.alloc(56)): Buffer {
  at.writeBigUInt64LE(BigInt(parts.name === undefined ? 0 : addressOf(parts.name)), 0);
  at.writeUInt32LE(parts.name?.length ?? 0, 8);
  at.writeBigUInt64LE(BigInt(addressOf(parts.iov)), 16);
  at.writeBigUInt64LE(BigInt(parts.count), 24);
  at.writeBigUInt64LE(BigInt(parts.control === undefined ? 0 : addressOf(parts.control)), 32);
  at.writeBigUInt64LE(BigInt(parts.control?.length ?? 0), 40);
  at.writeInt32LE(parts.flags ?? 0, 48);
  return at;
}

/** One ancillary object. */
export interface Control {
  readonly level: number;
  readonly type: number;
  readonly data: Buffer;
}

const aligned = (n: number): number => (n + 7) & ~7;

export function controlBytes(objects: readonly Control[]): Buffer {
  return Buffer.concat(
    objects.map(({ level, type, data }) => {
      const bytes = Buffer.alloc(16 + aligned(data.length));
      bytes.writeBigUInt64LE(BigInt(16 + data.length), 0);
      bytes.writeInt32LE(level, 8);
      bytes.writeInt32LE(type, 12);
      data.copy(bytes, 16);
      return bytes;
    }),
  );
}

export function controlFrom(bytes: Buffer): Control[] {
  const found: Control[] = [];
  for (let at = 0; at + 16 <= bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    if (length < 16) break;
    const data = Buffer.from(bytes.subarray(at + 16, at + length));
    found.push({ level: bytes.readInt32LE(at + 8), type: bytes.readInt32LE(at + 12), data });
    at += aligned(length);
  }
  return found;
}

/** `struct timeval` or `struct timespec`: seconds and the fraction in its unit. */
export function time(seconds: number, fraction: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64LE(BigInt(seconds), 0);
  bytes.writeBigInt64LE(BigInt(fraction), 8);
  return bytes;
}

export function milliseconds(ms: number): Buffer {
  return time(Math.floor(ms / 1000), (ms % 1000) * 1_000_000);
}

/** A set of signals as the C library has it: 128 bytes. */
export function sigset(signals: readonly number[]): Buffer {
  const bytes = Buffer.alloc(128);
  for (const signal of signals) {
    const bit = signal - 1;
    bytes.writeUInt8(bytes.readUInt8(bit >> 3) | (1 << (bit & 7)), bit >> 3);
  }
  return bytes;
}
