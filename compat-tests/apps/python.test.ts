// SPDX-License-Identifier: BSD-3-Clause
/** Debian's Python: http.server and urllib, multiprocessing over TCP, asyncio, socketserver with threads and forks. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { datagramBytes, Meter } from '../lib/accel.js';
import { listening, sha256 } from '../lib/net.js';
import { program } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { CLIENTS, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { makeFile } from './nginx.js';

describe('python3', () => {
  const stage = useStage();

  async function server(script: string, mode: string): Promise<{ port: number; python: Program }> {
    const port = await freePort();
    const python = stage.wrapped([PYTHON, program(script), mode, `${port}`]);
    await python.says(/ready/);
    return { port, python };
  }

  const client = (wrapped: boolean, script: string, ...args: (string | number)[]) =>
    stage.ok(wrapped, [PYTHON, program(script), ...args.map(String)], { timeoutMs: 40_000 });

  test.each(CLIENTS)(
    'http.server and urllib, %s',
    async (_, wrapped) => {
      const root = join(stage.directory, 'www');
      mkdirSync(root, { recursive: true });
      const sizes = [0, 1, 1448, 30_721, 1 << 20, 10 << 20];
      for (const size of sizes) makeFile(join(root, `${size}`), size);
      const port = await freePort();
      const python = stage.wrapped([PYTHON, '-m', 'http.server', '--bind', '127.0.0.1', `${port}`], { cwd: root });
      await listening(port);
      const meter = await Meter.start(stage.engine);
      const wanted = await Promise.all(sizes.map(async (size) => `${size}=${await sha256(join(root, `${size}`))}`));
      const { stdout } = await stage.ok(wrapped, [PYTHON, program('py_clients.py'), 'urllib', `${port}`, '1'], {
        input: wanted.join('\n'),
      });
      expect(stdout).toBe('done\n');
      await meter.expect(wrapped, sizes.length, 11 << 20);
      await python.end('SIGINT');
    },
    60_000,
  );

  test.each(CLIENTS)(
    'multiprocessing.connection, %s',
    async (_, wrapped) => {
      const { port, python } = await server('mp_server.py', 'connection');
      const meter = await Meter.start(stage.engine);
      expect((await client(wrapped, 'mp_client.py', 'connection', port)).stdout).toBe('done\n');
      await meter.expect(wrapped, 5, 2 * 3_000_000);
      await python.end('SIGTERM');
    },
    60_000,
  );

  test.each(CLIENTS)(
    'multiprocessing.managers, %s',
    async (_, wrapped) => {
      const { port, python } = await server('mp_server.py', 'manager');
      const meter = await Meter.start(stage.engine);
      expect((await client(wrapped, 'mp_client.py', 'manager', port)).stdout).toBe('done\n');
      await meter.expect(wrapped, 5, 500_000);
      await python.end('SIGTERM');
    },
    60_000,
  );

  test.each(CLIENTS)(
    'asyncio echo with 100 connections, %s',
    async (_, wrapped) => {
      const { port, python } = await server('py_servers.py', 'asyncio');
      const meter = await Meter.start(stage.engine);
      expect((await client(wrapped, 'py_clients.py', 'asyncio', port, 100)).stdout).toBe('done\n');
      await meter.expect(wrapped, 100, 100 * 320_000);
      const { status, stderr } = await python.end('SIGTERM');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    },
    60_000,
  );

  test.each(CLIENTS)(
    'socketserver with threads, %s',
    async (_, wrapped) => {
      const { port, python } = await server('py_servers.py', 'threading');
      const meter = await Meter.start(stage.engine);
      expect((await client(wrapped, 'py_clients.py', 'threads', port, 30)).stdout).toBe('done\n');
      await meter.expect(wrapped, 30, 30 * 320_000);
      const { status, stderr } = await python.end('SIGTERM');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    },
    60_000,
  );

  test.each(CLIENTS)(
    'socketserver with a process for each connection, %s',
    async (_, wrapped) => {
      const { port, python } = await server('py_servers.py', 'forking');
      const meter = await Meter.start(stage.engine);
      expect((await client(wrapped, 'py_clients.py', 'threads', port, 20)).stdout).toBe('done\n');
      // The processes that served are gone, and their byte counts with them; the accepting one counts connections.
      if (wrapped) expect((await meter.growth()).accepts).toBe(20);
      else await meter.kernel();
      const { status, stderr } = await python.end('SIGTERM');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    },
    60_000,
  );

  test.each(CLIENTS)(
    'socketserver for datagrams, %s',
    async (_, wrapped) => {
      const { port, python } = await server('py_servers.py', 'udp');
      expect((await client(wrapped, 'py_clients.py', 'udp', port, 200)).stdout).toBe('done\n');
      const bytes = await datagramBytes(stage.engine, python.pid);
      if (wrapped) expect(bytes).toBeGreaterThan(200 * 10_000);
      else expect(bytes).toBe(0);
      expect((await python.end('SIGTERM')).status).toBe(0);
    },
    60_000,
  );
});
