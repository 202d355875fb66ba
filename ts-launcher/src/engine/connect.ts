/** Finds the engine of this (network namespace, user, name), or starts it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { AdminClient } from './admin.js';
import { checkOwner } from './owner.js';
import { startEngine } from './start.js';

/** A connection to a serving engine. */
export interface Engine {
  readonly client: AdminClient;
  readonly pid: number;
  /** True when this call started it. */
  readonly started: boolean;
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
    const { pid } = (await client.request('ping')) as { pid: number };
    checkOwner(name, pid);
    return { client, pid, started: false };
  } catch (error) {
    client.close();
    throw error;
  }
}

/**
 * Connects to the engine, starting one if none runs. Any number of these at once end with one engine: the kernel lets
 * one of them bind the name, the others are told and connect to the winner.
 * @param linger seconds that an engine started here stays after its last program
 * @param onNote told when the engine runs with less than was wanted
 * @throws LauncherError ZS1202, ZS1203, ZS1205, ZS1206
 */
export async function findOrStartEngine(
  { options, origins }: Resolved,
  linger: number,
  onNote: (text: string) => void,
): Promise<Engine> {
  const deadline = performance.now() + PATIENCE_MS;
  let nextStart = 0;
  let started = false;
  let dpdk = options.dpdk;
  for (;;) {
    const engine = await findUnlessEnding(options.engine);
    if (engine !== undefined) return { ...engine, started };
    const now = performance.now();
    if (now > deadline) break;
    if (now >= nextStart) {
      const result = await startEngine(options, linger, dpdk);
      if (result.outcome === 'dpdk') {
        if (origins.dpdk.kind !== 'default' || options.eal.length > 0 || options.hugepages === 'on') throw result.error;
        onNote(`DPDK does not start here (${result.error.what}): same-host sockets only`);
        dpdk = false;
        continue;
      }
      started = result.outcome === 'ready';
      nextStart = performance.now() + RESTART_MS;
      if (started) continue;
    }
    await sleep(RETRY_MS);
  }
  throw new LauncherError(
    'ZS1203',
    `engine ${options.engine} neither starts nor answers`,
    'see `zstack-run engine status`, or use another name: --engine NAME',
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
