// SPDX-License-Identifier: BSD-3-Clause
/** The addon, and the Node programs of `apps/` that use it or show the same-host path. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Meter } from '../lib/accel.js';
import { sha256 } from '../lib/net.js';
import { ROOT } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';
import { makeFile } from '../apps/nginx.js';

const NODE = process.execPath;
const app = (path: string): string => join(ROOT, 'apps', path);

describe('zero-copy sockets for Node', () => {
  const stage = useStage();

  test.each([
    ['on the kernel', false, 'kernel'],
    ['under Z-stack', true, 'local'],
  ] as const)(
    'keep what they promise %s, in worker threads too',
    async (_name, wrapped, where) => {
      const script = join(ROOT, 'compat-tests/zerocopy/programs/addon.mjs');
      const run = stage.start(wrapped, [NODE, '--expose-gc', script, where, 'worker']);
      const { status, stdout, stderr } = await run.ended(60_000);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout.trim().split('\n')).toEqual([
        'lent',
        'order',
        'proxy',
        'lives',
        'errors',
        'quota',
        'plain',
        'workers',
      ]);
    },
    90_000,
  );

  test('the echo behind the proxy gives everything back', async () => {
    const file = (name: string): string => join(stage.directory, name);
    makeFile(file('sent'), 8 << 20);
    const echo = stage.start(true, [NODE, app('zerocopy-node/echo.js')], { env: { PORT: '0' } });
    const [, inner] = await echo.says(/listening on (\d+)/);
    const proxy = stage.start(true, [NODE, app('zerocopy-node/proxy.js')], {
      env: { PORT: '0', TO: `127.0.0.1:${inner}` },
    });
    const [, outer] = await proxy.says(/listening on (\d+)/);
    const script = `exec nc -N 127.0.0.1 ${outer} < ${file('sent')} > ${file('back')}`;
    for (const wrapped of [true, false]) {
      const { status } = await stage.start(wrapped, ['sh', '-c', script]).ended(40_000);
      expect(status).toBe(0);
      expect(await sha256(file('back'))).toBe(await sha256(file('sent')));
    }
    const totals: { bytes: number; copied: number }[] = [];
    for (const program of [proxy, echo]) {
      const { status, stdout } = await program.end('SIGTERM');
      expect(status).toBe(0);
      totals.push(JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { bytes: number; copied: number });
    }
    const [passed, echoed] = totals;
    expect(passed?.bytes).toBe(4 * (8 << 20));
    expect(echoed?.bytes).toBe(2 * (8 << 20));
  }, 120_000);

  test('a chain of services on unmodified http is on the same-host path', async () => {
    const services = ['items', 'prices'].map((name) =>
      stage.start(true, [NODE, app('chain-node/service.js')], { env: { NAME: name, PORT: '0' } }),
    );
    const ports = await Promise.all(services.map(async (s) => (await s.says(/listening on (\d+)/))[1] ?? ''));
    const gateway = stage.start(true, [NODE, app('chain-node/gateway.js')], {
      env: { PORT: '0', ITEMS: ports[0] ?? '', PRICES: ports[1] ?? '' },
    });
    const [, port] = await gateway.says(/listening on (\d+)/);
    const meter = await Meter.start(stage.engine);
    const bodies = new Set<string>();
    for (const wrapped of [true, false]) {
      const { status, stdout } = await stage
        .start(wrapped, ['curl', '-sS', '--fail', `http://127.0.0.1:${port}/7`, `http://127.0.0.1:${port}/7`])
        .ended(20_000);
      expect(status).toBe(0);
      bodies.add(createHash('sha256').update(stdout).digest('hex'));
      expect(stdout).toContain('{"items":{"service":"items","path":"/7"');
    }
    expect(bodies.size).toBe(1);
    const { accepts, connects } = await meter.growth();
    // Gateway to both services, over kept connections; and the wrapped client.
    expect(connects).toBeGreaterThanOrEqual(2);
    expect(accepts).toBeGreaterThanOrEqual(3);
    for (const program of [gateway, ...services]) expect((await program.end('SIGTERM')).status).toBe(0);
  }, 60_000);
});
