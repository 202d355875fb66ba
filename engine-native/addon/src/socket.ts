// SPDX-License-Identifier: BSD-3-Clause
/** TCP sockets that send and receive without copying. */
import { Server, Socket, type SocketConstructorOpts } from 'node:net';
import { expectCompletion, sendDone, type Completion } from './completions.js';
import { idOf, Segment } from './memory.js';
import { EAGAIN, EINVAL, EPIPE, errnoError, native, READABLE, WRITABLE, type NativePoller } from './native.js';

/** What became of a send. */
export interface Sent {
  readonly bytes: number;
  /** Bytes of it that were copied. */
  readonly copied: number;
  /** Why, as zstack(7) names it; `none` when nothing was. */
  readonly reason: string;
}

export type Sendable = Uint8Array | Segment;

const PIECES_MAX = 64;

/** The part of Node's own that a descriptor is found by. */
interface WithHandle {
  _handle?: { readonly fd?: number } | null;
}

function fdOf(socket: Socket): number {
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

/** A send that waits for its turn among the writes. */
interface Job {
  readonly views: Uint8Array[];
  readonly ids: bigint[];
  readonly done: (error: Error | null, sent: Sent) => void;
}

type Callback = (error?: Error | null) => void;

/**
 * A `net.Socket` with zero-copy calls. It starts paused: read it by `segments()`, or as any stream, which `resume`, `pipe` and
 * `for await` begin; not by both. Writes and `sendZero` keep their order.
 */
export class ZSocket extends Socket {
  #poller: NativePoller | undefined;
  #wanted = 0;
  #readers: (() => void)[] = [];
  #writers: (() => void)[] = [];
  #zero = false;
  readonly #jobs = new WeakMap<object, Job>();

  constructor(options: SocketConstructorOpts = {}) {
    super({ ...options, pauseOnCreate: true } as SocketConstructorOpts);
    this.pause();
  }

  // ---- Readiness ----

  #ready(events: number): void {
    this.#wanted &= ~events;
    const wake = [...(events & READABLE ? this.#readers.splice(0) : []), ...(events & WRITABLE ? this.#writers.splice(0) : [])];
    for (const f of wake) f();
    if (this.#wanted !== 0) this.#poller?.start(this.#wanted);
  }

  #wait(event: number): Promise<void> {
    if (this.destroyed) return Promise.resolve();
    if (this.#poller === undefined) {
      this.#poller = new native.Poller(fdOf(this), (events) => this.#ready(events));
      if (this.#poller.error < 0) return Promise.reject(errnoError(this.#poller.error, 'poll'));
    }
    return new Promise((resolve) => {
      (event === READABLE ? this.#readers : this.#writers).push(resolve);
      this.#wanted |= event;
      this.#poller?.start(this.#wanted);
    });
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#poller?.close();
    this.#poller = undefined;
    this.#ready(READABLE | WRITABLE);
    super._destroy(error, callback);
  }

  // ---- Receive ----

  override _read(size: number): void {
    if (!this.#zero) super._read(size);
  }

  /** Segments of what has come, at least one; none at the end of the stream. */
  async receive(max = 16): Promise<Segment[]> {
    this.#zero = true;
    if (this.connecting) await new Promise<void>((resolve) => this.once('connect', resolve).once('close', () => resolve()));
    for (;;) {
      if (this.destroyed) {
        if (this.errored) throw this.errored;
        return [];
      }
      const got = native.recv(fdOf(this), max);
      if (typeof got !== 'number') return got.map((one) => new Segment(one));
      if (got === 0) {
        this.push(null);
        this.resume(); // lets 'end' be told
        return [];
      }
      if (got !== EAGAIN) {
        const error = errnoError(got, 'zs_recv');
        this.destroy(error);
        throw error;
      }
      await this.#wait(READABLE);
    }
  }

  /** What comes, where it is. Each segment is to be released: `for await (using segment of socket.segments())`. */
  async *segments(): AsyncGenerator<Segment, void, undefined> {
    for (let list = await this.receive(); list.length > 0; list = await this.receive()) {
      try {
        for (let segment = list.shift(); segment !== undefined; segment = list.shift()) yield segment;
      } finally {
        for (const segment of list) segment[Symbol.dispose](); // who left the loop has not seen them
      }
    }
  }

  // ---- Send ----

  /**
   * Sends a part of a {@link ZBuffer}, a received segment, or other memory, or several of these, at their place among the writes.
   * Resolves when the memory is the program's again: of a buffer when it was read or acknowledged, of a segment, which may be released
   * then, when it was sent on.
   * Rejects with EBUSY (the buffer is lent already), ESTALE (released or freed), or as a write does.
   */
  sendZero(data: Sendable | readonly Sendable[]): Promise<Sent> {
    const list: readonly Sendable[] = Array.isArray(data) ? data : [data as Sendable];
    return new Promise((resolve, reject) => {
      const views = list.map((one) => (one instanceof Segment ? one.data : one)).filter((view) => view.byteLength > 0);
      if (views.length > PIECES_MAX) throw errnoError(EINVAL, 'sendZero');
      const done = (error: Error | null, sent: Sent): void => (error === null ? resolve(sent) : reject(error));
      const marker = Buffer.alloc(0);
      this.#jobs.set(marker, { views, ids: views.map(idOf), done });
      this.write(marker, (error) => {
        if (error) reject(error);
      });
    });
  }

  async #run(job: Job): Promise<void> {
    const { views, ids } = job;
    let [bytes, copied, reason, skip, left] = [0, 0, 'none', 0, 1];
    const part = (c?: Completion): void => {
      if (c !== undefined && reason === 'none') reason = c.reason;
      if (--left === 0) job.done(null, { bytes, copied, reason });
    };
    while (views.length > 0) {
      if (this.destroyed) throw errnoError(EPIPE, 'zs_send');
      const cookie = expectCompletion(part);
      const [n, copies, why] = native.send(fdOf(this), views, ids, skip, cookie);
      if (n > 0) left++;
      sendDone(cookie, n > 0);
      if (n < 0 && n !== EAGAIN) throw errnoError(n, 'zs_send');
      if (n === EAGAIN) {
        await this.#wait(WRITABLE);
        continue;
      }
      bytes += n;
      copied += copies;
      if (reason === 'none') reason = why;
      for (skip += n; views[0] !== undefined && skip >= views[0].byteLength; ids.shift()) skip -= views.shift()?.byteLength ?? 0;
    }
    part();
  }

  #job(job: Job, callback: Callback): void {
    const fail = (error: Error & { code?: string }): void => {
      job.done(error, { bytes: 0, copied: 0, reason: 'none' });
      // What the program did wrong is no fault of the connection.
      callback(['EINVAL', 'EBUSY', 'ESTALE', 'EPERM'].includes(error.code ?? '') ? null : error);
    };
    this.#run(job).then(() => callback(), fail);
  }

  override _write(chunk: unknown, encoding: BufferEncoding, callback: Callback): void {
    const job = this.#jobs.get(chunk as object);
    if (job === undefined) super._write(chunk, encoding, callback);
    else if (this.connecting) this.once('connect', () => this.#job(job, callback)).once('close', () => this.destroyed && callback());
    else this.#job(job, callback);
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], callback: Callback): void {
    const write = super._writev?.bind(this);
    const at = chunks.findIndex(({ chunk }) => this.#jobs.has(chunk as object));
    const rest = (from: number): Callback => (error) => {
      if (error || from === chunks.length) callback(error);
      else this._writev(chunks.slice(from), callback);
    };
    if (at === -1) write?.(chunks, callback);
    else if (at > 0) write?.(chunks.slice(0, at), rest(at));
    else this._write(chunks[0]?.chunk, 'buffer' as BufferEncoding, rest(1));
  }
}

/** A `net.Server` whose connections are {@link ZSocket}s. Options as `net.createServer`. */
export function createServer(listener: (socket: ZSocket) => void): Server;
export function createServer(options: { allowHalfOpen?: boolean }, listener: (socket: ZSocket) => void): Server;
export function createServer(a: { allowHalfOpen?: boolean } | ((s: ZSocket) => void), b?: (s: ZSocket) => void): Server {
  const [options, listener] = typeof a === 'function' ? [{}, a] : [a, b];
  return new Server({ ...options, pauseOnConnect: true }, (plain) => {
    // The connection changes its object: the plain one gives its handle away before it has read anything.
    const from = plain as unknown as { _handle: unknown; _server: unknown; server: unknown };
    const { _handle: handle, _server, server } = from;
    from._handle = null;
    from._server = from.server = null;
    const socket = new ZSocket({ ...options, handle } as SocketConstructorOpts);
    Object.assign(socket, { _server, server });
    listener?.(socket);
  });
}

/** Connects as `net.connect`. */
export function connect(port: number, host = 'localhost', options: SocketConstructorOpts = {}): ZSocket {
  return new ZSocket(options).connect(port, host);
}

/** Sends what `from` receives to `to`, segment by segment where they are, and its end. */
export async function pipeZero(from: ZSocket, to: ZSocket): Promise<Sent> {
  let [bytes, copied, reason] = [0, 0, 'none'];
  for (let list = await from.receive(); list.length > 0; list = await from.receive()) {
    try {
      const sent = await to.sendZero(list);
      bytes += sent.bytes;
      copied += sent.copied;
      if (reason === 'none') reason = sent.reason;
    } finally {
      for (const segment of list) segment[Symbol.dispose]();
    }
  }
  to.end();
  return { bytes, copied, reason };
}

export interface SocketInfo {
  /** Who serves it: shared memory, the engine's stack, the kernel. */
  readonly path: 'local' | 'wire' | 'kernel';
  /** `local`: the process at the other end. */
  readonly peer: number | undefined;
  /** As `zstack-run why` names it. */
  readonly reason: string | undefined;
}

/** Where a connection is served; any `net.Socket` that is open. @throws Error EBADF */
export function info(socket: Socket): SocketInfo {
  const got = native.info(fdOf(socket));
  if (typeof got === 'number') throw errnoError(got, 'zs_socket_info');
  const [path, peer, reason] = got;
  return { path: path as SocketInfo['path'], peer: peer || undefined, reason: reason || undefined };
}

/** Not left to the kernel. */
export function isAccelerated(socket: Socket): boolean {
  return info(socket).path !== 'kernel';
}
