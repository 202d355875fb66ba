// SPDX-License-Identifier: BSD-3-Clause
/** A socket of a case: each method does one call and traces it under the socket's name. */
import { bits, EPOLL, F, MSG, O, POLL } from '../libc/constants.js';
import type { Result } from '../libc/ffi.js';
import type { ReceiveMessage, SendMessage } from '../libc/sockets.js';
import type { Case, Side } from './case.js';

/** How long a condition may take that only a hang misses, ms. */
const PATIENCE = 8000;

/** Bytes in a trace: text as it is, what is long by its length and ends. */
export function show(data: Buffer): string {
  const text = data.toString('latin1').replace(/[^ -~]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return text.length <= 60 ? `"${text}"` : `${data.length} bytes "${text.slice(0, 12)}...${text.slice(-12)}"`;
}

export class Sock {
  constructor(
    private readonly t: Case,
    readonly side: Side,
    readonly fd: number,
    readonly name: string,
  ) {}

  private trace<R extends Result>(what: string, result: R, more: (result: R) => string = () => ''): R {
    this.t.log(`${this.name} ${what} = ${result.r}${result.err === '' ? '' : ` ${result.err}`}${more(result)}`);
    return result;
  }

  /** Waits, untraced, until poll reports one of the events. */
  until(events: number): this {
    const { r, revents } = this.side.libc.poll([[this.fd, events]], PATIENCE);
    if (r !== 1) throw new Error(`${this.name} has no ${bits(events, POLL)} in time: ${revents}`);
    return this;
  }
  readable(): this {
    return this.until(POLL.IN);
  }

  /** Waits until at least so many bytes have arrived. */
  arrived(count: number): this {
    this.t.eventually(`${this.name} has ${count} bytes`, () => this.side.libc.ioctl(this.fd, 0x541b).value >= count);
    return this;
  }

  /** Waits until the other side has everything that was sent. */
  delivered(): this {
    this.t.eventually(`${this.name} was acknowledged`, () => this.side.libc.ioctl(this.fd, 0x5411).value === 0);
    return this;
  }

  send(data: string | Buffer, flags = 0): Result {
    const bytes = Buffer.from(data as string, 'latin1');
    return this.trace(
      `send ${bytes.length} ${bits(flags, MSG)}`,
      this.side.libc.send(this.fd, bytes, flags | MSG.NOSIGNAL),
    );
  }
  write(data: string): Result {
    return this.trace(`write ${data.length}`, this.side.libc.write(this.fd, Buffer.from(data)));
  }
  recv(size: number, flags = 0): Result {
    return this.trace(`recv ${size} ${bits(flags, MSG)}`, this.side.libc.recv(this.fd, size, flags), (r) =>
      this.bytes(r),
    );
  }
  read(size: number): Result {
    return this.trace(`read ${size}`, this.side.libc.read(this.fd, size), (r) => this.bytes(r));
  }
  private bytes(result: { readonly r: number; readonly data: Buffer }): string {
    return result.r > 0 ? ` ${show(result.data)}` : '';
  }

  /** Receives exactly so many bytes, untraced. */
  take(count: number): Buffer {
    const parts: Buffer[] = [];
    for (let left = count; left > 0;) {
      this.readable();
      const { r, data, err } = this.side.libc.recv(this.fd, Math.min(left, 1 << 16), MSG.DONTWAIT);
      if (r <= 0) throw new Error(`${this.name} ends ${left} bytes early: ${err}`);
      parts.push(data);
      left -= r;
    }
    return Buffer.concat(parts);
  }

  recvfrom(size: number, flags = 0): Result {
    return this.trace(`recvfrom ${size} ${bits(flags, MSG)}`, this.side.libc.recvfrom(this.fd, size, flags), (r) =>
      r.r < 0 ? '' : `${this.bytes(r)} from ${this.t.address(r.from)} length ${r.length}`,
    );
  }

  sendmsg(message: SendMessage, flags = 0): Result {
    return this.trace(`sendmsg ${bits(flags, MSG)}`, this.side.libc.sendmsg(this.fd, message, flags | MSG.NOSIGNAL));
  }

  recvmsg(message: ReceiveMessage, flags = 0): Result {
    const result = this.side.libc.recvmsg(this.fd, message, flags);
    return this.trace(`recvmsg ${bits(flags, MSG)}`, result, (r) => {
      if (r.r < 0) return '';
      const control = r.control.map((c) => ` (${c.level} ${c.type} ${c.data.length} bytes)`).join('');
      return `${this.bytes(r)} flags ${bits(r.flags, MSG)} name ${this.t.address(r.from)} length ${r.length} control ${r.controlLength}${control}`;
    });
  }

  /** A call that gives no more than a result, traced as `what`. */
  call(what: string, f: (fd: number) => Result): Result {
    return this.trace(what, f(this.fd));
  }

  shutdown(how: number): Result {
    return this.trace(`shutdown ${how}`, this.side.libc.shutdown(this.fd, how));
  }
  close(): Result {
    return this.trace('close', this.t.closed(this.side, this.fd));
  }

  nonblocking(on = true): this {
    const flags = this.side.libc.fcntl(this.fd, F.GETFL).r;
    this.side.libc.fcntl(this.fd, F.SETFL, on ? flags | O.NONBLOCK : flags & ~O.NONBLOCK);
    return this;
  }

  poll(events: number = POLL.IN | POLL.OUT | POLL.PRI | POLL.RDHUP, timeout = 0): number {
    const { r, revents } = this.side.libc.poll([[this.fd, events]], timeout);
    this.t.log(`${this.name} poll ${bits(events, POLL)} = ${r} ${bits(revents[0] ?? 0, POLL)}`);
    return revents[0] ?? 0;
  }

  /** An int option; sizes and other kinds: {@link optionBytes}. */
  get(level: number, name: number, label: string, size = 4): Buffer {
    const result = this.side.libc.getsockopt(this.fd, level, name, size);
    this.trace(`get ${label} size ${size}`, result, (r) =>
      r.r < 0 ? '' : ` length ${r.length} ${r.value.toString('hex')}`,
    );
    return result.value;
  }
  set(level: number, name: number, label: string, value: number | Buffer, length?: number): Result {
    const bytes = typeof value === 'number' ? Buffer.from(new Int32Array([value]).buffer) : value;
    const text = typeof value === 'number' ? `${value}` : value.toString('hex');
    return this.trace(
      `set ${label} ${text}${length === undefined ? '' : ` length ${length}`}`,
      this.side.libc.setsockopt(this.fd, level, name, bytes, length ?? bytes.length),
    );
  }

  names(): void {
    const [own, peer] = [this.side.libc.getsockname(this.fd), this.side.libc.getpeername(this.fd)];
    this.trace('getsockname', own, (r) => ` ${this.t.address(r.address)} length ${r.length}`);
    this.trace('getpeername', peer, (r) => (r.r < 0 ? '' : ` ${this.t.address(r.address)} length ${r.length}`));
  }
}

/** An epoll set, its events in the order of their data. */
export class Poller {
  constructor(
    private readonly t: Case,
    readonly side: Side,
    readonly fd: number,
    readonly name: string,
  ) {}

  ctl(op: number, sock: { readonly fd: number; readonly name: string }, events: number, data = 1): Result {
    const result = this.side.libc.epoll_ctl(this.fd, op, sock.fd, events, data);
    const verb = ['?', 'add', 'delete', 'modify'][op] ?? `operation ${op}`;
    this.t.log(
      `${this.name} ${verb} ${sock.name} ${bits(events, EPOLL)} = ${result.r}${result.err === '' ? '' : ` ${result.err}`}`,
    );
    return result;
  }
  add(sock: { readonly fd: number; readonly name: string }, events: number, data = 1): Result {
    return this.ctl(1, sock, events, data);
  }
  modify(sock: { readonly fd: number; readonly name: string }, events: number, data = 1): Result {
    return this.ctl(3, sock, events, data);
  }
  remove(sock: { readonly fd: number; readonly name: string }): Result {
    return this.ctl(2, sock, 0);
  }

  wait(timeout = 0, max = 16): number {
    const { r, err, events } = this.side.libc.epoll_wait(this.fd, max, timeout);
    this.report('wait', r, err, events);
    return r;
  }

  report(
    what: string,
    r: number,
    err: string,
    events: readonly { readonly events: number; readonly data: number }[],
  ): void {
    const sorted = [...events].sort((a, b) => a.data - b.data);
    const text = sorted.map((e) => ` ${e.data}:${bits(e.events, EPOLL)}`).join('');
    this.t.log(`${this.name} ${what} = ${r}${err === '' ? '' : ` ${err}`}${text}`);
  }
}
