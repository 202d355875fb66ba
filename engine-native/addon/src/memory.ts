// SPDX-License-Identifier: BSD-3-Clause
/** Memory that can be lent: buffers of the program and received segments. */
import { errnoError, ESTALE, native, type Handle, type NativeSegment } from './native.js';

/** Which buffer or segment an ArrayBuffer is. */
const ids = new WeakMap<ArrayBufferLike, bigint>();

/** 0 for memory that is copied when it is sent. */
export function idOf(view: Uint8Array): bigint {
  return ids.get(view.buffer) ?? 0n;
}

/** Memory to send from without a copy. It must not be changed from `sendZero` until its promise resolves. */
export class ZBuffer {
  #memory: ArrayBuffer;
  #data: Buffer | undefined;
  readonly #handle: Handle;

  /**
   * @param size bytes, 1 to 4 MiB
   * @param shared may be sent while it is lent: its contents do not change any more
   * @throws Error EINVAL, ENOMEM, ENOBUFS (the engine's memory is used up)
   */
  constructor(size: number, shared = false) {
    const made = native.alloc(size, shared);
    if (typeof made === 'number') throw errnoError(made, 'zs_buffer_alloc');
    const [memory, id, handle] = made;
    this.#memory = memory;
    this.#handle = handle;
    this.#data = Buffer.from(memory);
    ids.set(memory, id);
  }

  /** The memory; any part of it (`subarray`) can be sent. @throws Error ESTALE after `free` */
  get data(): Buffer {
    if (this.#data === undefined) throw errnoError(ESTALE, 'ZBuffer.data');
    return this.#data;
  }

  /** Lent to somebody. */
  get busy(): boolean {
    return this.#data !== undefined && native.busy(this.#handle) === 1;
  }

  /** Gives the memory back. @throws Error EBUSY while it is lent, ESTALE the second time */
  free(): void {
    if (this.#data === undefined) throw errnoError(ESTALE, 'zs_buffer_free');
    const result = native.free(this.#memory, this.#handle);
    if (result < 0) throw errnoError(result, 'zs_buffer_free');
    this.#data = undefined;
  }
}

/**
 * Received bytes where they are: the sender's buffer, or a packet. To be released, and to be read only: unless it was copied the memory is
 * mapped for reading, and a write to it ends the process (SIGSEGV). `Buffer.from(segment.data)` is a copy to work on.
 */
export class Segment {
  readonly #memory: ArrayBuffer;
  readonly #handle: Handle;
  #data: Buffer | undefined;
  /** Bytes. */
  readonly length: number;
  /** Why it was copied, as zstack(7) names it; `undefined`: it was not. */
  readonly copied: string | undefined;

  constructor([memory, id, copied, handle]: NativeSegment) {
    this.#memory = memory;
    this.#handle = handle;
    this.#data = Buffer.from(memory);
    this.length = memory.byteLength;
    this.copied = copied === 'none' ? undefined : copied;
    ids.set(memory, id);
  }

  /** The bytes. Views of them are empty once it is released. @throws Error ESTALE after `release` */
  get data(): Buffer {
    if (this.#data === undefined) throw errnoError(ESTALE, 'Segment.data');
    return this.#data;
  }

  get released(): boolean {
    return this.#data === undefined;
  }

  /** Gives it back, in any order, also after the socket was closed. @throws Error ESTALE the second time */
  release(): void {
    if (this.#data === undefined) throw errnoError(ESTALE, 'zs_segment_release');
    this.#data = undefined;
    const result = native.release(this.#memory, this.#handle);
    if (result < 0) throw errnoError(result, 'zs_segment_release');
  }

  [Symbol.dispose](): void {
    if (!this.released) this.release();
  }
}
