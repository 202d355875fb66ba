// SPDX-License-Identifier: BSD-3-Clause
/** A cable that loses and reorders frames, both ways: every byte arrives, and the counters tell why it took so long. */
import { join } from 'node:path';
import { makeFile } from '../apps/nginx.js';
import { WireMeter } from '../lib/accel.js';
import { sha256 } from '../lib/net.js';
import { program, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];
const SIZE = 5_000_001;

const CABLES = [
  ['1 % lost', '0.01', '0'],
  ['25 % late by some milliseconds', '0', '0.25'],
  ['1 % lost, 25 % late', '0.01', '0.25'],
] as const;

describeOnStacks(CABLES, (stack, _cable, loss, late) => {
  const stage = useStage({ wire: 'af_packet', relay: true, stack });
  const file = (name: string) => join(stage.directory, name);

  beforeAll(() => makeFile(file('data'), SIZE));
  beforeEach(async () => {
    const relay = stage.kernel([PYTHON, wireProgram('relay.py'), 'middle0', 'middle1', loss, late, '1']);
    await relay.says(/ready/);
  });

  /** Of what the engine sends, something is sent again; of what it receives, something comes out of order. */
  async function suffered(used: WireMeter): Promise<void> {
    const growth = await used.growth();
    if (loss !== '0') expect(growth['tcp_retransmitted']).toBeGreaterThan(0);
    expect(growth['tcp_ooo_queued']).toBeGreaterThan(0);
    await used.used(1, 2 * SIZE);
  }

  /** While the cable is still there: a FIN that was lost is sent again, and then every session is gone. */
  async function settled(): Promise<void> {
    const own = async () => Promise.all(stage.engines.map(async (e) => (await e.status()).wire?.own_sessions ?? 0));
    await until('every connection has ended', async () => (await own()).every((n) => n === 0), 60_000);
  }

  test.each(DIRECTIONS)(
    'a file goes there and back, %s',
    async (_, direction) => {
      const ends = stage.ends(direction);
      const port = await freePort();
      const env = { PORT: `${port}` };
      const server = ends.server([process.execPath, join(ROOT, 'apps/http-node/server.js')], { env });
      await server.says(/listening/);
      const used = await WireMeter.start(stage.engines);
      const url = `http://${ends.host}:${port}/echo`;
      const curl = [
        'curl',
        '-sS',
        '--fail',
        '-H',
        'Expect:',
        '-o',
        file('got'),
        '--data-binary',
        `@${file('data')}`,
        url,
      ];
      await ends.ok(curl, { timeoutMs: 60_000 });
      expect(await sha256(file('got'))).toBe(await sha256(file('data')));
      await suffered(used);
      await settled();
    },
    150_000,
  );

  test.each(DIRECTIONS)(
    'many small conversations, %s',
    async (_, direction) => {
      const ends = stage.ends(direction);
      const port = await freePort();
      const env = { TEST_HOST: ends.host };
      const server = ends.server([PYTHON, program('py_servers.py'), 'asyncio', `${port}`], { env });
      await server.says(/ready/);
      const used = await WireMeter.start(stage.engines);
      const command = [PYTHON, program('py_clients.py'), 'asyncio', `${port}`, '20'];
      expect((await ends.ok(command, { env, timeoutMs: 60_000 })).stdout).toBe('done\n');
      await suffered(used);
      await settled();
    },
    150_000,
  );
});
