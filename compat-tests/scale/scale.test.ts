// SPDX-License-Identifier: BSD-3-Clause
/**
 * Many connections between several programs of this host, all through shared memory; with ZSTACK_TEST_ALL=1 a hundred thousand. Tells
 * what an idle one costs: shared memory, memory of both programs and of the engine, and beside it the kernel's for the placeholders.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ALL, BUILD } from '../lib/paths.js';
import type { Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';

const CROWD = join(BUILD, 'crowd');
const PATIENCE_MS = 60_000;
/** Bytes of an idle connection, both ends together, the kernel's for the placeholders not counted. */
const MOST = 3072;

/** Of a line `Name:  123 kB` in a file of /proc, bytes. */
function kilobytes(file: string, name: string): number {
  const line = new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8'));
  if (line === null) throw new Error(`${file} has no ${name}`);
  return Number(line[1]) * 1024;
}

/** Pages of the arena that are in use, of all programs together. */
function arena(engine: number): number {
  for (const fd of readdirSync(`/proc/${engine}/fd`)) {
    const path = `/proc/${engine}/fd/${fd}`;
    if (readlinkSync(path).startsWith('/memfd:')) return statSync(path).blocks * 512;
  }
  throw new Error('the engine has no arena');
}

interface Memory {
  readonly shared: number;
  readonly programs: number;
  readonly engine: number;
  readonly kernel: number;
}

function memory(engine: number, programs: readonly Program[]): Memory {
  const own = (pid: number): number => kilobytes(`/proc/${pid}/status`, 'RssAnon');
  return {
    shared: arena(engine),
    programs: programs.map(({ pid }) => own(pid)).reduce((a, b) => a + b, 0),
    engine: own(engine),
    kernel: kilobytes('/proc/meminfo', 'Slab'),
  };
}

/** Sends a client a line; what it returns waits for the answer. */
function ask(client: Program, line: string, answer: RegExp): Promise<RegExpExecArray> {
  client.stdout = '';
  client.write(`${line}\n`);
  return client.says(answer, PATIENCE_MS);
}

/** As many pairs of programs as the limit on descriptors asks for; Node has raised its own to what is allowed. */
function pairsFor(connections: number, least: number): number {
  const spared = 200;
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return Math.max(least, Math.ceil(connections / (Number(limit ?? 1024) - spared)));
}
const SIZES = [[4000, 2] as const, ...(ALL ? [[100_000, 6] as const] : [])].map(
  ([connections, least]) => [connections, pairsFor(connections, least)] as const,
);

describe.each(SIZES)('%i connections', (connections, pairs) => {
  const stage = useStage();

  test(
    `between ${2 * pairs} programs`,
    async () => {
      const each = Math.ceil(connections / pairs);
      const servers = Array.from({ length: pairs }, () => stage.wrapped([CROWD, 'serve']));
      const ports = await Promise.all(servers.map(async (server) => (await server.says(/port (\d+)/))[1] ?? ''));
      const clients = ports.map((port) => stage.wrapped([CROWD, 'hold', port], { input: 'open' }));
      await Promise.all(clients.map((client) => ask(client, 'open 10', /open 10\n/)));
      const talk = async (messages: number, seed: number): Promise<number> =>
        Number((await ask(clients[0] as Program, `talk ${messages} ${seed}`, /talk (\d+)/))[1]);
      await talk(1000, 1);
      const few = await talk(20_000, 2);
      const before = memory(stage.engine.pid, [...servers, ...clients]);

      for (const client of clients) await ask(client, `open ${each - 10}`, new RegExp(`open ${each}\n`));
      const total = each * pairs;
      const status = await stage.engine.status();
      expect(status.sessions.tcp).toBe(2 * total);
      expect(status.clients.reduce((sum, { connects }) => sum + connects, 0)).toBe(total);
      expect(status.clients.reduce((sum, { accepts }) => sum + accepts, 0)).toBe(total);

      // Programs that sleep give the rings of their connections back.
      const used = async (): Promise<number> => (await stage.engine.status()).memory.used;
      await until('the rings of idle connections are free', async () => (await used()) === 0, PATIENCE_MS);
      let after = before;
      const cost = (): number => {
        after = memory(stage.engine.pid, [...servers, ...clients]);
        return after.shared + after.programs + after.engine - before.shared - before.programs - before.engine;
      };
      await until(
        () => `an idle one costs ${MOST} bytes, not ${cost() / total}`,
        () => cost() <= MOST * total,
        PATIENCE_MS,
      );
      const cold = await talk(5 * each, 3); // each needs its rings again
      const many = await talk(20_000, 4);
      const per = (part: keyof Memory): string => `${Math.round((after[part] - before[part]) / (total - 10 * pairs))}`;
      process.stderr.write(
        `${total} connections; bytes of an idle one, both ends: ${per('shared')} shared, ${per('programs')} of the programs, ${per('engine')} of the ` +
          `engine, ${per('kernel')} of the kernel; a message and its answer: ${few} ns over one of 10 connections, ` +
          `${many} ns over one of ${each} of ${total}, ${cold} ns while they get their rings again\n`,
      );

      await Promise.all(clients.map((client) => ask(client, 'close', /closed/)));
      await until(
        'all sessions but the listeners are free',
        async () => (await stage.engine.status()).sessions.tcp === 0,
        PATIENCE_MS,
      );
    },
    4 * PATIENCE_MS,
  );
});
