// SPDX-License-Identifier: BSD-3-Clause
/** Both families over the wire: exact bytes both ways from one listener, hardly copied by the engine; IPv6 datagrams, refusals, names. */
import { join } from 'node:path';
import { makeFile } from '../apps/nginx.js';
import { WireMeter } from '../lib/accel.js';
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { sha256 } from '../lib/net.js';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';

const SIZE = 5_000_001;
const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];
/** The largest datagram; net_af_packet takes no fragments. */
const KINDS = [
  ['tap', 40_000],
  ['af_packet', 1452],
  ['af_xdp', 40_000],
  ['memif', 40_000],
] as const;

/** Sends each datagram back, reversed. */
const REVERSER = `
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', int(sys.argv[1])))
print('ready', flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data[::-1], peer)
`;
const DATAGRAMS = `
import socket, sys
host, port, largest, connected = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == 'connected'
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(10)
if connected:
    s.connect((host, port))
for n in (0, 1, 1000, 1452, largest):
    data = bytes(i * 7 % 251 for i in range(n))
    s.send(data) if connected else s.sendto(data, (host, port))
    answer, peer = s.recvfrom(65536)
    assert answer == data[::-1], n
    assert peer[:2] == (host, port), peer
print(s.getsockname()[0] if connected else 'exact')
`;

describeOnStacks(KINDS, (stack, kind, largest) => {
  const stage = useStage({ wire: kind, stack });
  const file = (name: string) => join(stage.directory, name);
  const sides = (direction: Direction) =>
    direction === 'in' ? { host: NEAR, host6: NEAR6, source6: FAR6 } : { host: FAR, host6: FAR6, source6: NEAR6 };

  beforeAll(() => makeFile(file('data'), SIZE));

  test.each(DIRECTIONS)(
    'a listener of both families echoes exactly, %s',
    async (_, direction) => {
      const ends = stage.ends(direction);
      const { host, host6 } = sides(direction);
      const port = await freePort();
      const server = ends.server([process.execPath, join(ROOT, 'apps/http-node/server.js')], {
        env: { PORT: `${port}` },
      });
      await server.says(/listening/);
      for (const at of [host, `[${host6}]`]) {
        const used = await WireMeter.start(stage.engines);
        await ends.ok([
          ...['curl', '-sS', '-g', '--fail', '-H', 'Expect:', '-o', file('got')],
          ...['--data-binary', `@${file('data')}`, `http://${at}:${port}/echo`],
        ]);
        expect(await sha256(file('got'))).toBe(await sha256(file('data')));
        await used.used(1, 2 * SIZE);
        // What came was lent to the program where the port put it; what went left from its ring, where the driver allows it.
        const growth = await used.growth();
        if (stack === 'native') expect(growth['tcp_rx_lent']).toBeGreaterThan(SIZE / 2);
        if (stack === 'native' && kind !== 'af_xdp') expect(growth['tcp_tx_referred']).toBeGreaterThan(SIZE / 2);
      }
    },
    60_000,
  );

  describe.each(DIRECTIONS)('datagrams %s', (_, direction) => {
    test.each(['connected', 'unconnected'])('%s', async (how) => {
      const ends = stage.ends(direction);
      const { host6, source6 } = sides(direction);
      const port = await freePort();
      const server = ends.server([PYTHON, '-c', REVERSER, `${port}`]);
      await server.says(/ready/);
      const { stdout } = await ends.ok([PYTHON, '-c', DATAGRAMS, host6, `${port}`, `${largest}`, how]);
      expect(stdout.trim()).toBe(how === 'connected' ? source6 : 'exact');
    });
  });

  test.each(DIRECTIONS)('a port without listener refuses, not %s', async (_, direction) => {
    const ends = stage.ends(direction);
    const port = await freePort();
    const { status } = await ends.client(['curl', '-sS', '-g', `http://[${sides(direction).host6}]:${port}/`]).ended();
    expect(status).toBe(7);
  });
});
