// SPDX-License-Identifier: BSD-3-Clause
/** A flood of SYNs from strangers that never answer: what is remembered of them is bounded, and an honest client gets through. */
import { WireMeter } from '../lib/accel.js';
import { FAR, NEAR } from '../lib/link.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

/** As many half-open connections of a listener the native stack remembers; beyond them SYNs are answered by cookies. */
const REMEMBERED = 4096;

describeOnStacks([['tap'], ['af_packet']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });

  test('cookies beyond a bounded queue; a connection is opened meanwhile', async () => {
    const port = await freePort();
    const server = stage.wrapped([PYTHON, wireProgram('answer.py'), 'echo', '', `${port}`]);
    await server.says(/ready/);
    const peer = await Talk.start(stage, 'far', port, NEAR);
    expect(await peer.ask('open before')).toBe('ok');
    const inject = stage.far([PYTHON, wireProgram('inject.py'), 'far0', FAR, NEAR, `${port}`], { input: 'open' });
    await inject.says(/ready/);

    const used = await WireMeter.start(stage.engines);
    const grown = async (counter: string) => (await used.growth())[counter] ?? 0;
    inject.write('syn flood\n');
    await inject.says(/^sent 6050$/m, 30_000);
    if (stack === 'native') {
      await until('SYNs find the queue full', async () => (await grown('tcp_syn_queue_full')) > 0);
      const { tcp_rx = 0, tcp_cookie_tx = 0, tcp_syn_queue_full } = await used.growth();
      expect(tcp_cookie_tx).toBe(tcp_syn_queue_full);
      expect(tcp_rx - tcp_cookie_tx).toBeLessThanOrEqual(REMEMBERED);
    }
    expect(await peer.ask('open meanwhile')).toBe('ok');
    expect(await peer.ask('say meanwhile hello')).toBe('ok');
    expect(await peer.ask('say before hello')).toBe('ok');
    if (stack === 'native') expect(await grown('tcp_cookie_ok')).toBe(1);
    await peer.end();
    // Whose listener ends, with it end those that were half open; the stage looks for what is left.
    await server.end('SIGTERM');
    expect(stage.engine.running).toBe(true);
  }, 90_000);
});
