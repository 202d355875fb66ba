// SPDX-License-Identifier: BSD-3-Clause
/** An engine with several workers (`--workers`): connections are spread over all of them, both ways and over both protocols, beside
 * datagrams; deaths, ends and listeners that come and go; devices with one queue and with several. All other tests of the wire run with
 * several workers by ZSTACK_TEST_WORKERS, and queues by ZSTACK_TEST_QUEUES. */
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import type { Engine, WorkerStatus } from '../lib/engine.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { describeOnFstack } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

/** Of each protocol: a worker of 4 without one of 64 comes once in 10^8 runs. */
const COUNT = 32;
const CASES = [
  // Workers, queues: a TAP has as many as there are workers.
  ['tap', 2, 2],
  ['tap', 4, 4],
  ['af_packet', 2, 1],
  ['af_packet', 2, 2],
  ['af_packet', 3, 2],
  ['memif', 2, 1],
] as const;

const many = (...args: readonly (string | number)[]) => [PYTHON, wireProgram('many.py'), ...args.map(String)];

async function workers(engine: Engine): Promise<readonly WorkerStatus[]> {
  return (await engine.status()).wire?.workers ?? [];
}

/** How a figure of each worker grew since `before`. */
async function growth(engine: Engine, before: readonly WorkerStatus[], of: keyof WorkerStatus): Promise<number[]> {
  return (await workers(engine)).map((w, i) => Number(w[of]) - Number(before[i]?.[of]));
}

const sum = (figures: readonly number[]) => figures.reduce((a, b) => a + b, 0);

describe.each(CASES)('%s, %d workers, %d queues', (kind, count, queues) => {
  const stage = useStage({ wire: kind, engine: { workers: count }, queues });

  test('each queue has a worker that polls it', async () => {
    const [port] = (await stage.engine.status()).ports ?? [];
    expect(port).toMatchObject({ queues, spread: queues > 1 ? 'device' : 'none' });
    const polled = (await workers(stage.engine)).map((w) => w.queues);
    expect(polled).toEqual(Array.from({ length: count }, (_, i) => (i < queues ? 1 : 0)));
  });

  async function serve(where: 'wrapped' | 'far'): Promise<{ port: number; server: Program }> {
    const port = await freePort();
    const server = stage[where](many('serve', port));
    await server.says(/ready/);
    return { port, server };
  }

  test.each([
    ['accepted', 'wrapped', 'far', NEAR, NEAR6],
    ['opened', 'far', 'wrapped', FAR, FAR6],
  ] as const)(
    'connections that are %s are spread, byte-exact',
    async (way, at, from, host, host6) => {
      const { port } = await serve(at);
      const before = await workers(stage.engine);
      expect(before).toHaveLength(count);
      const client = stage[from](many('connect', port, COUNT, 50_000, host, host6), { input: 'open' });
      await client.says(new RegExp(`exact ${2 * COUNT}\n`));
      // They are open: who has them?
      const held = (await workers(stage.engine)).map((w) => w.connections);
      for (const connections of held) expect(connections).toBeGreaterThan(0);
      expect(sum(held)).toBeGreaterThanOrEqual(2 * COUNT);
      const accepted = await growth(stage.engine, before, 'accepted');
      expect(sum(accepted)).toBe(way === 'accepted' ? 2 * COUNT : 0);
      for (const figure of ['frames_received', 'frames_sent'] as const)
        for (const frames of await growth(stage.engine, before, figure)) expect(frames).toBeGreaterThan(0);
      const polled = await growth(stage.engine, before, 'frames_polled');
      for (const [worker, frames] of polled.entries()) expect(frames > 0).toBe(worker < queues);
      const handed = sum(await growth(stage.engine, before, 'frames_handed_over'));
      // The kernel remembers by which queue of a TAP a flow was sent, and answers by that: by its worker's own.
      if (kind === 'tap') expect(handed).toBeLessThan(sum(polled) / 2);
      else expect(handed).toBeGreaterThan(0);
      client.write('\n');
      expect((await client.ended()).status).toBe(0);
    },
    60_000,
  );

  test('workers that have nothing to do sleep, each until something comes by its own queue', async () => {
    const { port } = await serve('wrapped');
    const client = stage.far(many('connect', port, COUNT, 1000, NEAR, NEAR6), { input: 'open' });
    await client.says(new RegExp(`exact ${2 * COUNT}\n`));
    // The first one answers the question.
    await until('they sleep', async () => (await workers(stage.engine)).slice(1).every((w) => w.asleep), 30_000);
    client.write('\n');
    expect((await client.ended()).status).toBe(0);
    await until('no connection is left', async () => (await stage.engine.status()).wire?.own_sessions === 0, 30_000);
  }, 60_000);

  test('SIGKILL of a server: all its connections are closed, whoever has them', async () => {
    const { port, server } = await serve('wrapped');
    const client = stage.far(many('connect', port, COUNT, 'hold', NEAR, NEAR6));
    await client.says(/open\n/);
    server.signal('SIGKILL');
    await client.says(new RegExp(`closed ${2 * COUNT}\n`));
    expect((await client.ended()).status).toBe(0);
  }, 60_000);

  test('SIGKILL of a client: the server goes on', async () => {
    const { port, server } = await serve('far');
    const client = stage.wrapped(many('connect', port, COUNT, 'hold', FAR, FAR6));
    await client.says(/open\n/);
    client.signal('SIGKILL');
    await until('no connection is left', async () => (await stage.engine.status()).wire?.own_sessions === 0, 30_000);
    const next = stage.wrapped(many('connect', port, 1, 1000, FAR), { input: 'open' });
    await next.says(/exact 1\n/);
    expect(server.running).toBe(true);
  }, 60_000);

  test('a listener comes and goes while handshakes run', async () => {
    const port = await freePort();
    const storm = stage.far(many('storm', port, NEAR), { input: 'open' });
    await storm.says(/ready/);
    await stage.ok(true, many('flicker', port, 40));
    storm.write('\n');
    expect((await storm.ended()).status).toBe(0);
  }, 60_000);

  test('the engine ends with connections open: both ends see it; the next one serves', async () => {
    const { port, server } = await serve('wrapped');
    const client = stage.far(many('connect', port, COUNT, 'hold', NEAR, NEAR6));
    await client.says(/open\n/);
    await stage.engine.stop();
    await client.says(new RegExp(`closed ${2 * COUNT}\n`));
    server.signal('SIGKILL');
    await stage.startEngine();
    const again = await serve('wrapped');
    const next = stage.far(many('connect', again.port, COUNT, 1000, NEAR, NEAR6), { input: 'open' });
    await next.says(new RegExp(`exact ${2 * COUNT}\n`));
  }, 60_000);
});

describeOnFstack('has one thread', () => {
  const stage = useStage({ wire: 'tap', stack: 'fstack' });

  test('several workers are refused by name', async () => {
    await stage.engine.stop();
    await stage.link.gone();
    await expect(stage.startEngine({ workers: 2 })).rejects.toThrow(
      'error ZS2012: the stack fstack is served by one thread - hint: leave --workers out, or use --stack native',
    );
    await stage.link.gone();
    await stage.startEngine();
  });
});
