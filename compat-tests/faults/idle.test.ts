// SPDX-License-Identifier: BSD-3-Clause
/** Rings of connections on which nothing happens: given back after a second of sleep, not before. */
import { program } from '../lib/paths.js';
import type { Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';

describe('connections in an epoll set', () => {
  const stage = useStage();
  const used = async (): Promise<number> => (await stage.engine.status()).memory.used;
  const sleeps = async (): Promise<number> => (await stage.engine.status()).clients[0]?.sleeps ?? 0;

  async function tell(server: Program, word: string): Promise<void> {
    server.write(`${word}\n`);
    await server.says(new RegExp(`${word}\\n`));
  }

  /** Wakes the sleeping thread for nothing, and lets it fall asleep again. */
  async function nudge(server: Program): Promise<void> {
    const before = await sleeps();
    await tell(server, 'nudge');
    await until('the thread woke up', async () => (await sleeps()) > before);
  }

  test('a doorbell that rings for nothing is no second without events', async () => {
    const server = stage.wrapped([PYTHON, program('idle-epoll.py')], { input: 'open' });
    await server.says(/ready/);
    for (let kept = false; !kept;) {
      await tell(server, 'talk');
      const since = performance.now();
      const full = await used();
      expect(full).toBeGreaterThanOrEqual(20 * 2 * 4096);
      for (let i = 0; i < 3; i++) await nudge(server);
      const then = await used();
      if (performance.now() - since > 900) continue; // this machine is too busy: they may have been given back
      expect(then).toBe(full);
      kept = true;
    }
    await until('they are given back', async () => (await used()) < 20 * 2 * 4096);
    server.endInput();
    expect((await server.ended()).status).toBe(0);
  }, 60_000);
});
