// SPDX-License-Identifier: BSD-3-Clause
/** TCP listeners of two processes with SO_REUSEPORT (socket(7)): what comes over the wire is spread over both by a hash of the
 * connection; when one goes, the other has all. */
import { WireMeter } from '../lib/accel.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

const COUNT = 64;

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack });

  test('connections are spread, and follow who is left', async () => {
    const ends = stage.ends('in');
    const used = await WireMeter.start(stage.engines);
    const port = await freePort();
    const serve = (name: string) =>
      ends.server([PYTHON, wireProgram('reuseport.py'), 'serve', ends.host, `${port}`, name]);
    const connect = async (): Promise<Record<string, number>> => {
      const client = await ends.ok([PYTHON, wireProgram('reuseport.py'), 'connect', ends.host, `${port}`, `${COUNT}`]);
      return JSON.parse(client.stdout) as Record<string, number>;
    };
    const [a, b] = [serve('a'), serve('b')];
    await a.says(/ready/);
    await b.says(/ready/);
    const spread = await connect();
    // By a fair hash one of them has fewer than 8 of 64 once in 10^10 runs.
    expect(spread['a']).toBeGreaterThanOrEqual(8);
    expect(spread['b']).toBeGreaterThanOrEqual(8);
    expect((spread['a'] ?? 0) + (spread['b'] ?? 0)).toBe(COUNT);
    a.signal('SIGKILL');
    await a.ended();
    await until('the engine knows', async () => (await stage.engine.status()).sessions.listeners === 1);
    expect(await connect()).toEqual({ b: COUNT });
    b.signal('SIGKILL');
    await b.ended();
    await used.used(2 * COUNT, 2 * COUNT);
  }, 60_000);
});
