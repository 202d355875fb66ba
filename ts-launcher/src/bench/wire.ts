/** Runs the cases over a wire: kernel and Z-stack alternating, everything of the server on one CPU, the client on another. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allowedCpus } from '../engine/eal.js';
import type { Resolved } from '../options/resolve.js';
import { Bed, type End, type WireEngine } from './bed.js';
import type { Place } from './cases.js';
import { Busy, cpuOf, cpuOfMachine } from './cpu.js';
import { runProgram, startServer, type Program, type Server, type World } from './processes.js';
import { requireProgram, type CaseResult } from './run.js';
import { ratio, summarize, type Summary } from './statistics.js';
import type { WireCase } from './wire-cases.js';

/** CPU time per request, us. */
export interface CpuPerRequest {
  /** Of the server, and of the engine beside it. */
  readonly server: Summary;
  /** Of everything on this machine: the client and the kernel's interrupts, too. */
  readonly machine: Summary;
}

/** Frames per second of a flood. */
export interface FrameRates {
  /** What the sending program handed over. */
  readonly sent: Summary;
  /** What the near port, or the kernel's interface there, received or sent. */
  readonly port: Summary;
  /** What the receiving program got. */
  readonly delivered: Summary;
}

/** The comparison of one case over a wire. */
export interface WireResult extends CaseResult {
  readonly port: string;
  readonly cpu?: Readonly<Record<World, CpuPerRequest>>;
  readonly frames?: Readonly<Record<World, FrameRates>>;
}

/** What to run over a wire. */
export interface WirePlan {
  readonly cases: readonly WireCase[];
  readonly rounds: number;
  readonly seconds: number;
  /** Told what is being measured. */
  progress(text: string): void;
}

export interface Measured {
  readonly value: number;
  readonly accelerated: boolean;
  readonly cpu?: { readonly server: number; readonly machine: number };
  readonly frames?: { readonly sent: number; readonly port: number; readonly delivered: number };
  /** How busy the client's CPU was, from 0 to 1. */
  readonly clientBusy: number;
}

interface Setup {
  readonly bed: Bed;
  readonly cpus: { readonly server: number; readonly client: number };
  readonly engines: Readonly<Record<End, WireEngine | undefined>>;
}

/**
 * Runs the plan in two network namespaces of its own.
 * @throws LauncherError ZS1501 a program failed, ZS1302 one is missing, ZS16xx the namespaces
 */
export async function runWire(resolved: Resolved, plan: WirePlan): Promise<WireResult[]> {
  for (const { needs } of plan.cases) for (const program of needs) requireProgram(program);
  const allowed = allowedCpus();
  const cpus = { server: allowed[0] ?? 0, client: allowed[1] ?? allowed[0] ?? 0 };
  const bed = await Bed.open(resolved);
  try {
    const results: WireResult[] = [];
    for (const each of plan.cases) results.push(await compare(each, bed, cpus, plan));
    return results;
  } finally {
    await bed.remove();
  }
}

async function compare(each: WireCase, bed: Bed, cpus: Setup['cpus'], plan: WirePlan): Promise<WireResult> {
  const values: Record<World, Measured[]> = { kernel: [], zstack: [] };
  bed.segment('kernel', each.frames);
  const near = await bed.startEngine(each.kind, 'near', cpus.server);
  const far = each.kind === 'memif' ? await bed.startEngine(each.kind, 'far', cpus.client) : undefined;
  if (far !== undefined) await bed.linked(near);
  const setup: Setup = { bed, cpus, engines: { near, far } };
  for (let round = 1; round <= plan.rounds; round++) {
    for (const world of ['kernel', 'zstack'] as const) {
      plan.progress(`${each.name}: round ${round} of ${plan.rounds}, ${world}`);
      values[world].push(await measure(each, world, setup, plan.seconds));
    }
  }
  for (const engine of [near, far]) if (engine !== undefined) await bed.stopEngine(engine);
  return compared(each, values);
}

function compared(each: WireCase, values: Readonly<Record<World, readonly Measured[]>>): WireResult {
  const worlds = <T>(of: (world: World) => T) => ({ kernel: of('kernel'), zstack: of('zstack') });
  const { kernel, zstack } = worlds((world) => summarize(values[world].map(({ value }) => value)));
  const pick = <K extends string>(
    world: World,
    part: (m: Measured) => Readonly<Record<K, number>> | undefined,
    key: K,
  ) => summarize(values[world].map((measured) => part(measured)?.[key] ?? NaN));
  const cpu = (m: Measured) => m.cpu;
  const frames = (m: Measured) => m.frames;
  const { name, text, unit, better, kind } = each;
  return {
    ...{ name, text, unit, better, port: kind, kernel, zstack, ratio: ratio(kernel.median, zstack.median, better) },
    accelerated: values.zstack.every(({ accelerated }) => accelerated),
    ...(each.requests && {
      cpu: worlds((w) => ({ server: pick(w, cpu, 'server'), machine: pick(w, cpu, 'machine') })),
    }),
    ...(each.flood && {
      frames: worlds((w) => ({
        ...{ sent: pick(w, frames, 'sent'), port: pick(w, frames, 'port') },
        delivered: pick(w, frames, 'delivered'),
      })),
    }),
  };
}

/** One measurement with what `setup` has. */
export async function measure(each: WireCase, world: World, setup: Setup, seconds: number): Promise<Measured> {
  const { bed, cpus, engines } = setup;
  const port = bed.next();
  const directory = join(bed.directory, `${each.name}-${world}-${port}`);
  mkdirSync(directory);
  const link = bed.link(each.kind, world);
  // Of a flood outwards, the server is at the far end.
  const serverEnd: End = each.flood === 'out' ? 'far' : 'near';
  const place: Place = { port, host: bed.address(link, serverEnd), bind: '0.0.0.0', seconds, directory };
  const at = (end: End, command: readonly string[], env = {}): [Program, World, string] => {
    const program = { command, env, cpu: end === 'near' ? cpus.server : cpus.client, netns: bed.names[end] };
    // The far end is a kernel, but for memif.
    const its = engines[end];
    return [program, its === undefined ? 'kernel' : world, its?.name ?? ''];
  };
  const { command, env } = each.server(place);
  const server = await startServer(...at(serverEnd, command, env), (stdout) =>
    each.says ? stdout.includes('ready') : bed.accepts(link, port, engines.far?.name ?? ''),
  );
  try {
    const before = await look(setup, world, server, serverEnd);
    const busy = new Busy(cpus.client);
    const stdout = await runProgram(
      ...at(serverEnd === 'near' ? 'far' : 'near', each.client(place)),
      seconds * 4000 + 30_000,
    );
    const clientBusy = busy.share();
    const cpu = { server: cpuOf(before.pids) - before.server, machine: cpuOfMachine() - before.machine };
    const after = await look(setup, world, server, serverEnd);
    const traffic = after.rx - before.rx + after.tx - before.tx;
    const accelerated = world === 'kernel' || traffic > 0;
    if (each.flood !== undefined) {
      const frames = await flooded(each, stdout, before, after, server);
      return { value: frames.port, accelerated, frames, clientBusy };
    }
    const requests = each.requests?.(stdout) ?? NaN;
    const perRequest = (time: number) => (time * 1e6) / requests;
    return {
      value: each.value(stdout),
      accelerated,
      clientBusy,
      cpu: { server: perRequest(cpu.server), machine: perRequest(cpu.machine) },
    };
  } finally {
    await server.stop();
  }
}

interface Look {
  readonly pids: readonly number[];
  readonly server: number;
  readonly machine: number;
  readonly rx: number;
  readonly tx: number;
}

/** Frames first: asking for them costs time that is nobody's. */
async function look({ bed, engines }: Setup, world: World, server: Server, serverEnd: End): Promise<Look> {
  const { near } = engines;
  const counted =
    world === 'zstack' && near !== undefined ? await bed.portOf(near) : await bed.frames('kernel', 'near');
  const engine = world === 'zstack' && near !== undefined ? [near.pid] : [];
  const pids = [...(serverEnd === 'near' ? server.pids() : []), ...engine];
  const { rx_packets: rx = 0, tx_packets: tx = 0 } = counted;
  return { pids, rx, tx, server: cpuOf(pids), machine: cpuOfMachine() };
}

async function flooded(
  each: WireCase,
  stdout: string,
  before: Look,
  after: Look,
  server: Server,
): Promise<NonNullable<Measured['frames']>> {
  const {
    sent,
    seconds,
    total_seconds: total,
  } = JSON.parse(stdout) as Record<'sent' | 'seconds' | 'total_seconds', number>;
  const said = (await server.stop()).trim().split('\n').at(-1) ?? '';
  const { datagrams } = JSON.parse(said) as { datagrams: number };
  const passed = each.flood === 'in' ? after.rx - before.rx : after.tx - before.tx;
  return { sent: sent / seconds, port: passed / total, delivered: datagrams / total };
}
