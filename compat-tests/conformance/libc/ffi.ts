// SPDX-License-Identifier: BSD-3-Clause
/**
 * The C library by `ffi-napi`, from the global symbol scope: a preload library sees every call, which it would not if libc were
 * opened by name. One native function makes the call and keeps its errno (call.c). Pointers are passed as numbers, so that a bad one can be passed, too.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

type Foreign = (...args: readonly (number | string)[]) => number | string;

interface Ffi {
  Library(path: string, functions: Record<string, readonly [string, readonly string[]]>): Record<string, Foreign>;
}
interface Ref {
  address(buffer: Buffer): number;
  readPointer(buffer: Buffer, offset: number, length: number): Buffer;
}

const ffi = require('ffi-napi') as Ffi;
/** From where ffi-napi takes it: a second copy would have a type system of its own. */
const ref = createRequire(require.resolve('ffi-napi'))('@2060.io/ref-napi') as Ref;

/** What a call gave: its value, and the name of errno when it failed, else ''. */
export interface Result {
  readonly r: number;
  readonly err: string;
}

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// Names that Node does not list.
for (const [name, value] of Object.entries({ ESOCKTNOSUPPORT: 94, EPFNOSUPPORT: 96, ESHUTDOWN: 108, EBADFD: 77 }))
  ERRNO_NAMES.set(value, name);
// Node prefers the other name of the same number.
ERRNO_NAMES.set(constants.errno.EAGAIN, 'EAGAIN');
ERRNO_NAMES.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

export function errnoName(value: number): string {
  return ERRNO_NAMES.get(value) ?? `errno ${value}`;
}

/** Where the native parts are, from `dist/libc`. */
const BUILD =
  process.env['ZSTACK_BUILD'] ??
  process.env['ZSTACK_BUILD_DIR'] ??
  join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..', 'build');
const native = ffi.Library(join(BUILD, 'conformance-call.so'), {
  conformance_symbol: ['size_t', ['string']],
  conformance_call: ['long', ['size_t', 'size_t', 'long', 'long', 'long', 'long', 'long', 'long']],
});
const errno = Buffer.alloc(4);

const bound = new Map<string, number>();

/** The address of a function of the global scope. */
function symbol(name: string): number {
  const known = bound.get(name);
  if (known !== undefined) return known;
  const address = Number(native['conformance_symbol']?.(name));
  if (!address) throw new Error(`the C library has no ${name}`);
  bound.set(name, address);
  return address;
}

/** A register's 64 bits as the function's result type. */
function resultOf(register: number | string, letter: string): number {
  const bits = BigInt(register);
  if (letter === 'i') return Number(BigInt.asIntN(32, bits));
  if (letter === 'u') return Number(BigInt.asUintN(32, bits));
  return Number(letter === 'z' ? BigInt.asUintN(64, bits) : bits);
}

/** An argument: a number, a buffer whose address is passed, or null. */
export type Arg = number | Buffer | null;

/** The address of a buffer's memory; it must outlive the call. */
export function addressOf(buffer: Buffer | null): number {
  // An empty buffer has no memory of its own; any address that is not read will do.
  return buffer === null ? 0 : ref.address(buffer.length === 0 ? EMPTY : buffer);
}
const EMPTY = Buffer.alloc(8);

/**
 * Calls a function of the C library. The result is -1 with errno's name, or a value. `signature`: one letter for the result and each
 * parameter, six at most: i int, u unsigned, l long, z size_t or pointer.
 */
export function call(name: string, signature: string, ...args: readonly Arg[]): Result {
  const numbers = args.map((arg) => (typeof arg === 'number' ? arg : addressOf(arg)));
  while (numbers.length < 6) numbers.push(0);
  const register = native['conformance_call']?.(symbol(name), ref.address(errno), ...numbers) ?? -1;
  const r = resultOf(register, signature[0] ?? 'i');
  return { r, err: r === -1 ? errnoName(errno.readInt32LE()) : '' };
}

/** A copy of `length` bytes of memory. */
export function memory(address: number, length: number): Buffer {
  const pointer = Buffer.alloc(8);
  pointer.writeBigUInt64LE(BigInt(address));
  return Buffer.from(ref.readPointer(pointer, 0, length));
}
