/** Finds the engine of this (network namespace, user, name), or starts it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import type { Say } from '../output.js';
import type { PlannedPort } from '../ports/plan.js';
import { AdminClient } from './admin.js';
import { layoutOfBuild } from '../paths.js';
import { ExtentPlanner } from './extent.js';
import { checkOwner } from './owner.js';
import { startEngine } from './start.js';

/** A connection to a serving engine. */
export interface Engine {
  readonly client: AdminClient;
  readonly pid: number;
  /** Version of the shared-memory contract that it has. */
  readonly layout: number;
  /** True when this call started it. */
  readonly started: boolean;
  /** The ports that this call started it with. */
  readonly ports: readonly PlannedPort[];
}

/** How long, in milliseconds, to try before giving up. */
const PATIENCE_MS = 10_000;
/** Between two attempts to connect while somebody else starts the engine. */
const RETRY_MS = 15;
/** An engine that is being started by somebody else and does not appear for so long may have failed: start one. */
const RESTART_MS = 1_000;

/**
 * Connects to a running engine.
 * @returns `undefined` when none runs
 * @throws LauncherError ZS1203 it does not answer, ZS1205 the address is somebody else's
 */
export async function findEngine(name: string): Promise<Engine | undefined> {
  const client = await AdminClient.open(name);
  if (client === undefined) return undefined;
  try {
    const { pid, layout } = (await client.request('ping')) as { pid: number; layout: number };
    checkOwner(name, pid);
    return { client, pid, layout, started: false, ports: [] };
  } catch (error) {
    client.close();
    throw error;
  }
}

/**
 * Connects to the engine, starting one if none runs. Any number of these at once end with one engine: the kernel lets
 * one of them bind the name, the others are told and connect to the winner.
 * @param linger seconds that an engine started here stays after its last program
 * @param say told when the engine runs with less than was wanted
 * @throws LauncherError ZS1202, ZS1203, ZS1205, ZS1206, ZS1209, ZS16xx
 */
export async function findOrStartEngine(resolved: Resolved, linger: number, say: Say): Promise<Engine> {
  const { options } = resolved;
  const planner = new ExtentPlanner(resolved, say);
  const deadline = performance.now() + PATIENCE_MS;
  let nextStart = 0;
  let started = false;
  let ports: readonly PlannedPort[] = [];
  for (;;) {
    const engine = await findUnlessEnding(options.engine);
    if (engine !== undefined) return { ...checkLayout(options.engine, engine), started, ports };
    const now = performance.now();
    if (now > deadline) break;
    if (now >= nextStart) {
      const extent = await planner.next();
      if (extent === undefined) continue;
      const result = await startEngine(options, linger, extent);
      if (result.outcome === 'dpdk') {
        planner.refused(extent, result.error);
        continue;
      }
      nextStart = performance.now() + RESTART_MS;
      if (result.outcome === 'ready') {
        await planner.complete(extent, result.pid);
        [started, ports] = [true, extent.ports];
        continue;
      }
      started = false;
    }
    await sleep(RETRY_MS);
  }
  throw new LauncherError(
    'ZS1203',
    `engine ${options.engine} neither starts nor answers`,
    'see `zstack-run engine status`, or use another name: --engine NAME',
  );
}

/** Programs can attach only to an engine of the same build: another one's would be on the kernel without a word. */
function checkLayout(name: string, engine: Engine): Engine {
  const ours = layoutOfBuild();
  if (ours === undefined || engine.layout === ours) return engine;
  engine.client.close();
  throw new LauncherError(
    'ZS1209',
    `engine ${name} (pid ${engine.pid}) is of another build: its shared memory has layout ${engine.layout}, this build's ${ours}`,
    'end it when its programs are done: zstack-run engine stop; or use another name: --engine NAME',
  );
}

/** An engine that ends between connect and answer is no engine: another one may be started. */
async function findUnlessEnding(name: string): Promise<Engine | undefined> {
  try {
    return await findEngine(name);
  } catch (error) {
    if (error instanceof LauncherError && error.code === 'ZS1203' && error.what.includes('closed the connection'))
      return undefined;
    throw error;
  }
}
