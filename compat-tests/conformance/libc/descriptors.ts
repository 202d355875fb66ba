// SPDX-License-Identifier: BSD-3-Clause
/** Descriptors of every kind: close, dup, fcntl, ioctl; pipes and files; what moves bytes between them; signals as descriptors. */
import { call, memory, type Result } from './ffi.js';
import type { Received } from './sockets.js';
import * as struct from './struct.js';

export const close = (fd: number): Result => call('close', 'ii', fd);
export const close_range = (first: number, last: number, flags = 0): Result =>
  call('close_range', 'iuui', first, last, flags);
export const dup = (fd: number): Result => call('dup', 'ii', fd);
export const dup2 = (fd: number, to: number): Result => call('dup2', 'iii', fd, to);
export const dup3 = (fd: number, to: number, flags: number): Result => call('dup3', 'iiii', fd, to, flags);
export const fcntl = (fd: number, command: number, arg = 0): Result => call('fcntl', 'iiil', fd, command, arg);

/** fcntl with a structure: what it holds afterwards. */
export function fcntlBytes(fd: number, command: number, bytes: Buffer): Result & { readonly bytes: Buffer } {
  const result = call('fcntl', 'iiiz', fd, command, bytes);
  return { ...result, bytes };
}

/** ioctl on an int. */
export function ioctl(fd: number, request: number, value = 0): Result & { readonly value: number } {
  const bytes = struct.int32(value);
  const result = call('ioctl', 'iizz', fd, request, bytes);
  return { ...result, value: bytes.readInt32LE() };
}

export function ioctlBytes(fd: number, request: number, bytes: Buffer): Result & { readonly bytes: Buffer } {
  const result = call('ioctl', 'iizz', fd, request, bytes);
  return { ...result, bytes };
}

export function pipe(flags = 0): Result & { readonly fds: readonly [number, number] } {
  const fds = Buffer.alloc(8);
  const result = call('pipe2', 'izi', fds, flags);
  return { ...result, fds: [fds.readInt32LE(0), fds.readInt32LE(4)] };
}

export const memfd_create = (name: string): Result => call('memfd_create', 'izu', Buffer.from(`${name}\0`), 1);
export const open = (path: string, flags: number): Result =>
  call('open', 'izii', Buffer.from(`${path}\0`), flags, 0o600);
export const lseek = (fd: number, offset: number, whence: number): Result => call('lseek', 'lili', fd, offset, whence);
export const ftruncate = (fd: number, length: number): Result => call('ftruncate', 'iil', fd, length);
export const pwrite = (fd: number, data: Buffer, offset: number): Result =>
  call('pwrite', 'lizzl', fd, data, data.length, offset);
export const eventfd = (value: number, flags = 0): Result => call('eventfd', 'iui', value, flags);

export function pread(fd: number, size: number, offset: number): Received {
  const buffer = Buffer.alloc(size);
  const result = call('pread', 'lizzl', fd, buffer, size, offset);
  return { ...result, data: Buffer.from(buffer.subarray(0, Math.max(0, result.r))) };
}

/** `offset` null: the file's own position. */
export function sendfile(
  out: number,
  from: number,
  offset: number | null,
  count: number,
): Result & { readonly offset: number } {
  const at = Buffer.alloc(8);
  at.writeBigInt64LE(BigInt(offset ?? 0));
  const result = call('sendfile', 'liizz', out, from, offset === null ? null : at, count);
  return { ...result, offset: Number(at.readBigInt64LE()) };
}

export const splice = (from: number, to: number, count: number, flags = 0): Result =>
  call('splice', 'lizizzu', from, null, to, null, count, flags);
export const tee = (from: number, to: number, count: number, flags = 0): Result =>
  call('tee', 'liizu', from, to, count, flags);
export const copy_file_range = (from: number, to: number, count: number): Result =>
  call('copy_file_range', 'lizizzu', from, null, to, null, count, 0);

export function vmsplice(fd: number, data: Buffer, flags = 0): Result {
  return call('vmsplice', 'lizzu', fd, struct.iovec([data]), 1, flags);
}

/** The mode and the size of a descriptor's file. */
export function fstat(fd: number): Result & { readonly mode: number; readonly size: number } {
  const bytes = Buffer.alloc(144);
  const result = call('fstat', 'iiz', fd, bytes);
  return { ...result, mode: bytes.readUInt32LE(24), size: Number(bytes.readBigInt64LE(48)) };
}

/* ---- Signals ---- */

const SIG_BLOCK = 0;
export function sigprocmask(signals: readonly number[], how: number = SIG_BLOCK): Result {
  return call('sigprocmask', 'iizz', how, struct.sigset(signals), null);
}

/** Takes one blocked signal of the set; r is its number. `fd`: what F_SETSIG names, -1 none. */
export function sigtimedwait(
  signals: readonly number[],
  timeoutMs: number,
): Result & { readonly code: number; readonly fd: number; readonly band: number } {
  const info = Buffer.alloc(128);
  const result = call('sigtimedwait', 'izzz', struct.sigset(signals), info, struct.milliseconds(timeoutMs));
  return { ...result, code: info.readInt32LE(8), band: Number(info.readBigInt64LE(16)), fd: info.readInt32LE(24) };
}

export function signalfd(signals: readonly number[], flags: number): Result {
  return call('signalfd', 'iizi', -1, struct.sigset(signals), flags);
}

/** Sets a signal to its default action. */
export const signal_default = (signal: number): Result => {
  const r = call('signal', 'lil', signal, 0);
  return { r: r.r < 0 ? -1 : 0, err: r.err };
};

export const raise = (signal: number): Result => call('raise', 'ii', signal);

/* ---- stdio ---- */

export const fdopen = (fd: number, mode: string): Result => call('fdopen', 'liz', fd, Buffer.from(`${mode}\0`));
export const fwrite = (stream: number, data: Buffer): Result => call('fwrite', 'zzzzz', data, 1, data.length, stream);
export const fflush = (stream: number): Result => call('fflush', 'iz', stream);
export const fclose = (stream: number): Result => call('fclose', 'iz', stream);
export const fileno = (stream: number): Result => call('fileno', 'iz', stream);
export const feof = (stream: number): Result => call('feof', 'iz', stream);
export const ferror = (stream: number): Result => call('ferror', 'iz', stream);
export const fputs = (text: string, stream: number): Result => call('fputs', 'izz', Buffer.from(`${text}\0`), stream);
export const ungetc = (character: number, stream: number): Result => call('ungetc', 'iiz', character, stream);
export const setvbuf = (stream: number, mode: number): Result => call('setvbuf', 'izziz', stream, null, mode, 0);

export function fgets(stream: number, size: number): Result & { readonly text: string } {
  const buffer = Buffer.alloc(size);
  const result = call('fgets', 'zziz', buffer, size, stream);
  const end = buffer.indexOf(0);
  return { r: result.r === 0 ? 0 : 1, err: '', text: result.r === 0 ? '' : buffer.toString('latin1', 0, end) };
}

export function fread(stream: number, size: number): Received {
  const buffer = Buffer.alloc(size);
  const result = call('fread', 'zzzzz', buffer, 1, size, stream);
  return { ...result, data: Buffer.from(buffer.subarray(0, result.r)) };
}

/* ---- Memory that is there and memory that is not ---- */

/** Maps pages; `protection` 0: none may be touched. */
export const mmap = (length: number, protection: number): Result =>
  call('mmap', 'lzziiil', 0, length, protection, 0x22, -1, 0);
export const munmap = (address: number, length: number): Result => call('munmap', 'izz', address, length);
export const mprotect = (address: number, length: number, protection: number): Result =>
  call('mprotect', 'izzi', address, length, protection);
export const peek = (address: number, length: number): Result & { readonly data: Buffer } => ({
  r: 0,
  err: '',
  data: memory(address, length),
});
