// SPDX-License-Identifier: BSD-3-Clause
/** Zero-copy connections that end badly: killed at any instant nothing is left, and whoever damages its references harms itself only. */
import { join } from 'node:path';
import { ALL, BUILD } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';

const CHAOS = join(BUILD, 'zerocopy-chaos');

describe('zero-copy connections that end badly', () => {
  const stage = useStage();

  /** Nothing is held, while the program that made it all still runs, but what that has for buffers of its own. */
  async function empty(): Promise<void> {
    let last = '';
    await until(
      () => `nothing is held: ${last}`,
      async () => {
        const { sessions, memory, loans, waiters, clients } = await stage.engine.status();
        const own = clients.reduce((sum, { buffers }) => sum + buffers.bytes, 0);
        last = JSON.stringify({ in_use: sessions.in_use, used: memory.used - own, loans, waiters });
        return last === '{"in_use":0,"used":0,"loans":0,"waiters":0}';
      },
      30_000,
    );
  }

  test('SIGKILL at random instants leaves nothing', async () => {
    const rounds = ALL ? 1000 : 200;
    const run = stage.start(true, [CHAOS, 'kill', '1', `${rounds}`], { input: 'open' });
    await run.says(/^done$/m, ALL ? 400_000 : 100_000);
    await empty();
    run.endInput();
    const { status, stderr } = await run.ended(10_000);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  }, 450_000);

  test.each(ALL ? [1, 2, 3, 4, 5, 6, 7, 8] : [1, 2])(
    'damaged references reset their connections, and those only (seed %i)',
    async (seed) => {
      const echo = stage.start(true, [join(BUILD, 'apps/zerocopy-c/zc-echo'), '0']);
      const [, port = ''] = await echo.says(/listening on (\d+)/);
      const good = stage.start(true, [join(BUILD, 'zerocopy'), 'long-stream', 'local']);
      const bad = stage.start(true, [CHAOS, 'scribble', `${seed}`, port], { input: 'open' });
      await bad.says(/^done$/m, 60_000);
      expect((await good.ended(60_000)).stdout).toBe('ok\n');
      // The echo serves others as before.
      const { status, stdout } = await stage
        .start(true, ['sh', '-c', `head -c 3000000 /dev/zero | nc -N 127.0.0.1 ${port} | wc -c`])
        .ended(30_000);
      expect({ status, stdout: stdout.trim() }).toEqual({ status: 0, stdout: '3000000' });
      await bad.end('SIGKILL');
      expect((await echo.end('SIGTERM')).status).toBe(0);
    },
    120_000,
  );
});
