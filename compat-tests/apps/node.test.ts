// SPDX-License-Identifier: BSD-3-Clause
/** Node.js: http and fetch, many connections, datagrams, clusters, threads, sockets passed to a child, clean exit. */
import { join } from 'node:path';
import { datagramBytes, localConnections, Meter, socketsOf } from '../lib/accel.js';
import { program, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { CLIENTS, useStage } from '../lib/stage.js';

const HTTP_SERVER = join(ROOT, 'apps/http-node/server.js');
const ECHO_SERVER = join(ROOT, 'apps/echo-node/server.js');
const ECHO_CLIENT = join(ROOT, 'apps/echo-node/client.js');

describe('node', () => {
  const stage = useStage();

  async function server(port: number, script: string, ...args: string[]): Promise<Program> {
    const env = { PORT: `${port}`, HOST: '127.0.0.1' };
    const node = stage.wrapped([process.execPath, script, ...args], { env });
    await node.says(/listening|ready/);
    return node;
  }

  const node = (wrapped: boolean, script: string, args: string[], env: Record<string, string> = {}) =>
    stage.ok(wrapped, [process.execPath, script, ...args], { env, timeoutMs: 40_000 });

  async function cleanExit(running: Program): Promise<void> {
    const { status, signal, stderr } = await running.end('SIGTERM');
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  }

  test.each(CLIENTS)(
    'http server and fetch, %s',
    async (_, wrapped) => {
      const port = await freePort();
      const http = await server(port, HTTP_SERVER);
      const meter = await Meter.start(stage.engine);
      const { stdout } = await node(wrapped, program('fetch.mjs'), [`http://127.0.0.1:${port}`, '60']);
      expect(stdout).toBe('fetched\n');
      await meter.expect(wrapped, 1, 60 * 100_000);
      await cleanExit(http);
    },
    60_000,
  );

  test("libuv's rings: it reads files without them, and sockets are accelerated", async () => {
    const running = stage.wrapped([process.execPath, program('uring.mjs')], { env: { UV_USE_IO_URING: '1' } });
    expect(await running.ended(40_000)).toMatchObject({ status: 0, stdout: 'read\n', stderr: '' });
    const { totals } = await stage.engine.status();
    expect(totals['ended_accepts']).toBeGreaterThan(0);
  }, 60_000);

  test.each(CLIENTS)(
    'net echo with 1,000 connections at once, %s',
    async (_, wrapped) => {
      const port = await freePort();
      const echo = await server(port, ECHO_SERVER);
      const meter = await Meter.start(stage.engine);
      const settings = { PORT: `${port}`, CONNECTIONS: '1000', MESSAGES: '10', SIZE: '1000' };
      const { stdout } = await node(wrapped, ECHO_CLIENT, [], settings);
      expect(JSON.parse(stdout)).toMatchObject({ connections: 1000, messages: 10_000 });
      await meter.expect(wrapped, 1000, 10_000 * 1000);
      await cleanExit(echo);
    },
    60_000,
  );

  test.each(CLIENTS)(
    'dgram echo, %s',
    async (_, wrapped) => {
      const port = await freePort();
      const echo = await server(port, program('dgram-server.mjs'), `${port}`);
      await socketsOf(stage.engine, echo.pid, 'a datagram socket', (s) => s.proto === 'udp' && s.verdict === 'both');
      const { stdout } = await node(wrapped, program('dgram-client.mjs'), [`${port}`, '700']);
      expect(stdout).toBe('echoed\n');
      const bytes = await datagramBytes(stage.engine, echo.pid);
      if (wrapped) expect(bytes).toBeGreaterThan(700 * 10_000);
      else expect(bytes).toBe(0);
      await cleanExit(echo);
    },
    60_000,
  );

  describe.each(['rr', 'none'])('a cluster of two, scheduling %s', (policy) => {
    test.each(CLIENTS)(
      '%s',
      async (_, wrapped) => {
        const port = await freePort();
        const cluster = stage.wrapped([process.execPath, program('cluster.mjs'), `${port}`, '2'], {
          env: { NODE_CLUSTER_SCHED_POLICY: policy },
        });
        await cluster.says(/ready/);
        const meter = await Meter.start(stage.engine);
        const { stdout } = await node(wrapped, program('cluster-client.mjs'), [`${port}`, '200']);
        const workers = JSON.parse(stdout) as string[];
        // Without a schedule the kernel, too, may give all to one.
        if (policy === 'rr') expect(workers).toEqual(['1', '2']);
        else expect(workers.length).toBeGreaterThan(0);
        await meter.expect(wrapped, 200, 200 * 20_000);
        await cleanExit(cluster);
      },
      60_000,
    );
  });

  test.each(CLIENTS)(
    'servers in worker threads, %s',
    async (_, wrapped) => {
      const port = await freePort();
      await freePort();
      await freePort();
      const threads = await server(port, program('worker-threads.mjs'), `${port}`);
      const meter = await Meter.start(stage.engine);
      await Promise.all([
        node(wrapped, program('fetch.mjs'), [`http://127.0.0.1:${port}`, '30']),
        node(wrapped, program('fetch.mjs'), [`http://127.0.0.1:${port + 1}`, '30']),
        node(wrapped, ECHO_CLIENT, [], { PORT: `${port + 2}`, CONNECTIONS: '20', MESSAGES: '50' }),
      ]);
      await meter.expect(wrapped, 22, 60 * 100_000);
      await cleanExit(threads);
    },
    60_000,
  );

  test.each(CLIENTS)(
    'sockets passed to a forked child, %s',
    async (_, wrapped) => {
      const port = await freePort();
      const parent = await server(port, program('pass-handle.mjs'), `${port}`);
      const meter = await Meter.start(stage.engine);
      const { stdout } = await node(wrapped, program('pass-client.mjs'), [`${port}`, '20']);
      expect(JSON.parse(stdout)).toEqual({ parent: 10, child: 10 });
      await meter.expect(wrapped, 20, 20 * 100_000);
      await cleanExit(parent);
    },
    60_000,
  );

  test('why names both ends of a live connection', async () => {
    const port = await freePort();
    const echo = await server(port, ECHO_SERVER);
    const client = stage.wrapped([
      process.execPath,
      '-e',
      `require('net').connect(${port}, '127.0.0.1').on('data', (d) => console.log(d.toString())).write('hi')`,
    ]);
    await client.says(/hi/);
    const [theirs] = await localConnections(stage.engine, echo.pid);
    const [ours] = await localConnections(stage.engine, client.pid);
    expect(ours).toMatchObject({ remote: `127.0.0.1:${port}`, bytes_in: 2, bytes_out: 2, peer: { pid: echo.pid } });
    expect(theirs).toMatchObject({ remote: ours?.local, local: ours?.remote, peer: { pid: client.pid } });
    await client.end('SIGTERM');
    await cleanExit(echo);
  }, 30_000);
});
