// SPDX-License-Identifier: BSD-3-Clause
/** Long segments that the port cuts into frames, and received ones that are merged: exact bytes both ways, both families, at the usual MTU and at the least of IPv6. */
import { join } from 'node:path';
import { makeFile } from '../apps/nginx.js';
import { WireMeter } from '../lib/accel.js';
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { sha256 } from '../lib/net.js';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { type Direction, useStage } from '../lib/stage.js';

const SIZE = 5_000_001;
const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];

describe.each([
  ['tap', 'tso=on,gro=on'],
  ['tap', 'tso=on,gro=on,mtu=1280'],
  ['tap', 'tso=off,gro=off'],
  ['af_packet', 'tso=on,gro=on'],
  ['af_packet', 'tso=off,gro=off'],
  ['af_xdp', 'gro=on'],
  ['memif', 'tso=on,gro=on'],
] as const)('%s,%s', (kind, keys) => {
  const stage = useStage({ wire: kind, keys });
  const file = (name: string) => join(stage.directory, name);

  beforeAll(() => makeFile(file('data'), SIZE));

  test.each(DIRECTIONS)(
    'a listener of both families echoes exactly, %s',
    async (_, direction) => {
      const ends = stage.ends(direction);
      const port = await freePort();
      const server = ends.server([process.execPath, join(ROOT, 'apps/http-node/server.js')], {
        env: { PORT: `${port}` },
      });
      await server.says(/listening/);
      for (const at of direction === 'in' ? [NEAR, `[${NEAR6}]`] : [FAR, `[${FAR6}]`]) {
        const used = await WireMeter.start(stage.engines);
        await ends.ok([
          ...['curl', '-sS', '-g', '--fail', '-H', 'Expect:', '-o', file('got')],
          ...['--data-binary', `@${file('data')}`, `http://${at}:${port}/echo`],
        ]);
        expect(await sha256(file('got'))).toBe(await sha256(file('data')));
        await used.used(1, 2 * SIZE);
        const { tcp_tx = 0, tcp_rx = 0, tcp_tx_large = 0, gro_merged = 0, tcp_rx_lent } = await used.growth();
        expect(tcp_rx_lent).toBeGreaterThan(SIZE / 2);
        if (keys.includes('tso=on')) expect(tcp_tx_large).toBeGreaterThan(10);
        else expect(tcp_tx_large).toBe(0);
        if (keys.includes('gro=on')) expect(gro_merged).toBeGreaterThan(100);
        else expect(gro_merged).toBe(0);
        expect(Math.min(tcp_tx, tcp_rx)).toBeGreaterThan(SIZE / 1500);
      }
    },
    60_000,
  );
});
