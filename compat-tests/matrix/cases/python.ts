// SPDX-License-Identifier: BSD-3-Clause
import { program } from '../../lib/paths.js';
import { assert, at, certificate, content, endsWell, own, PYTHON, type Case, type Ground } from '../lib/kit.js';

const needs = [PYTHON];

/** An echo server of Python's library and as many clients. */
async function echo(t: Ground, server: string, client: string, count: number): Promise<void> {
  const port = await t.port();
  const env = { TEST_HOST: t.host };
  const python = t.server([PYTHON, program('py_servers.py'), server, `${port}`], { env });
  await python.says(/ready/);
  const command = [PYTHON, program('py_clients.py'), client, `${port}`, `${count}`];
  assert.equal((await t.ok(command, { env, timeoutMs: 40_000 })).stdout, 'done\n');
  await endsWell(python);
}

async function files(t: Ground, sizes: readonly number[]): Promise<void> {
  const hashes = await content(t, sizes);
  const port = await t.port();
  t.server([PYTHON, '-m', 'http.server', '--bind', t.host, `${port}`], { cwd: at(t, 'html') });
  await t.listening(port);
  const input = [...hashes].map(([size, hash]) => `${size}=${hash}`).join('\n');
  const command = [PYTHON, program('py_clients.py'), 'urllib', `${port}`, '2'];
  assert.equal((await t.ok(command, { env: { TEST_HOST: t.host }, input })).stdout, 'done\n');
}

async function secure(t: Ground, how: string): Promise<void> {
  const { key, cert } = await certificate(t);
  const port = await t.port();
  const args = [t.host, `${port}`, key, cert];
  const server = t.server([PYTHON, own('tls.py'), `serve-${how}`, ...args]);
  await server.says(/ready/);
  assert.equal((await t.ok([PYTHON, own('tls.py'), `ask-${how}`, ...args])).stdout, 'done\n');
  await endsWell(server);
}

const common = { program: 'python', needs };
const bulk = { connections: 10, bytes: 6_000_000 };

export default [
  {
    ...common,
    name: 'http-server',
    quick: true,
    least: { connections: 6, bytes: 4_000_000 },
    run: (t) => files(t, [0, 30_721, 2 << 20]),
  },
  {
    ...common,
    name: 'http-client',
    wire: 'out',
    least: { connections: 6, bytes: 4_000_000 },
    run: (t) => files(t, [1, 30_721, 2 << 20]),
  },
  { ...common, name: 'asyncio', quick: true, least: bulk, run: (t) => echo(t, 'asyncio', 'asyncio', 20) },
  { ...common, name: 'asyncio-client', wire: 'out', least: bulk, run: (t) => echo(t, 'asyncio', 'asyncio', 20) },
  { ...common, name: 'socketserver-threads', least: bulk, run: (t) => echo(t, 'threading', 'threads', 10) },
  { ...common, name: 'socketserver-forks', least: bulk, run: (t) => echo(t, 'forking', 'threads', 10) },
  {
    ...{ ...common, name: 'socketserver-datagrams', least: { connections: 0, bytes: 500_000 } },
    run: (t) => echo(t, 'udp', 'udp', 50),
  },
  { ...common, name: 'ssl-asyncio', quick: true, least: bulk, run: (t) => secure(t, 'asyncio') },
  { ...common, name: 'ssl-threads', wire: 'out', least: bulk, run: (t) => secure(t, 'threads') },
] satisfies Case[];
