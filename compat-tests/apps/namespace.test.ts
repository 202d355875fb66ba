// SPDX-License-Identifier: BSD-3-Clause
/** In a network namespace: the host's own addresses are local, 127.0.0.1 of another namespace is another host. */
import { join } from 'node:path';
import { Meter } from '../lib/accel.js';
import { NetworkNamespace } from '../lib/netns.js';
import { program, ROOT } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';

const PORT = 8080;
const possible = NetworkNamespace.possible();

(possible ? describe : describe.skip)('a network namespace', () => {
  const stage = useStage({ namespace: true });
  const server = async (host?: string) => {
    const env = { PORT: `${PORT}`, HOST: host };
    const http = stage.wrapped([process.execPath, join(ROOT, 'apps/http-node/server.js')], { env });
    await http.says(/listening/);
    return http;
  };
  const fetchFrom = (wrapped: boolean, host: string) =>
    stage.ok(wrapped, [process.execPath, program('fetch.mjs'), `http://${host}:${PORT}`, '20']);

  beforeAll(() => {
    stage.network.ip('link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
    stage.network.ip('addr', 'add', '192.0.2.1/24', 'dev', 'left');
    stage.network.ip('addr', 'add', '2001:db8::1/64', 'dev', 'left', 'nodad');
    stage.network.ip('link', 'set', 'left', 'up');
    stage.network.ip('link', 'set', 'right', 'up');
  });

  test.each(['127.0.0.1', '127.9.8.7', '[::1]', '192.0.2.1', '[2001:db8::1]'])(
    'a wildcard listener is reached at %s',
    async (host) => {
      const http = await server();
      const meter = await Meter.start(stage.engine);
      expect((await fetchFrom(true, host)).stdout).toBe('fetched\n');
      await meter.accelerated(1, 20 * 100_000);
      const after = await Meter.start(stage.engine);
      expect((await fetchFrom(false, host)).stdout).toBe('fetched\n');
      await after.kernel();
      expect((await http.end('SIGTERM')).status).toBe(0);
    },
    30_000,
  );

  test('an address that is added later is local, too', async () => {
    const http = await server();
    const meter = await Meter.start(stage.engine);
    stage.network.ip('addr', 'add', '198.51.100.7/32', 'dev', 'lo');
    try {
      expect((await fetchFrom(true, '198.51.100.7')).stdout).toBe('fetched\n');
      await meter.accelerated(1, 20 * 100_000);
    } finally {
      stage.network.ip('addr', 'del', '198.51.100.7/32', 'dev', 'lo');
    }
    expect((await http.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('a listener at one address is not reached at another', async () => {
    const http = await server('192.0.2.1');
    expect((await fetchFrom(true, '192.0.2.1')).stdout).toBe('fetched\n');
    for (const wrapped of [true, false]) {
      const other = stage.start(wrapped, ['curl', '-sS', `http://127.0.0.1:${PORT}/`]);
      expect((await other.ended()).status).toBe(7);
    }
    expect((await http.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('a program that enters another namespace is on the kernel there', async () => {
    const http = await server();
    const inside = ['unshare', '--net', '/bin/sh', '-c', `ip link set lo up; exec curl -sS http://127.0.0.1:${PORT}/`];
    const curl = stage.wrapped(inside);
    // Nobody listens there, whoever listens at that address here.
    expect((await curl.ended()).status).toBe(7);
    expect((await http.end('SIGTERM')).status).toBe(0);
  }, 30_000);
});
