/** The TCP/IP stacks against each other: the same case over the same link, an engine with each of them in turn. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allowedCpus } from '../engine/eal.js';
import type { Resolved } from '../options/resolve.js';
import { enginePart } from '../paths.js';
import { ADAPTER_READY_MS, adapterDirectory, adapterServer } from './adapter.js';
import { Bed } from './bed.js';
import { Busy, cpuOf } from './cpu.js';
import { runProgram, startServer } from './processes.js';
import { requireProgram } from './run.js';
import { median, ratio, summarize, type Summary } from './statistics.js';
import type { WireCase } from './wire-cases.js';
import { measure, type Measured, type WirePlan } from './wire.js';

/** The comparison of one case. */
export interface StackResult {
  readonly name: string;
  readonly unit: string;
  readonly native: Summary;
  readonly fstack: Summary;
  /** How many times better F-Stack is than the native stack. */
  readonly ratio: number;
  /** How busy the client's CPU was with each, from 0 to 1. */
  readonly clientBusy: { readonly native: number; readonly fstack: number };
  /** Beside F-Stack's own adapter, in each placement. */
  readonly adapter?: readonly AdapterResult[];
  readonly accelerated: boolean;
}

/** F-Stack's own adapter and F-Stack under Z-stack with the same program on the same CPUs. */
export interface AdapterResult {
  readonly placement: Placement;
  readonly adapter: Summary;
  readonly fstack: Summary;
  /** How many times better F-Stack under Z-stack is. */
  readonly ratio: number;
  /** How busy the client's CPU was with each, from 0 to 1. */
  readonly clientBusy: { readonly adapter: number; readonly fstack: number };
  /** Requests for each second of CPU time that stack and program took: what no client bounds. */
  readonly perCpu: { readonly adapter: number; readonly fstack: number };
}

/**
 * Where stack and program are: both on the server's CPU, as in all other rows; or the program beside the client, which leaves
 * the stack a CPU of its own, as the adapter's documentation wants it.
 */
export type Placement = 'one CPU' | 'two CPUs';

/** What to run; `adapter`: the directory of F-Stack's own. */
export interface StackPlan extends WirePlan {
  readonly adapter?: string | undefined;
}

/** What the adapter can be compared in. */
export const ADAPTER_CASE = 'af_packet-nginx';

/**
 * Runs the cases with requests, each round with both stacks.
 * @throws LauncherError ZS1302, ZS1206 the adapter, ZS1303 this build has no F-Stack, ZS1501 a program failed, ZS1302 one is missing, ZS16xx the namespaces
 */
export async function runStacks(resolved: Resolved, plan: StackPlan): Promise<StackResult[]> {
  enginePart('fstack');
  const adapter = plan.adapter === undefined ? undefined : adapterDirectory(plan.adapter);
  const cases = plan.cases.filter(({ flood }) => flood === undefined);
  for (const { needs } of cases) for (const program of needs) requireProgram(program);
  if (adapter !== undefined) requireProgram('ethtool');
  const bed = await Bed.open(resolved);
  try {
    if (adapter !== undefined) bed.completeSums();
    const results: StackResult[] = [];
    for (const each of cases) results.push(await compare(each, bed, { ...plan, adapter }));
    return results;
  } finally {
    await bed.remove();
  }
}

async function compare(each: WireCase, bed: Bed, plan: StackPlan): Promise<StackResult> {
  const allowed = allowedCpus();
  const cpus = { server: allowed[0] ?? 0, client: allowed[1] ?? allowed[0] ?? 0 };
  const values: Record<'native' | 'fstack', number[]> = { native: [], fstack: [] };
  const busy: Record<'native' | 'fstack', number[]> = { native: [], fstack: [] };
  const beside: AdapterResults = new Map();
  let accelerated = true;
  for (let round = 1; round <= plan.rounds; round++) {
    for (const stack of ['native', 'fstack'] as const) {
      plan.progress(`${each.name}: round ${round} of ${plan.rounds}, ${stack}`);
      const near = await bed.startEngine(each.kind, 'near', cpus.server, stack);
      const far = each.kind === 'memif' ? await bed.startEngine(each.kind, 'far', cpus.client, stack) : undefined;
      if (far !== undefined) await bed.linked(near);
      const measured = await measure(each, 'zstack', { bed, cpus, engines: { near, far } }, plan.seconds);
      for (const engine of [near, far]) if (engine !== undefined) await bed.stopEngine(engine);
      values[stack].push(measured.value);
      busy[stack].push(measured.clientBusy);
      accelerated &&= measured.accelerated;
    }
    if (plan.adapter === undefined || each.name !== ADAPTER_CASE) continue;
    plan.progress(`${each.name}: round ${round} of ${plan.rounds}, F-Stack's adapter`);
    await besideAdapter(each, bed, cpus, { ...plan, adapter: plan.adapter }, beside);
  }
  const [native, fstack] = [summarize(values.native), summarize(values.fstack)];
  const { name, unit, better } = each;
  const clientBusy = { native: median(busy.native), fstack: median(busy.fstack) };
  const times = ratio(native.median, fstack.median, better);
  const result = { name, unit, native, fstack, ratio: times, clientBusy, accelerated };
  if (beside.size === 0) return result;
  const adapter = [...beside].map(([placement, { theirs, ours }]) => {
    const [its, own] = [theirs, ours].map((side) => summarize(side.map(({ value }) => value))) as [Summary, Summary];
    const both = (of: (one: One) => number) => ({ adapter: median(theirs.map(of)), fstack: median(ours.map(of)) });
    return {
      ...{ placement, adapter: its, fstack: own, ratio: ratio(its.median, own.median, better) },
      clientBusy: both(({ clientBusy }) => clientBusy),
      perCpu: both(({ perCpu }) => perCpu),
    };
  });
  return { ...result, adapter };
}

interface One {
  readonly value: number;
  readonly clientBusy: number;
  readonly perCpu: number;
}
type AdapterResults = Map<Placement, { readonly theirs: One[]; readonly ours: One[] }>;

interface Cpus {
  readonly server: number;
  readonly client: number;
}

/** One round: in each placement F-Stack under Z-stack and under its adapter, one after the other. */
async function besideAdapter(
  each: WireCase,
  bed: Bed,
  { server, client }: Cpus,
  plan: StackPlan & { readonly adapter: string },
  results: AdapterResults,
): Promise<void> {
  for (const [placement, program] of [
    ['one CPU', server],
    ['two CPUs', client],
  ] as const) {
    const values = results.get(placement) ?? { theirs: [], ours: [] };
    results.set(placement, values);
    const near = await bed.startEngine(each.kind, 'near', server, 'fstack');
    const setup = { bed, cpus: { server: program, client }, engines: { near, far: undefined } };
    values.ours.push(oneOf(await measure(each, 'zstack', setup, plan.seconds)));
    await bed.stopEngine(near);
    const cpus = { stack: server, program, client };
    values.theirs.push(await measureAdapter(each, bed, cpus, plan.adapter, plan.seconds));
  }
}

/** Of a request it is known how many microseconds of CPU time it took. */
function oneOf({ value, clientBusy, cpu }: Measured): One {
  return { value, clientBusy, perCpu: 1e6 / (cpu?.server ?? NaN) };
}

/** The same client to the same program under F-Stack's adapter, over the same link. */
async function measureAdapter(
  each: WireCase,
  bed: Bed,
  cpus: { readonly stack: number; readonly program: number; readonly client: number },
  adapter: string,
  seconds: number,
): Promise<One> {
  const port = bed.next();
  const directory = join(bed.directory, `adapter-${port}`);
  mkdirSync(directory);
  const { interface: near, ...network } = bed.engineNetwork();
  const place = { port, host: bed.address('engine', 'near'), bind: '0.0.0.0', seconds, directory };
  const program = adapterServer(adapter, { ...place, netns: bed.names.near, interface: near, network, cpus });
  await bed.forgetNeighbours();
  const serves = (stdout: string) => stdout.includes('ready') && bed.accepts('engine', port, '');
  const server = await startServer(program, 'kernel', '', serves, ADAPTER_READY_MS);
  try {
    const client = { command: each.client(place), cpu: cpus.client, netns: bed.names.far };
    const busy = new Busy(cpus.client);
    const pids = server.pids();
    const before = cpuOf(pids);
    const stdout = await runProgram(client, 'kernel', '', seconds * 4000 + 30_000);
    const clientBusy = busy.share();
    const perCpu = (each.requests?.(stdout) ?? NaN) / (cpuOf(pids) - before);
    return { value: each.value(stdout), clientBusy, perCpu };
  } finally {
    await server.stop();
  }
}
