// SPDX-License-Identifier: BSD-3-Clause
/** With a listener and 100 connections on which nothing happens, engine and program sleep. */
import { join } from 'node:path';
import { WireMeter } from '../lib/accel.js';
import { NEAR } from '../lib/link.js';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { processInfo } from '../lib/processes.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { Talk } from '../lib/talk.js';
import { sleep } from '../lib/wait.js';

describeOnStacks([['tap'], ['af_packet'], ['af_xdp'], ['memif']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });

  test('100 idle connections: less than 1 % of a core', async () => {
    const port = await freePort();
    const node = stage.wrapped([process.execPath, join(ROOT, 'apps/echo-node/server.js')], {
      env: { PORT: `${port}` },
    });
    await node.says(/listening/);
    const used = await WireMeter.start(stage.engines);
    const peer = await Talk.start(stage, 'far', port, NEAR);
    const names = Array.from({ length: 100 }, (_, i) => `c${i}`);
    const ok = names.map(() => 'ok');
    expect(await peer.askAll(names.map((name) => `open ${name}`))).toEqual(ok);
    expect(await peer.askAll(names.map((name) => `say ${name} hello`))).toEqual(ok);
    await used.used(100);
    // What Node does after it started (garbage, its compiler), delayed acknowledgements.
    await sleep(1500);
    const cpu = async () => {
      const programs = (processInfo(node.pid)?.ticks ?? 0) / 100;
      const engines = await Promise.all(stage.engines.map(async (engine) => (await engine.status()).cpu_s));
      return [programs, ...engines];
    };
    const before = await cpu();
    const woken = await WireMeter.start(stage.engines);
    const start = Date.now();
    await sleep(3000);
    // FreeBSD's clock has a tick each 10 ms, and most of them bring nothing.
    const { fstack_ticks = 0, engine_wakeups = 0 } = await woken.growth();
    if (stack === 'fstack') expect(fstack_ticks).toBeGreaterThan(2 * engine_wakeups);
    const seconds = (Date.now() - start) / 1000;
    const shares = (await cpu()).map((after, i) => (100 * (after - (before[i] ?? 0))) / seconds);
    process.stderr.write(
      `${kind}: idle, % of a core, program and engines: ${shares.map((s) => s.toFixed(3)).join(' ')}\n`,
    );
    const [program = 0, ...engines] = shares;
    for (const engine of engines) expect(program + engine).toBeLessThan(1);
    expect(await peer.askAll(names.map((name) => `say ${name} again`))).toEqual(ok);
    await peer.end();
  }, 30_000);
});
