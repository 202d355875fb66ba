// SPDX-License-Identifier: BSD-3-Clause
/** What a test file needs: an engine, a directory, programs under Z-stack and not; and the end of all of it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine, type EngineOptions } from './engine.js';
import { nothingLeft } from './leftovers.js';
import { FAR, Link, NEAR, type LinkKind } from './link.js';
import { NetworkNamespace } from './netns.js';
import { killQuietly, processes, processInfo, Program, type Outcome, type StartOptions } from './processes.js';
import type { StackName } from './stacks.js';
import { until } from './wait.js';
import { kernelEnvironment, launcher, wrappedVariables } from './wrapped.js';

export interface StageOptions {
  readonly engine?: EngineOptions;
  /** Everything runs in a network namespace of its own. */
  readonly namespace?: boolean;
  /** The engine has a port, and there is a peer at its other end; both in namespaces of their own. */
  readonly wire?: LinkKind;
  /** With `wire`: the TCP/IP stack of the engine there, or of both engines. */
  readonly stack?: StackName;
  /** With `wire`: the peer is reached only while a program passes the packets on ({@link Stage.relay}). */
  readonly relay?: boolean;
  /** With `wire`: further keys of the engines' ports, `mtu=1280,tso=on`. */
  readonly keys?: string;
  /** With `wire`: queues of an af_packet device; those that ZSTACK_TEST_QUEUES says unless told, which is 1. */
  readonly queues?: number;
}

/** Who serves over the wire: programs under Z-stack at the near end, or those at the far end. */
export type Direction = 'in' | 'out';

/** Both ends of the wire in the roles of one direction. */
export interface Ends {
  /** Where the server is reached. */
  readonly host: string;
  server(command: readonly string[], options?: StartOptions): Program;
  client(command: readonly string[], options?: StartOptions): Program;
  /** Runs a client to its end, which must be status 0. */
  ok(command: readonly string[], options?: StartOptions): Promise<Outcome>;
  /** Waits until somebody listens, as the client sees it. */
  listening(port: number): Promise<void>;
}

/** Both kinds of client; `describe.each(CLIENTS)` or `test.each(CLIENTS)`. */
export const CLIENTS = [
  ['a client under Z-stack', true],
  ['a kernel client', false],
] as const;

export class Stage {
  private current: Engine | undefined;
  private farEngine: Engine | undefined;
  private wire: Link | undefined;
  private path: string | undefined;
  private namespace: NetworkNamespace | undefined;
  private programs: Program[] = [];
  private readonly daemons = new Set<number>();
  readonly run = randomBytes(8).toString('hex');

  constructor(private readonly options: StageOptions) {}

  get engine(): Engine {
    if (this.current === undefined) throw new Error('the engine runs in tests only');
    return this.current;
  }

  /** A directory that goes away with the test file. */
  get directory(): string {
    if (this.path === undefined) throw new Error('the directory is there in tests only');
    return this.path;
  }

  get network(): NetworkNamespace {
    if (this.namespace === undefined) throw new Error('the stage has no namespace');
    return this.namespace;
  }

  get link(): Link {
    if (this.wire === undefined) throw new Error('the stage has no wire');
    return this.wire;
  }

  /** The engines of both ends; one when the far end is a kernel. */
  get engines(): Engine[] {
    return [this.engine, ...(this.farEngine === undefined ? [] : [this.farEngine])];
  }

  async open(): Promise<void> {
    // Open to all: programs such as nginx give up their user.
    this.path = mkdtempSync(join(tmpdir(), 'zstack-test-'));
    if (this.options.namespace === true) this.namespace = new NetworkNamespace();
    if (this.options.wire !== undefined) {
      const queues = this.options.queues ?? Number(process.env['ZSTACK_TEST_QUEUES'] ?? 1);
      this.wire = new Link(this.options.wire, this.path, this.options.relay, this.options.keys, queues);
      this.namespace = this.wire.near;
    }
    await this.startEngine();
    if (this.wire?.engines === true)
      this.farEngine = await Engine.start(this.path, { ...this.wire.engine('far'), stack: this.options.stack });
  }

  /** Another engine, after the first was ended; with the same name unless told otherwise. */
  async startEngine(options: EngineOptions = {}): Promise<Engine> {
    const name = this.current === undefined ? {} : { name: this.current.name };
    this.current = await Engine.start(this.directory, {
      ...this.options.engine,
      ...name,
      ...this.wire?.engine(),
      stack: this.options.stack,
      ...options,
      namespace: this.namespace,
    });
    this.wire?.connect();
    return this.current;
  }

  /** Starts a program under Z-stack (true) or on kernel sockets. */
  start(wrapped: boolean, command: readonly string[], options: StartOptions = {}): Program {
    const ours = wrapped ? wrappedVariables(this.engine.identity, this.run) : {};
    return this.spawn(command, ours, options);
  }

  wrapped(command: readonly string[], options: StartOptions = {}): Program {
    return this.start(true, command, options);
  }

  kernel(command: readonly string[], options: StartOptions = {}): Program {
    return this.start(false, command, options);
  }

  /** Starts a program through the launcher, `zstack-run`, on this engine. */
  launched(args: readonly string[], options: StartOptions = {}): Program {
    const { command, env } = launcher('--engine', this.engine.name, ...args);
    return this.spawn(command, env, options);
  }

  /** Starts a program at the far end of the wire: on the kernel, or on the engine there. */
  far(command: readonly string[], options: StartOptions = {}): Program {
    const ours = this.farEngine === undefined ? {} : wrappedVariables(this.farEngine.identity, this.run);
    return this.spawn(command, ours, options, this.link.far);
  }

  /** Starts a program on the kernel of a namespace that a test made itself. */
  inside(namespace: NetworkNamespace, command: readonly string[], options: StartOptions = {}): Program {
    return this.spawn(command, {}, options, namespace);
  }

  /** Both ends of the wire for a server at the near (`in`) or at the far end (`out`). */
  ends(direction: Direction): Ends {
    const [host, server, client] = direction === 'in' ? [NEAR, this.wrapped, this.far] : [FAR, this.far, this.wrapped];
    return this.between(host, server.bind(this), client.bind(this));
  }

  /** Both ends on this host: under Z-stack (true) or on kernel sockets. */
  sameHost(wrapped: boolean): Ends {
    const start = this.start.bind(this, wrapped);
    return this.between('127.0.0.1', start, start);
  }

  private between(host: string, server: Ends['server'], client: Ends['client']): Ends {
    const ends: Ends = {
      host,
      server,
      client,
      ok: (command, options = {}) => this.succeed(ends.client(command, options)),
      listening: async (port) => {
        // The shell's own connect: a quick one.
        const probe = ['/bin/bash', '-c', 'exec 3<>"/dev/tcp/$1/$2"', 'bash', host, `${port}`];
        await until(`somebody listens at ${host}:${port}`, async () => (await ends.client(probe).ended()).status === 0);
      },
    };
    return ends;
  }

  private spawn(
    command: readonly string[],
    ours: Record<string, string>,
    options: StartOptions,
    namespace = this.namespace,
  ): Program {
    const env = { ...kernelEnvironment(), ...options.env };
    // In a namespace `ip netns exec` comes first, without the library: env(1) sets it for the program.
    const inside = namespace?.prefix ?? [];
    const settings = Object.entries(ours).map(([key, value]) => `${key}=${value}`);
    const program =
      namespace === undefined
        ? new Program(command, { ...env, ...ours }, options)
        : new Program([...inside, 'env', ...settings, ...command], env, options);
    this.programs.push(program);
    return program;
  }

  /** Runs a program to its end, which must be status 0. */
  async ok(wrapped: boolean, command: readonly string[], options: StartOptions = {}): Promise<Outcome> {
    return this.succeed(this.start(wrapped, command, options));
  }

  private async succeed(program: Program): Promise<Outcome> {
    const outcome = await program.ended();
    if (outcome.status !== 0)
      throw new Error(
        `${program.name} ended with ${outcome.status ?? outcome.signal}; it wrote:\n${outcome.stdout.slice(-3000)}${outcome.stderr.slice(-3000)}`,
      );
    return outcome;
  }

  /** A process that left the session of the program that started it belongs to this test, too, with its own session. */
  adopt(pid: number): void {
    const info = processInfo(pid);
    if (info !== undefined && info.session > 1 && info.session !== processInfo(process.pid)?.session)
      this.daemons.add(info.session);
  }

  private kill(): Set<number> {
    const sessions = new Set(this.daemons);
    for (const program of this.programs) sessions.add(program.pid);
    for (const p of processes()) if (sessions.has(p.session)) killQuietly(p.pid);
    this.daemons.clear();
    for (const program of this.programs.splice(0)) program.release();
    return sessions;
  }

  /** Ends what a test started and checks that nothing is left. */
  async clear(): Promise<void> {
    const sessions = this.kill();
    // Over the wire an end may take retransmissions, and on a loaded machine the kernel reports closed sockets late.
    for (const engine of this.engines) await nothingLeft(engine, sessions, 30_000);
  }

  async close(): Promise<void> {
    this.kill();
    try {
      await this.farEngine?.stop();
      await this.current?.stop();
      await this.wire?.gone();
    } finally {
      this.farEngine?.kill();
      this.current?.kill();
      (this.wire ?? this.namespace)?.remove();
      if (this.path !== undefined) rmSync(this.path, { recursive: true, force: true });
    }
  }
}

/** Makes the stage of a test file (or of a `describe`) with its hooks. */
export function useStage(options: StageOptions = {}): Stage {
  const stage = new Stage(options);
  beforeAll(() => stage.open(), 60_000);
  afterEach(() => stage.clear(), 60_000);
  afterAll(() => stage.close(), 60_000);
  return stage;
}
