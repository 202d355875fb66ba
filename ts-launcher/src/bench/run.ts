/** Runs the cases: kernel and Z-stack alternating, the server on one CPU and the client on another. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findOrStartEngine, type Engine } from '../engine/connect.js';
import { allowedCpus } from '../engine/eal.js';
import { checked, statusSchema, type EngineStatus } from '../engine/protocol.js';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { part } from '../paths.js';
import { findCommand } from '../target/lookup.js';
import { json, type Case, type Place } from './cases.js';
import { accepts, freePort, runProgram, runRaw, startServer, type World } from './processes.js';
import { mean, median, ratio, summarize, type Summary } from './statistics.js';

/** The comparison of one case. */
export interface CaseResult {
  readonly name: string;
  readonly text: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly kernel: Summary;
  readonly zstack: Summary;
  /** How many times better Z-stack is. */
  readonly ratio: number;
  /** {@link Case.inLines}: the Z-stack values as multiples of a cache line there and back, measured before and after each. */
  readonly lines?: Summary;
  /** True when the engine saw both ends in every Z-stack measurement: else the figures compare kernel with kernel. */
  readonly accelerated: boolean;
}

/** All results. */
export interface BenchResult {
  readonly rounds: number;
  readonly seconds: number;
  readonly cpus: { readonly server: number; readonly client: number };
  /** A cache line passed between the two CPUs and back, ns, median: the least that a round trip can take. null: not measured. */
  readonly raw_round_trip_ns: number | null;
  readonly cases: readonly CaseResult[];
}

/** What to run. */
export interface Plan {
  readonly cases: readonly Case[];
  readonly rounds: number;
  readonly seconds: number;
  /** Told what is being measured. */
  progress(text: string): void;
}

interface Setup {
  readonly cpus: { readonly server: number; readonly client: number };
  readonly engine: Engine;
  readonly name: string;
  readonly directory: string;
  /** The user said where the engine is to run. */
  readonly pinned: boolean;
}

/**
 * Runs the plan with an engine of its own.
 * @throws LauncherError ZS1501 a program failed, ZS1302 one is missing, ZS12xx the engine
 */
export async function runBench(resolved: Resolved, plan: Plan): Promise<BenchResult> {
  for (const { needs } of plan.cases) for (const program of needs) requireProgram(program);
  const allowed = allowedCpus();
  const cpus = { server: allowed[0] ?? 0, client: allowed[1] ?? allowed[0] ?? 0 };
  const name = `bench-${process.pid}`;
  const directory = mkdtempSync(join(tmpdir(), 'zstack-bench-'));
  const asked = resolved.origins.port.kind !== 'default';
  const engine = await findOrStartEngine(
    // Both ends are on this host: no port, unless somebody wants to see what one costs.
    { ...resolved, options: { ...resolved.options, engine: name, ...(asked ? {} : { port: ['none'] }) } },
    1,
    { note: plan.progress, warn: plan.progress },
  );
  try {
    await engine.client.request('lease', { run: randomBytes(12).toString('hex'), pid: process.pid });
    const setup = { cpus, engine, name, directory, pinned: resolved.options.cores !== undefined };
    const cases: CaseResult[] = [];
    const raw: number[] = [];
    for (const each of plan.cases) cases.push(await compare(each, setup, plan, raw));
    const raw_round_trip_ns = raw.length > 0 ? median(raw) : null;
    return { rounds: plan.rounds, seconds: plan.seconds, cpus, raw_round_trip_ns, cases };
  } finally {
    await engine.client.request('stop', { force: true }).catch(() => undefined);
    engine.client.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @throws LauncherError ZS1302 when the program is not installed */
export function requireProgram(program: string): void {
  try {
    findCommand(program, process.env['PATH']);
  } catch {
    throw new LauncherError(
      'ZS1302',
      `${program} is not installed`,
      'npm test installs it, or choose cases with --only',
    );
  }
}

/** A cache line there and back between the two CPUs, ns, median. */
async function rawRoundTrip({ cpus, name }: Setup): Promise<number> {
  const command = [part('pingpong'), 'raw', String(cpus.server), String(cpus.client), '0.2'];
  return json('median_ns')(await runProgram({ command, cpu: cpus.server }, 'kernel', name));
}

/** How far two measurements of the line may be apart, and how often to try: a virtual machine's CPUs move. */
const STEADY = 1.5;
const TRIES = 3;

/**
 * Measures Z-stack between two measurements of the cache line, again while these differ: then the CPUs moved meanwhile.
 * @returns the lines' ns, too
 */
async function measureInLines(each: Case, setup: Setup, seconds: number): Promise<Measured & { lines: number[] }> {
  for (let attempt = 1; ; attempt++) {
    const before = await rawRoundTrip(setup);
    const measured = await measure(each, 'zstack', setup, seconds);
    const after = await rawRoundTrip(setup);
    if (attempt === TRIES || Math.max(before, after) <= STEADY * Math.min(before, after))
      return { ...measured, lines: [before, after] };
  }
}

/** Keeps the engine to some CPUs from now on. */
async function moveEngine(engine: Engine, cpus: readonly number[]): Promise<void> {
  await runRaw(['taskset', '-a', '-p', '-c', cpus.join(','), String(engine.pid)], 'taskset');
}

/** `raw` gets what a cache line took. */
async function compare(each: Case, setup: Setup, plan: Plan, raw: number[]): Promise<CaseResult> {
  // Where --cores say where it is, it stays there.
  if (!setup.pinned) await moveEngine(setup.engine, each.oneCpu === true ? [setup.cpus.server] : allowedCpus());
  const values: Record<World, number[]> = { kernel: [], zstack: [] };
  const multiples: number[] = [];
  let accelerated = true;
  for (let round = 1; round <= plan.rounds; round++) {
    for (const world of ['kernel', 'zstack'] as const) {
      plan.progress(`${each.name}: round ${round} of ${plan.rounds}, ${world}`);
      const inLines = world === 'zstack' && each.inLines === true && setup.cpus.server !== setup.cpus.client;
      const measured = inLines
        ? await measureInLines(each, setup, plan.seconds)
        : { ...(await measure(each, world, setup, plan.seconds)), lines: [] };
      values[world].push(measured.value);
      raw.push(...measured.lines);
      if (inLines) multiples.push(measured.value / mean(measured.lines));
      accelerated &&= world === 'kernel' || measured.accelerated;
    }
  }
  const [kernel, zstack] = [summarize(values.kernel), summarize(values.zstack)];
  const { name, text, unit, better } = each;
  const lines = multiples.length > 0 ? { lines: summarize(multiples) } : {};
  const times = ratio(kernel.median, zstack.median, better);
  return { name, text, unit, better, kernel, zstack, ratio: times, ...lines, accelerated };
}

interface Measured {
  readonly value: number;
  readonly accelerated: boolean;
}

async function measure(each: Case, world: World, setup: Setup, seconds: number): Promise<Measured> {
  const port = await freePort();
  const directory = join(setup.directory, `${each.name}-${world}-${port}`);
  mkdirSync(directory);
  const place: Place = { port, host: '127.0.0.1', bind: '127.0.0.1', seconds, directory };
  const { cpus, name } = setup;
  const client = (command: readonly string[]) =>
    runProgram({ command, cpu: each.oneCpu === true ? cpus.server : cpus.client, env: each.env ?? {} }, world, name);
  const { command: serve, env = {} } = each.server(place);
  const program = { command: serve, env: { ...env, ...each.env }, cpu: cpus.server };
  const server = await startServer(program, world, name, () => accepts(port));
  try {
    let command = each.client(place);
    if (each.calibrate && each.calibrated) {
      command = each.calibrated(place, each.value(await client(each.calibrate(place))));
    }
    const done = new AbortController();
    const watched = world === 'zstack' ? watch(setup.engine, done.signal) : Promise.resolve(false);
    const stdout = await client(command).finally(() => done.abort());
    return { value: each.value(stdout), accelerated: await watched };
  } finally {
    await server.stop();
  }
}

/**
 * Looks at the engine during a measurement.
 * @returns true when it saw an accelerated pair: one program that connected, one that accepted, both with data
 */
async function watch(engine: Engine, done: AbortSignal): Promise<boolean> {
  while (!done.aborted) {
    await sleep(150, undefined, { signal: done }).catch(() => undefined);
    const status = checked(statusSchema, await engine.client.request('status'), 'status');
    if (hasPair(status)) return true;
  }
  return false;
}

/** True when among the attached programs one accepted and another one connected. */
export function hasPair({ clients }: EngineStatus): boolean {
  const busy = clients.filter(({ sessions }) => sessions > 0);
  return busy.some(({ accepts }) => accepts > 0) && busy.some(({ connects }) => connects > 0);
}
