// SPDX-License-Identifier: BSD-3-Clause
/**
 * The reference is Linux: each case of `cases/` runs once on the kernel and once under Z-stack. Both runs must print the
 * same trace, and in the second one the sockets must really have been accelerated; afterwards nothing may be left.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineClient, Status } from '../lib/engine.js';
import { BUILD } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';
import { runCase, type Run } from './run.js';

const PROGRAM = join(BUILD, 'conformance');
const TIMEOUT_MS = 10_000;

interface Case {
  readonly name: string;
  /** What must have been accelerated. `kernel`: nothing, for `reason`. */
  readonly world: string;
  readonly reason: string;
}

function cases(): Case[] {
  if (!existsSync(PROGRAM)) return [];
  const lines = execFileSync(PROGRAM, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [name = '', world = '', reason = ''] = line.split('\t');
    return { name, world, reason };
  });
}

/** Counters of the case's main program; those of its children are gone with them. */
function programOf(status: Status, pid: number): EngineClient {
  const client = status.clients.find((c) => c.pid === pid);
  if (client === undefined) throw new Error(`the program did not attach: ${JSON.stringify(status.clients)}`);
  return client;
}

function expectAccelerated(world: string, run: Run, before: Status, held: Status): void {
  const grown = (counter: string): number => (held.totals[counter] ?? 0) - (before.totals[counter] ?? 0);
  switch (world) {
    case 'tcp': {
      const client = programOf(held, run.pid);
      expect(client.connects).toBeGreaterThanOrEqual(run.connects);
      expect(client.connects + client.accepts).toBeGreaterThan(0);
      break;
    }
    case 'listen':
      expect(grown('listeners_opened')).toBeGreaterThan(0);
      break;
    case 'udp': {
      const client = programOf(held, run.pid);
      expect(grown('udp_opened')).toBeGreaterThan(0);
      expect(client.bytes_in + client.bytes_out).toBeGreaterThan(0);
      break;
    }
    default:
      expect(world).toBe('kernel');
  }
}

describe('conformance', () => {
  const stage = useStage();
  const all = cases();

  /** The case has closed its sockets, the program still lives: their sessions are free. */
  async function sessionsFree(): Promise<Status> {
    let last = '';
    return until(
      () => `closed sockets are free while their program lives: ${last}`,
      async () => {
        const status = await stage.engine.status();
        last = JSON.stringify(status.sessions);
        return status.sessions.in_use === 0 ? status : undefined;
      },
      2000,
    );
  }

  it('has its program', () => {
    expect(all.length).toBeGreaterThan(100);
    for (const { world, reason } of all) expect(world === 'kernel').toBe(reason !== '');
  });

  it.each(all)(
    '$name',
    async ({ name, world }) => {
      const kernel = await runCase(stage, PROGRAM, name, false, TIMEOUT_MS);
      expect(kernel.trace).toMatch(/== end\n$/);
      const before = await stage.engine.status();
      let held: Status | undefined;
      const hold = async (): Promise<void> => {
        held = await sessionsFree();
      };
      // By itself a UDP socket is accelerated from its third datagram on, at which these cases may have come to their end.
      if (world === 'udp')
        expect((await runCase(stage, PROGRAM, name, true, TIMEOUT_MS, hold)).trace).toBe(kernel.trace);
      const zstack = await runCase(stage, PROGRAM, name, true, TIMEOUT_MS, hold, { ZSTACK_UDP: 'early' });
      expect(zstack.trace).toBe(kernel.trace);
      if (held === undefined) throw new Error('the case did not reach its end');
      expectAccelerated(world, zstack, before, held);
    },
    3 * TIMEOUT_MS,
  );
});
