// SPDX-License-Identifier: BSD-3-Clause
import { createHash, randomBytes } from 'node:crypto';
import { assert, endsWell, type Case, type Ground, type Running } from '../lib/kit.js';

const needs = ['redis-server', 'redis-cli', 'redis-benchmark'];

async function start(t: Ground, ...flags: string[]): Promise<{ port: number; server: Running }> {
  const port = await t.port();
  const settings = ['--port', `${port}`, '--bind', t.host, '--save', '', '--protected-mode', 'no'];
  const server = t.server(['redis-server', ...settings, ...flags]);
  await server.says(/Ready to accept connections/);
  return { port, server };
}

async function cli(t: Ground, port: number, args: readonly string[], input?: string): Promise<string> {
  const command = ['redis-cli', '-h', t.host, '-p', `${port}`, ...(input === undefined ? [] : ['-x']), ...args];
  return (await t.ok(command, input === undefined ? {} : { input })).stdout.trim();
}

async function benchmark(t: Ground, flags: readonly string[], server: readonly string[] = []): Promise<void> {
  const { port, server: running } = await start(t, ...server);
  const tests = ['-t', 'set,get,lpush,lrange_100,mset', '-r', '1000', '--csv'];
  const command = ['redis-benchmark', '-h', t.host, '-p', `${port}`, ...tests, ...flags];
  const { stdout, stderr } = await t.ok(command, { timeoutMs: 50_000 });
  assert.doesNotMatch(stdout + stderr, /error|ERR|Could not|closed/i);
  assert.match(stdout, /^"SET","[\d.]+"[^]*^"GET","[\d.]+"[^]*^"LRANGE_100/m);
  await endsWell(running);
}

export default [
  {
    program: 'redis',
    name: 'benchmark',
    needs,
    quick: true,
    least: { connections: 50, bytes: 1_000_000 },
    run: (t) => benchmark(t, ['-n', '3000', '-c', '50']),
  },
  {
    program: 'redis',
    name: 'pipelined',
    needs,
    least: { connections: 50, bytes: 1_000_000 },
    run: (t) => benchmark(t, ['-n', '20000', '-c', '50', '-P', '16']),
  },
  {
    program: 'redis',
    name: 'io-threads',
    needs,
    least: { connections: 50, bytes: 1_000_000 },
    run: (t) => benchmark(t, ['-n', '3000', '-c', '50'], ['--io-threads', '2', '--io-threads-do-reads', 'yes']),
  },
  {
    program: 'redis',
    name: 'values',
    needs,
    quick: true,
    least: { connections: 6, bytes: 8_000_000 },
    async run(t) {
      const { port, server } = await start(t);
      for (const size of [16, 4_000_000]) {
        const value = randomBytes(size / 2).toString('hex');
        assert.equal(await cli(t, port, ['set', 'key'], value), 'OK');
        assert.ok((await cli(t, port, ['get', 'key'])) === value);
        const sha1 = ['eval', "return redis.sha1hex(redis.call('get', KEYS[1]))", '1', 'key'];
        assert.equal(await cli(t, port, sha1), createHash('sha1').update(value).digest('hex'));
      }
      await endsWell(server);
    },
  },
  {
    program: 'redis',
    name: 'subscribe',
    needs,
    least: { connections: 2 },
    async run(t) {
      const { port, server } = await start(t);
      const listener = t.client(['redis-cli', '-h', t.host, '-p', `${port}`, 'subscribe', 'news']);
      await listener.says(/subscribe\nnews\n/);
      for (let i = 0; i < 20; i++) assert.equal(await cli(t, port, ['publish', 'news', `item ${i}`]), '1');
      await listener.says(/item 19\n/);
      await endsWell(server);
    },
  },
  {
    program: 'redis',
    name: 'replica',
    needs,
    backends: ['kernel', 'same-host'],
    least: { connections: 3, bytes: 1_000_000 },
    async run(t) {
      const { port } = await start(t);
      const value = randomBytes(500_000).toString('hex');
      assert.equal(await cli(t, port, ['set', 'big'], value), 'OK');
      const second = await start(t, '--replicaof', `${t.host} ${port}`);
      await t.until('the replica has it', async () => (await cli(t, second.port, ['strlen', 'big'])) === '1000000');
      assert.equal(await cli(t, port, ['set', 'late', 'yes']), 'OK');
      await t.until('the replica follows', async () => (await cli(t, second.port, ['get', 'late'])) === 'yes');
    },
  },
] satisfies Case[];
