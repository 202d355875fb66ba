// SPDX-License-Identifier: BSD-3-Clause
/** `--poll-us`: for how long after the last packet an engine looks at its ports before it sleeps. */
import { join } from 'node:path';
import { WireMeter } from '../lib/accel.js';
import { NEAR } from '../lib/link.js';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { useStage } from '../lib/stage.js';
import { Talk } from '../lib/talk.js';
import { sleep, until } from '../lib/wait.js';

/** Looks in 0.3 s after packets: an engine that sleeps has some for timers and requests, one that polls one every few microseconds. */
const FEW = 500;

describe.each([
  [0, 'sleeps at once'],
  [undefined, 'sleeps soon'],
  [1_000_000, 'polls on'],
] as const)('an engine that is told %p', (pollUs, does) => {
  const stage = useStage({ wire: 'tap', ...(pollUs === undefined ? {} : { engine: { pollUs } }) });

  test(does, async () => {
    const port = await freePort();
    const server = stage.wrapped([process.execPath, join(ROOT, 'apps/echo-node/server.js')], {
      env: { PORT: `${port}` },
    });
    await server.says(/listening/);
    const peer = await Talk.start(stage, 'far', port, NEAR);
    expect(await peer.ask('open c')).toBe('ok');
    const looks = async () => {
      expect(await peer.ask('say c hello')).toBe('ok');
      const woken = await WireMeter.start(stage.engines);
      await sleep(300);
      return (await woken.growth())['engine_wakeups'] ?? 0;
    };
    // Beside programs that compute it does not poll: one round without them will do.
    if (pollUs === 1_000_000) await until('the engine polls on', async () => (await looks()) > FEW);
    else expect(await looks()).toBeLessThan(FEW);
    await peer.end();
  });
});
