/** The TCP/IP stacks against each other: the same case over the same link, an engine with each of them in turn. */
import { allowedCpus } from '../engine/eal.js';
import type { Resolved } from '../options/resolve.js';
import { enginePart } from '../paths.js';
import { Bed } from './bed.js';
import { requireProgram } from './run.js';
import { ratio, summarize, type Summary } from './statistics.js';
import type { WireCase } from './wire-cases.js';
import { measure, type WirePlan } from './wire.js';

/** The comparison of one case. */
export interface StackResult {
  readonly name: string;
  readonly unit: string;
  readonly native: Summary;
  readonly fstack: Summary;
  /** How many times better F-Stack is than the native stack. */
  readonly ratio: number;
  readonly accelerated: boolean;
}

/**
 * Runs the cases with requests, each round with both stacks.
 * @throws LauncherError ZS1303 this build has no F-Stack, ZS1501 a program failed, ZS1302 one is missing, ZS16xx the namespaces
 */
export async function runStacks(resolved: Resolved, plan: WirePlan): Promise<StackResult[]> {
  enginePart('fstack');
  const cases = plan.cases.filter(({ flood }) => flood === undefined);
  for (const { needs } of cases) for (const program of needs) requireProgram(program);
  const bed = await Bed.open(resolved);
  try {
    const results: StackResult[] = [];
    for (const each of cases) results.push(await compare(each, bed, plan));
    return results;
  } finally {
    await bed.remove();
  }
}

async function compare(each: WireCase, bed: Bed, plan: WirePlan): Promise<StackResult> {
  const allowed = allowedCpus();
  const cpus = { server: allowed[0] ?? 0, client: allowed[1] ?? allowed[0] ?? 0 };
  const values: Record<'native' | 'fstack', number[]> = { native: [], fstack: [] };
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
      accelerated &&= measured.accelerated;
    }
  }
  const [native, fstack] = [summarize(values.native), summarize(values.fstack)];
  const { name, unit, better } = each;
  return { name, unit, native, fstack, ratio: ratio(native.median, fstack.median, better), accelerated };
}
