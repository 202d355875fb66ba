/**
 * Two network namespaces and what lies between them: the near one with the server, the far one with the client. A veth for
 * the kernel's servers, another one for engines; a TAP or a memif where the engine brings its own. Addresses of
 * documentation (RFC 5737) that exist in the two only, and no way out of them.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checked, statusSchema, type EngineStatus, type PortStatus } from '../engine/protocol.js';
import { LauncherError, textOf } from '../errors.js';
import type { Options, Resolved } from '../options/resolve.js';
import { part } from '../paths.js';
import { capabilities } from '../ports/capabilities.js';
import { ip } from '../ports/ip.js';
import { descendants, killAll, killQuietly, launcher, runRaw, type World } from './processes.js';

export const PORT_KINDS = ['af_packet', 'af_xdp', 'tap', 'memif'] as const;
export type WireKind = (typeof PORT_KINDS)[number];
export type End = 'near' | 'far';

/** Addresses per kind of link; each link has a network of its own. */
const NETWORK = {
  engine: { near: '192.0.2.2', far: '192.0.2.1', length: 26 },
  kernel: { near: '192.0.2.66', far: '192.0.2.65', length: 26 },
  tap: { near: '192.0.2.130', far: '192.0.2.129', length: 26 },
  memif: { near: '192.0.2.194', far: '192.0.2.193', length: 26 },
  path: { near: '198.51.100.2', far: '198.51.100.1', length: 24 },
} as const;
type LinkName = keyof typeof NETWORK;

/** Interfaces by link, near and far. The TAP's far end is the only one it has. */
const INTERFACES = {
  engine: { near: 'engine0', far: 'engine1' },
  kernel: { near: 'kernel0', far: 'kernel1' },
  tap: { near: 'tap1', far: 'tap1' },
  path: { near: 'path0', far: 'path1' },
} as const;

/** The near kernel's address on an emulated path, beside the engine's. */
const PATH_KERNEL = '198.51.100.3';

/** An engine of the benchmark. */
export interface WireEngine {
  readonly name: string;
  readonly pid: number;
  readonly end: End;
}

/** Why the namespaces cannot be made here, or `undefined` when they can. */
export function wireProblem(): string | undefined {
  const missing = (['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_NET_RAW'] as const).filter(
    (name) => !capabilities().has(name),
  );
  return missing.length === 0 ? undefined : `it needs ${missing.join(', ')}`;
}

export class Bed {
  readonly names: Readonly<Record<End, string>> = {
    near: `zsb-${process.pid}-near`,
    far: `zsb-${process.pid}-far`,
  };
  /** For what the programs write. */
  readonly directory = mkdtempSync(join(tmpdir(), 'zstack-wire-'));
  private readonly engines = new Set<WireEngine>();
  private count = 0;
  private readonly onSignal = (signal: NodeJS.Signals) => {
    this.removeNow();
    process.kill(process.pid, signal);
  };

  private constructor(private readonly resolved: Resolved) {}

  /**
   * Makes namespaces and links. They go with {@link remove}, on a signal, and when this process exits.
   * @throws LauncherError ZS1608 not permitted, ZS1612 `ip` failed
   */
  static async open(resolved: Resolved): Promise<Bed> {
    const problem = wireProblem();
    if (problem !== undefined)
      throw new LauncherError('ZS1608', `benchmarks of the wire make network namespaces: ${problem}`, 'run it as root');
    const bed = new Bed(resolved);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, bed.onSignal);
    try {
      for (const name of Object.values(bed.names)) {
        await ip(['netns', 'add', name]);
        await ip(['-n', name, 'link', 'set', 'lo', 'up']);
      }
      await bed.cable('engine');
      await bed.cable('kernel');
      bed.segment('engine', true);
      await bed.ip('near', 'address', 'add', `${NETWORK.kernel.near}/${NETWORK.kernel.length}`, 'dev', 'kernel0');
    } catch (error) {
      bed.removeNow();
      throw error;
    }
    return bed;
  }

  /** `ip` in one of the namespaces. */
  ip(end: End, ...args: string[]): Promise<string> {
    return ip(['-n', this.names[end], ...args]);
  }

  private async cable(link: 'engine' | 'kernel'): Promise<void> {
    const { near, far } = INTERFACES[link];
    await this.ip('near', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', this.names.far);
    await this.ip('far', 'address', 'add', `${NETWORK[link].far}/${NETWORK[link].length}`, 'dev', far);
    await this.ip('near', 'link', 'set', near, 'up');
    await this.ip('far', 'link', 'set', far, 'up');
  }

  /** Frames of a network, at most 1514 bytes each; or the super-frames that two kernels on one host pass each other. */
  segment(link: 'engine' | 'kernel', on: boolean): void {
    for (const end of ['near', 'far'] as const)
      this.inside(end, part('load'), 'segments', INTERFACES[link][end], on ? 'on' : 'off');
  }

  /** Moves the work of receiving at an interface to a CPU; without one it stays with whoever sends, as veth has it. */
  steer(end: End, link: LinkName, cpu: number | undefined): void {
    if (link === 'memif') return;
    const path = `/sys/class/net/${INTERFACES[link][end]}/queues/rx-0/rps_cpus`;
    const mask = cpu === undefined ? 0n : 1n << BigInt(cpu);
    const words = mask.toString(16).replace(/(?<=.)(?=(.{8})+$)/g, ',');
    this.inside(end, 'sh', '-c', `echo ${words} > ${path}`);
  }

  private inside(end: End, ...command: string[]): void {
    execFileSync('ip', ['netns', 'exec', this.names[end], ...command], { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  /** The interfaces at both ends of a link. */
  ends(link: 'path'): [string, string] {
    return [INTERFACES[link].near, INTERFACES[link].far];
  }

  /** The ends of an emulated path, which its program made in the near namespace: one goes to the far one, both get addresses. */
  async takePath(): Promise<void> {
    const [near, far] = this.ends('path');
    const { length } = NETWORK.path;
    await this.ip('near', 'link', 'set', far, 'netns', this.names.far);
    await this.ip('near', 'address', 'add', `${PATH_KERNEL}/${length}`, 'dev', near);
    await this.ip('far', 'address', 'add', `${NETWORK.path.far}/${length}`, 'dev', far);
    await this.ip('near', 'link', 'set', near, 'up');
    await this.ip('far', 'link', 'set', far, 'up');
  }

  /** The network of the engines' link, for a stack that is none of ours, and its near interface. */
  engineNetwork(): { readonly interface: string; readonly length: number; readonly gateway: string } {
    const { far, length } = NETWORK.engine;
    return { interface: INTERFACES.engine.near, length, gateway: far };
  }

  /** The kernel at the far end computes checksums itself: a stack that is none of ours drops frames whose sums are left to a device. */
  completeSums(): void {
    this.inside('far', 'ethtool', '-K', INTERFACES.engine.far, 'tx', 'off');
  }

  /** The far end asks anew who has the engine's address: another stack has it now, with another MAC. */
  async forgetNeighbours(): Promise<void> {
    await this.ip('far', 'neighbour', 'flush', 'dev', INTERFACES.engine.far);
  }

  /** The link that a program of this world uses. */
  link(kind: WireKind, world: World): LinkName {
    if (world === 'kernel') return 'kernel';
    return kind === 'tap' || kind === 'memif' ? kind : 'engine';
  }

  /** The address at one end of a link. */
  address(link: LinkName, end: End): string {
    return NETWORK[link][end];
  }

  /** An engine with a port of that kind at one end. @throws LauncherError ZS1501 */
  async startEngine(
    kind: WireKind,
    end: End,
    cpu: number,
    stack: Options['stack'] = 'native',
    over?: 'path',
  ): Promise<WireEngine> {
    const { options, origins } = this.resolved;
    const name = `bench-${process.pid}-${end}-${this.count}`;
    const flag = (given: boolean, ...args: string[]) => (given ? args : []);
    const line = launcher(
      ...['engine', 'start', '--quiet', '--engine', name, '--linger', '120'],
      ...['--stack', stack, '--port', this.port(kind, end, over), '--cores', options.cores ?? String(cpu)],
      ...flag(kind === 'tap', '--netns', this.names.far),
      ...flag(origins.memory.kind === 'flag', '--memory', String(options.memory)),
      ...flag(origins.hugepages.kind === 'flag', '--hugepages', options.hugepages),
      ...flag(origins.log.kind === 'flag', '--log', options.log),
    );
    await runRaw(['ip', 'netns', 'exec', this.names[end], ...line], `the engine on ${kind}`);
    const { pid } = await this.statusOf(name, end);
    const engine = { name, pid, end };
    this.engines.add(engine);
    return engine;
  }

  private port(kind: WireKind, end: End, over?: 'path'): string {
    const link = over ?? this.link(kind, 'zstack');
    const network = NETWORK[link];
    const address = `address=${network[end]}/${network.length}`;
    if (kind === 'tap') return `tap:tap1,${address},kernel=${network.far}/${network.length}`;
    if (kind !== 'memif') return `${kind}:${INTERFACES[over ?? 'engine'][end]},${address}`;
    // Both ends of a pair have a count: the near one is started first.
    if (end === 'near') this.count++;
    return `memif:${join(this.directory, `memif-${this.count}`)},${address},role=${end === 'near' ? 'server' : 'client'}`;
  }

  private async statusOf(name: string, end: End): Promise<EngineStatus> {
    const line = launcher('engine', 'status', '--engine', name, '--json');
    const stdout = await runRaw(['ip', 'netns', 'exec', this.names[end], ...line], 'zstack-run engine status');
    return checked(statusSchema, JSON.parse(stdout), 'status');
  }

  /** The figures of an engine's port. */
  async portOf({ name, end }: WireEngine): Promise<PortStatus> {
    const [port] = (await this.statusOf(name, end)).ports ?? [];
    if (port === undefined) throw new LauncherError('ZS1501', `engine ${name} has no port`);
    return port;
  }

  /** Waits until both engines of a memif see each other, or 5 s. */
  async linked(engine: WireEngine): Promise<void> {
    for (let i = 0; i < 25 && (await this.portOf(engine)).link !== true; i++)
      await new Promise((resolve) => setTimeout(resolve, 100));
  }

  /** Frames that the kernel's interface of a link received and sent. */
  async frames(link: 'engine' | 'kernel' | 'tap', end: End): Promise<{ rx_packets: number; tx_packets: number }> {
    const text = await this.ip(end, '-statistics', '-json', 'link', 'show', 'dev', INTERFACES[link][end]);
    const [{ stats64 }] = JSON.parse(text) as [{ stats64: Record<'rx' | 'tx', { packets: number }> }];
    return { rx_packets: stats64.rx.packets, tx_packets: stats64.tx.packets };
  }

  /** A TCP port, and a name for a directory, that nobody used yet. */
  next(): number {
    return 10_000 + (this.count++ % 20_000);
  }

  /** True when a connection from the far end is accepted. */
  accepts(link: LinkName, port: number, engine: string): Promise<boolean> {
    const probe = ['/bin/bash', '-c', 'exec 3<>"/dev/tcp/$1/$2"', 'bash', NETWORK[link].near, String(port)];
    const line = link === 'memif' ? launcher('--quiet', '--engine', engine, '--', ...probe) : probe;
    return runRaw(['ip', 'netns', 'exec', this.names.far, ...line], 'a probe').then(
      () => true,
      () => false,
    );
  }

  async stopEngine(engine: WireEngine): Promise<void> {
    const line = launcher('engine', 'stop', '--force', '--quiet', '--engine', engine.name);
    await runRaw(['ip', 'netns', 'exec', this.names[engine.end], ...line], 'zstack-run engine stop').catch(() =>
      killQuietly(engine.pid),
    );
    this.engines.delete(engine);
  }

  /** Takes all of it away; once. */
  async remove(): Promise<void> {
    for (const engine of [...this.engines]) await this.stopEngine(engine);
    this.removeNow();
  }

  /** The same without waiting for anybody. */
  private removeNow(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, this.onSignal);
    killAll();
    for (const { pid } of this.engines) for (const each of [...descendants(pid), pid]) killQuietly(each);
    this.engines.clear();
    for (const name of Object.values(this.names)) {
      try {
        execFileSync('ip', ['netns', 'delete', name], { stdio: 'pipe' });
      } catch (error) {
        if (!textOf(error).includes('No such file')) process.exitCode = 1;
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
