// SPDX-License-Identifier: BSD-3-Clause
/** Socket options as bytes, so that lengths and formats are seen as they are. */
import { call, type Result } from './ffi.js';
import { int32 } from './struct.js';

export interface OptionValue extends Result {
  /** What was written, `length` bytes of it at most. */
  readonly value: Buffer;
  readonly length: number;
}

export function getsockopt(fd: number, level: number, name: number, size: number): OptionValue {
  const value = Buffer.alloc(Math.max(size, 0), 0xee);
  const length = int32(size);
  const result = call('getsockopt', 'iiiizz', fd, level, name, value, length);
  const told = length.readInt32LE();
  return { ...result, length: told, value: result.r < 0 ? Buffer.alloc(0) : Buffer.from(value.subarray(0, told)) };
}

export function setsockopt(fd: number, level: number, name: number, value: Buffer, length = value.length): Result {
  return call('setsockopt', 'iiiizu', fd, level, name, value, length);
}
