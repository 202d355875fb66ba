// SPDX-License-Identifier: BSD-3-Clause
/**
 * The C library by `ffi-napi`, from the global symbol scope: a preload library sees every call, which it would not if libc were
 * opened by name. Pointers are passed as numbers, so that a bad one can be passed, too.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';

const require = createRequire(import.meta.url);

type Type = 'int' | 'uint' | 'long' | 'size_t';
type Foreign = (...args: readonly number[]) => number | string;

interface Ffi {
  Library(name: null, functions: Record<string, readonly [Type, readonly Type[]]>): Record<string, Foreign>;
  errno(): number;
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

const bound = new Map<string, Foreign>();

/** A function of the global scope. `signature`: one letter for the result and each parameter: i int, u unsigned, l long, z size_t or pointer. */
function symbol(name: string, signature: string): Foreign {
  const key = `${name} ${signature}`;
  let f = bound.get(key);
  if (f === undefined) {
    const types: Record<string, Type> = { i: 'int', u: 'uint', l: 'long', z: 'size_t' };
    const [result = 'int', ...parameters] = [...signature].map((letter) => types[letter] ?? 'int');
    f = ffi.Library(null, { [name]: [result, parameters] })[name];
    if (f === undefined) throw new Error(`the C library has no ${name}`);
    bound.set(key, f);
  }
  return f;
}

/** An argument: a number, a buffer whose address is passed, or null. */
export type Arg = number | Buffer | null;

/** The address of a buffer's memory; it must outlive the call. */
export function addressOf(buffer: Buffer | null): number {
  // An empty buffer has no memory of its own; any address that is not read will do.
  return buffer === null ? 0 : ref.address(buffer.length === 0 ? EMPTY : buffer);
}
const EMPTY = Buffer.alloc(8);

/** Calls a function of the C library. The result is -1 with errno's name, or a value. */
export function call(name: string, signature: string, ...args: readonly Arg[]): Result {
  const f = symbol(name, signature);
  const numbers = args.map((arg) => (typeof arg === 'number' ? arg : addressOf(arg)));
  const r = Number(f(...numbers));
  const err = r === -1 ? errnoName(ffi.errno()) : '';
  return { r, err };
}

/** A copy of `length` bytes of memory. */
export function memory(address: number, length: number): Buffer {
  const pointer = Buffer.alloc(8);
  pointer.writeBigUInt64LE(BigInt(address));
  return Buffer.from(ref.readPointer(pointer, 0, length));
}
