// SPDX-License-Identifier: BSD-3-Clause
/**
 * What a case works with. Its two sides are the near one, under test, and the far one: the same process, another process of the
 * same host, or another host at the end of the wire. The case does not know; its trace must not tell.
 */
import { SOCK } from '../libc/constants.js';
import type { Libc } from '../libc/index.js';
import type { Result } from '../libc/ffi.js';
import { AF, type Address } from '../libc/struct.js';
import { Poller, Sock } from './sock.js';

export type World = 'kernel' | 'host' | 'wire';

export interface Side {
  readonly libc: Libc;
  /** Where the other side reaches it. */
  readonly host: string;
  readonly host6: string;
  /** Starts a call in the other process; what it returns waits for the result. */
  readonly begin?: (name: keyof Libc, ...args: readonly unknown[]) => () => unknown;
}

/** What the case's near sockets must have been: accelerated, or left to the kernel for the reason that the definition gives. */
export type Kind = 'tcp' | 'udp' | 'listen' | 'kernel';

export interface Definition {
  readonly name: string;
  readonly kind: Kind;
  /** For `kernel`: why nothing is accelerated. */
  readonly reason?: string;
  /** Runs over the wire, too. */
  readonly wire: boolean;
  /** The far side must be another process. */
  readonly processes: boolean;
  readonly run: (t: Case) => void;
}

export interface Options {
  readonly wire?: boolean;
  readonly processes?: boolean;
  readonly reason?: string;
}

/** Collects the cases of a suite. */
export class Suite {
  readonly cases: Definition[] = [];
  constructor(readonly name: string) {}

  private add(
    kind: Kind,
    name: string,
    run: (t: Case) => void,
    { wire = false, processes = false, reason }: Options,
  ): void {
    this.cases.push({
      name: `${this.name}_${name}`,
      kind,
      wire,
      processes,
      run,
      ...(reason === undefined ? {} : { reason }),
    });
  }
  /** At least one TCP connection, accelerated. */
  tcp(name: string, run: (t: Case) => void, options: Options = {}): void {
    this.add('tcp', name, run, options);
  }
  /** As {@link tcp}, over the wire, too. */
  wired(name: string, run: (t: Case) => void, options: Options = {}): void {
    this.add('tcp', name, run, { wire: true, ...options });
  }
  /** Datagrams, accelerated. */
  udp(name: string, run: (t: Case) => void, options: Options = {}): void {
    this.add('udp', name, run, options);
  }
  /** Sockets without a connection. */
  listen(name: string, run: (t: Case) => void, options: Options = {}): void {
    this.add('listen', name, run, options);
  }
  /** What stays with the kernel, and why. */
  kernel(name: string, reason: string, run: (t: Case) => void): void {
    this.add('kernel', name, run, { reason });
  }
}

export interface PairOptions {
  readonly family?: number;
  /** Who listens; the other one connects. */
  readonly server?: 'near' | 'far';
  /** Runs before the connection is made. */
  readonly before?: (listener: Sock, client: Sock) => void;
}

const LOOPBACK6 = '::1';

export class Case {
  readonly lines: string[] = [];
  /** Connections that the near side took part in. */
  connections = 0;
  private readonly open = new Map<Side, Set<number>>();
  private readonly ports = new Map<number, string>();
  private count = 0;

  constructor(
    readonly world: World,
    readonly near: Side,
    readonly far: Side,
  ) {}

  log(line: string): void {
    this.lines.push(line);
  }

  /** Traces a result under a name. */
  result(what: string, { r, err }: Result): void {
    this.log(`${what} = ${r}${err === '' ? '' : ` ${err}`}`);
  }

  /** Like {@link result} where the value itself differs from run to run, a descriptor for one. */
  success(what: string, { r, err }: Result): void {
    this.log(`${what} ${r >= 0 ? 'succeeds' : `fails with ${err}`}`);
  }

  /** A result that must be no failure. */
  ok(what: string, { r, err }: Result): number {
    if (r < 0) throw new Error(`${what}: ${err}`);
    return r;
  }

  /** Asks again until it is so; the limit is one that only a hang reaches. */
  eventually(what: string, probe: () => boolean): void {
    const end = Date.now() + 8000;
    while (!probe()) {
      if (Date.now() > end) throw new Error(`not in time: ${what}`);
      this.pause(2);
    }
  }

  /** Lets time pass, for what is about time itself. */
  pause(ms: number): void {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  }

  /* ---- Descriptors: what is left open at the end is closed then ---- */

  keep(side: Side, fd: number): number {
    const fds = this.open.get(side) ?? new Set();
    this.open.set(side, fds.add(fd));
    return fd;
  }
  closed(side: Side, fd: number): Result {
    this.open.get(side)?.delete(fd);
    return side.libc.close(fd);
  }
  forget(side: Side, fd: number): void {
    this.open.get(side)?.delete(fd);
  }
  end(): void {
    for (const [side, fds] of this.open) for (const fd of fds) side.libc.close(fd);
    this.open.clear();
  }

  /* ---- Sockets ---- */

  socket(side: Side, name: string, type: number = SOCK.STREAM, family: number = AF.INET): Sock {
    const fd = this.ok('socket', side.libc.socket(family, type, 0));
    return new Sock(this, side, this.keep(side, fd), name);
  }

  /** A descriptor as a socket of the case. */
  sock(side: Side, fd: number, name: string): Sock {
    return new Sock(this, side, this.keep(side, fd), name);
  }

  /** Where the other side reaches `side`, with a port. */
  at(side: Side, port: number, family: number = AF.INET): Address {
    return { family, port, host: family === AF.INET6 ? side.host6 : side.host };
  }

  portOf(sock: Sock): number {
    return sock.side.libc.getsockname(sock.fd).address?.port ?? 0;
  }

  listener(side: Side, backlog = 8, family: number = AF.INET): Sock {
    const listener = this.socket(side, 'listener', SOCK.STREAM, family);
    this.ok('bind', side.libc.bind(listener.fd, this.at(side, 0, family)));
    this.ok('listen', side.libc.listen(listener.fd, backlog));
    return listener;
  }

  /** Two connected sockets: `near` and `far`. The listener is closed. */
  pair({ family = AF.INET, server = 'far', before }: PairOptions = {}): [near: Sock, far: Sock] {
    const [serving, calling] = server === 'far' ? [this.far, this.near] : [this.near, this.far];
    const suffix = this.count++ === 0 ? '' : `${this.count}`;
    const listener = this.listener(serving, 8, family);
    const client = this.socket(calling, server === 'far' ? `near${suffix}` : `far${suffix}`, SOCK.STREAM, family);
    before?.(listener, client);
    this.ok('connect', calling.libc.connect(client.fd, this.at(serving, this.portOf(listener), family)));
    const accepted = this.accept(listener, server === 'far' ? `far${suffix}` : `near${suffix}`);
    this.closed(serving, listener.fd);
    this.connections++;
    return server === 'far' ? [client, accepted] : [accepted, client];
  }

  accept(listener: Sock, name: string, flags = 0): Sock {
    listener.readable();
    const fd = this.ok('accept', listener.side.libc.accept4(listener.fd, flags));
    return new Sock(this, listener.side, this.keep(listener.side, fd), name);
  }

  /** A bound UDP socket. */
  datagram(side: Side, name: string, family: number = AF.INET): Sock {
    const sock = this.socket(side, name, SOCK.DGRAM, family);
    this.ok('bind', side.libc.bind(sock.fd, this.at(side, 0, family)));
    return sock;
  }

  /** Two UDP sockets that are connected to each other. */
  datagrams(family: number = AF.INET): [near: Sock, far: Sock] {
    const [near, far] = [this.datagram(this.near, 'near', family), this.datagram(this.far, 'far', family)];
    this.ok('connect', this.near.libc.connect(near.fd, this.at(this.far, this.portOf(far), family)));
    this.ok('connect', this.far.libc.connect(far.fd, this.at(this.near, this.portOf(near), family)));
    return [near, far];
  }

  poller(side: Side = this.near, name = 'set'): Poller {
    return new Poller(this, side, this.keep(side, this.ok('epoll_create1', side.libc.epoll_create1(0))), name);
  }

  /** An address as it reads in every world: hosts by what they are, ports by the order of their appearance. */
  address(address: Address | null): string {
    if (address === null) return 'none';
    const { family, host, port } = address;
    if (port !== 0 && !this.ports.has(port)) this.ports.set(port, `p${this.ports.size + 1}`);
    const plain = host.replace(/^::ffff:/, '');
    const own = [this.near.host, this.far.host, this.near.host6, this.far.host6, LOOPBACK6].includes(plain);
    const mapped = plain === host ? '' : 'mapped ';
    return `${family === AF.INET ? 'ipv4' : 'ipv6'} ${mapped}${own ? 'host' : plain}:${this.ports.get(port) ?? 0}`;
  }
}
