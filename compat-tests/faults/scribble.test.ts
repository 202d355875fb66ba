// SPDX-License-Identifier: BSD-3-Clause
/** Shared memory scribbled over by an application: its connections are reset, all others go on, the engine lives. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Meter } from '../lib/accel.js';
import { ALL, ROOT } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';
import { Talk } from '../lib/talk.js';
import { echoServer, type Server } from './servers.js';

const SEEDS = ALL ? [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] : [1, 2, 3];

describe('scribbled memory', () => {
  const stage = useStage();
  const scribble = () => join(stage.directory, 'scribble');

  beforeAll(() => {
    const source = join(ROOT, 'compat-tests/faults/scribble.c');
    const include = join(ROOT, 'engine-native/include');
    execFileSync('cc', ['-D_GNU_SOURCE', '-O1', '-Wall', '-I', include, '-o', scribble(), source], {
      stdio: 'inherit',
    });
  });

  /** Runs the program gone wrong to whatever end; how its connections fared. */
  async function goWrong(
    mode: string,
    seed: number,
    { port }: Server,
    meanwhile: () => Promise<void> = () => Promise.resolve(),
  ): Promise<string[]> {
    const program = stage.wrapped([scribble(), mode, `${seed}`, `${port}`]);
    await program.says(/scribbled/);
    await meanwhile();
    const { stdout } = await program.ended(30_000);
    return stdout.trim().split('\n').slice(1);
  }

  /** New connections, under Z-stack and over the kernel, are served. */
  async function serves(port: number, accelerated = true): Promise<void> {
    const meter = await Meter.start(stage.engine);
    for (const wrapped of [true, false]) {
      const client = await Talk.start(stage, wrapped, port);
      expect(await client.ask('open a')).toBe('ok');
      expect(await client.ask('say a hello')).toBe('ok');
      expect(await client.ask('send a 100000')).toBe('ok');
      expect(await client.ask('read a 100000')).toBe('ok');
      await client.end();
    }
    if (accelerated) await meter.accelerated(1, 100_000);
  }

  describe.each(['rings', 'sessions', 'peers', 'locks', 'client', 'free'])('by a client: %s', (mode) => {
    test.each(SEEDS)(
      'others go on (seed %i)',
      async (seed) => {
        const server = await echoServer(stage);
        const other = await Talk.start(stage, true, server.port);
        expect(await other.ask('open a')).toBe('ok');
        expect(await other.ask('say a before')).toBe('ok');
        const fared = await goWrong(mode, seed, server, async () => {
          for (let i = 0; i < 5; i++) expect(await other.ask(`say a meanwhile ${i}`)).toBe('ok');
        });
        for (const how of fared) expect(how).not.toBe('differs');
        expect(await other.ask('say a after')).toBe('ok');
        expect(await other.ask('send a 200000')).toBe('ok');
        expect(await other.ask('read a 200000')).toBe('ok');
        await serves(server.port);
        await other.end();
        const { status, signal } = await server.program.end('SIGTERM');
        expect({ status, signal }).toEqual({ status: 0, signal: null });
      },
      60_000,
    );
  });

  test('damaged rings reset their connections, and those only', async () => {
    const server = await echoServer(stage);
    const fared = await goWrong('rings', 42, server);
    expect(fared).toHaveLength(8);
    expect(fared.at(-1)).toBe('ok');
    for (const how of fared.slice(0, -1)) expect(how).toMatch(/^(ECONNRESET|EPIPE|eof)$/);
    await server.program.end('SIGTERM');
  }, 60_000);

  test.each(SEEDS)(
    'all of it: the engine lives and heals when all programs have ended (seed %i)',
    async (seed) => {
      const server = await echoServer(stage);
      const program = stage.wrapped([scribble(), 'all', `${seed}`, `${server.port}`]);
      await program.says(/scribbled/);
      const { pid } = stage.engine;
      expect((await stage.engine.status()).pid).toBe(pid);
      await program.end('SIGKILL');
      await server.program.end('SIGKILL');
      await stage.clear();
      const next = await echoServer(stage, 'C');
      await serves(next.port);
      expect((await stage.engine.status()).pid).toBe(pid);
      await next.program.end('SIGTERM');
    },
    60_000,
  );
});
