// SPDX-License-Identifier: BSD-3-Clause
/** An engine of the test's own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AdminClient } from '../../ts-launcher/src/engine/admin.js';
import { engineIdentity } from '../../ts-launcher/src/engine/name.js';
import { InsideClient } from './inside.js';
import type { NetworkNamespace } from './netns.js';
import { ZSTACKD, ZSTACKD_FSTACK } from './paths.js';
import { killQuietly } from './processes.js';
import type { StackName } from './stacks.js';
import { within } from './wait.js';

export interface EngineClient {
  readonly id: number;
  readonly pid: number;
  readonly name: string;
  readonly run: string;
  readonly sessions: number;
  readonly connects: number;
  readonly accepts: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly sleeps: number;
  readonly buffers: BuffersStatus;
}

/** Segments of the buffers of zero-copy sockets: bytes that count as used, and bytes that were touched. */
export interface BuffersStatus {
  readonly segments: number;
  readonly bytes: number;
  readonly resident: number;
}

export interface Status {
  readonly pid: number;
  readonly cpu_s: number;
  readonly memory: {
    readonly limit: number;
    readonly used: number;
    readonly peak: number;
    readonly buffers: BuffersStatus;
  };
  readonly sessions: {
    readonly in_use: number;
    readonly tcp: number;
    readonly udp: number;
    readonly listeners: number;
    readonly accept_queued: number;
  };
  readonly waiters: number;
  /** Records of lent memory. */
  readonly loans?: number;
  readonly clients: readonly EngineClient[];
  readonly totals: Readonly<Record<string, number>>;
  /** With ports only, as the next two. */
  readonly ports?: readonly PortStatus[];
  readonly stack?: Readonly<Record<string, number>>;
  readonly wire?: WireStatus;
}

/** What a thread of the engine does that serves connections. */
export interface WorkerStatus {
  readonly worker: number;
  readonly connections: number;
  readonly accepted: number;
  readonly asleep: boolean;
  readonly wakeups: number;
  readonly queues: number;
  readonly frames_polled: number;
  readonly frames_received: number;
  readonly frames_sent: number;
  readonly frames_handed_over: number;
}

export interface WireStatus {
  readonly connections: number;
  readonly own_sessions: number;
  readonly loans?: number;
  /** With several. */
  readonly workers?: readonly WorkerStatus[];
  /** With F-Stack: what was set; connections and listeners by FreeBSD's TCP; connections by congestion control. */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly tcp_functions?: Readonly<Record<string, number>>;
  readonly congestion?: Readonly<Record<string, number>>;
}

export interface PortStatus {
  readonly device: string;
  readonly ip: readonly string[];
  readonly mac: string;
  readonly link: boolean;
  readonly link_ups: number;
  readonly kind: string;
  readonly sleep: string;
  readonly queues: number;
  readonly spread: 'none' | 'device' | 'rss';
  readonly mtu: number;
  readonly rx_packets: number;
  readonly rx_bytes: number;
  readonly rx_long: number;
  readonly tx_packets: number;
  readonly tx_bytes: number;
}

export interface WhySocket {
  readonly fd: number;
  readonly proto: 'tcp' | 'udp';
  readonly verdict: 'local' | 'kernel' | 'wire' | 'both' | 'undecided';
  readonly reason: string;
  readonly local?: string;
  readonly remote?: string;
  readonly bytes_in?: number;
  readonly bytes_out?: number;
  readonly peer?: { readonly pid: number; readonly name: string };
}

export interface Why {
  readonly attached: boolean;
  readonly sockets: readonly WhySocket[];
}

export interface EngineOptions {
  readonly name?: string;
  /** Limit of ring memory, MiB. */
  readonly memory?: number;
  readonly namespace?: NetworkNamespace | undefined;
  /** Behind the port; native unless told otherwise. */
  readonly stack?: StackName | undefined;
  /** Threads of the native stack behind the port; those that ZSTACK_TEST_WORKERS says unless told otherwise, which is 1. */
  readonly workers?: number;
  /** `--poll-us`; the engine's own default when undefined. */
  readonly pollUs?: number;
  /** `--ecn` of the stack. */
  readonly ecn?: 'passive' | 'on' | 'off';
  /** `--fstack-sysctl` of F-Stack. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** A port with its `--port` and the arguments of EAL that make its device; without it there is no DPDK. */
  readonly port?: { readonly port: string; readonly eal: readonly string[] } | undefined;
}

/** A name that no other engine has. */
export function uniqueEngineName(): string {
  return `test-${process.pid}-${randomBytes(4).toString('hex')}`;
}

export class Engine {
  private admin: AdminClient | InsideClient | undefined;

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
    private readonly log: string,
    private readonly namespace: NetworkNamespace | undefined,
  ) {}

  /** Starts an engine and waits until it serves. Its log goes into `directory`. */
  static async start(directory: string, options: EngineOptions = {}): Promise<Engine> {
    const name = options.name ?? uniqueEngineName();
    const log = join(directory, `engine-${name}.log`);
    const fd = openSync(log, 'a');
    const args = ['--name', name, '--linger', '0', '--memory', String(options.memory ?? 1024), '--log-level', 'info'];
    const several = options.stack === 'fstack' ? 1 : Number(process.env['ZSTACK_TEST_WORKERS'] ?? 1);
    const workers = options.workers ?? several;
    if (workers > 1 && options.port !== undefined) args.push('--workers', `${workers}`);
    if (options.pollUs !== undefined) args.push('--poll-us', `${options.pollUs}`);
    if (options.ecn !== undefined) args.push('--ecn', options.ecn);
    for (const [key, value] of Object.entries(options.sysctls ?? {})) args.push('--fstack-sysctl', `${key}=${value}`);
    const dpdk = options.port === undefined ? ['--no-dpdk'] : ['--port', options.port.port, '--', ...options.port.eal];
    const program = options.stack === 'fstack' ? [ZSTACKD_FSTACK, '--stack', 'fstack'] : [ZSTACKD];
    const [file = '', ...rest] = [...(options.namespace?.prefix ?? []), ...program, ...args, ...dpdk];
    const child = spawn(file, rest, { detached: true, cwd: '/', stdio: ['ignore', fd, fd, 'pipe'] });
    closeSync(fd);
    const report = child.stdio[3] as Readable;
    const engine = new Engine(name, child, log, options.namespace);
    const ready = new Promise<void>((resolve, reject) => {
      let text = '';
      report.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.startsWith('ready\n')) resolve();
      });
      child.once('error', reject);
      child.once('close', (status) => reject(new Error(`the engine ended with ${status}: ${text}${engine.logText()}`)));
    });
    ready.catch(() => undefined);
    try {
      await within(10_000, 'the engine is ready', ready);
    } catch (error) {
      engine.kill();
      throw error;
    } finally {
      report.destroy();
    }
    return engine;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** ZSTACK_ENGINE of the programs that are to use it. */
  get identity(): string {
    return engineIdentity(this.name);
  }

  /** Empty when the directory has gone, at the end of all. */
  logText(): string {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8') : '';
  }

  async request(cmd: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (!this.running)
      throw new Error(
        `the engine ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.logText().slice(-3000)}`,
      );
    this.admin ??=
      this.namespace === undefined
        ? await AdminClient.open(this.name)
        : new InsideClient(this.namespace, this.identity);
    if (this.admin === undefined) throw new Error(`no engine ${this.name} answers: ${this.logText().slice(-2000)}`);
    return this.admin.request(cmd, args);
  }

  async status(): Promise<Status> {
    return (await this.request('status')) as Status;
  }

  async why(pid: number): Promise<Why> {
    return (await this.request('why', { pid })) as Why;
  }

  /** Ends it as its user would, and waits. */
  async stop(): Promise<void> {
    if (!this.running) return;
    const gone = new Promise<void>((resolve) => this.child.once('close', () => resolve()));
    try {
      await this.request('stop', { force: true });
      this.admin?.close();
      await within(5000, 'the engine stops', gone);
      if (this.child.exitCode !== 0)
        throw new Error(
          `the engine ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.logText().slice(-3000)}`,
        );
    } finally {
      this.kill();
    }
  }

  /** Ends it as a crash would. */
  kill(): void {
    this.admin?.close();
    this.admin = undefined;
    if (this.running) killQuietly(this.pid);
  }

  /** As {@link kill}, and waits until it is gone. */
  async crash(): Promise<void> {
    const gone = new Promise<void>((resolve) => this.child.once('close', () => resolve()));
    this.kill();
    await within(5000, 'the engine is gone', gone);
  }
}
