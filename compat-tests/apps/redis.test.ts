// SPDX-License-Identifier: BSD-3-Clause
/** Debian's redis: its own benchmark, values byte-exact, pipelining, snapshots under load, a replica. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { localConnections, Meter } from '../lib/accel.js';
import { listening } from '../lib/net.js';
import { ALL, needs } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { CLIENTS, useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';

interface Redis {
  readonly port: number;
  readonly directory: string;
  readonly program: Program;
}

needs(
  describe,
  'redis-server',
  'redis-benchmark',
  'redis-cli',
)('redis', () => {
  const stage = useStage();

  async function start(...settings: string[]): Promise<Redis> {
    const port = await freePort();
    const directory = join(stage.directory, `redis-${port}`);
    mkdirSync(directory);
    const program = stage.wrapped(
      [
        'redis-server',
        ...['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--loglevel', 'notice'],
        ...settings,
      ],
      { cwd: directory },
    );
    await program.says(/Ready to accept connections/);
    await listening(port);
    return { port, directory, program };
  }

  /** One command through redis-cli; binary values on standard input. */
  async function cli(wrapped: boolean, port: number, args: string[], input?: Buffer): Promise<string> {
    const stdin = input === undefined ? {} : { input };
    const { stdout } = await stage.ok(
      wrapped,
      ['redis-cli', '-p', `${port}`, ...(input === undefined ? [] : ['-x']), ...args],
      stdin,
    );
    return stdout.trim();
  }

  async function shutdown({ port, program }: Redis): Promise<void> {
    // The server closes without an answer: redis-cli says so on stderr and is content.
    await stage.wrapped(['redis-cli', '-p', `${port}`, 'shutdown', 'nosave']).ended();
    expect((await program.ended()).status).toBe(0);
  }

  /** A benchmark's output: every test with its figure, nothing that speaks of an error. */
  function figures(output: string): string[] {
    expect(output).not.toMatch(/error|ERR|Could not|closed/i);
    return [...output.matchAll(/^"([^"]+)","([\d.]+)"/gm)].map((m) => m[1] ?? '');
  }

  test.each(CLIENTS)(
    'passes redis-benchmark with its default tests for %s',
    async (_, wrapped) => {
      const redis = await start();
      const meter = await Meter.start(stage.engine);
      const n = ALL ? '20000' : '2000';
      const run = stage.start(wrapped, ['redis-benchmark', '-p', `${redis.port}`, '-n', n, '-c', '50', '--csv'], {
        timeoutMs: 100_000,
      });
      const { status, stdout, stderr } = await run.ended();
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(figures(stdout)).toEqual(
        expect.arrayContaining(['SET', 'GET', 'LRANGE_600 (first 600 elements)', 'ZPOPMIN']),
      );
      await meter.expect(wrapped, 50 * 10, 1 << 20);
      await shutdown(redis);
    },
    120_000,
  );

  test.each(CLIENTS)(
    'passes redis-benchmark 16 deep for %s',
    async (_, wrapped) => {
      const redis = await start();
      const meter = await Meter.start(stage.engine);
      const run = await stage.ok(wrapped, [
        ...['redis-benchmark', '-p', `${redis.port}`, '-n', '50000', '-c', '50', '-P', '16', '--csv'],
        ...['-t', 'set,get,incr,lpush', '-r', '1000'],
      ]);
      expect(figures(run.stdout)).toEqual(['SET', 'GET', 'INCR', 'LPUSH']);
      await meter.expect(wrapped, 50, 50_000 * 40);
      await shutdown(redis);
    },
    60_000,
  );

  test.each(CLIENTS)(
    'values of 16 and 400,000 bytes are byte-exact for %s',
    async (_, wrapped) => {
      const redis = await start();
      const meter = await Meter.start(stage.engine);
      for (const size of [16, 400_000]) {
        // redis-cli speaks text: as hexadecimal digits nothing is lost. SHA1 is computed by the server's Lua, too.
        const value = randomBytes(size / 2).toString('hex');
        expect(await cli(wrapped, redis.port, ['set', `v${size}`], Buffer.from(value))).toBe('OK');
        expect(await cli(wrapped, redis.port, ['strlen', `v${size}`])).toBe(`${size}`);
        expect((await cli(wrapped, redis.port, ['get', `v${size}`])) === value).toBe(true);
        const sha1 = ['eval', "return redis.sha1hex(redis.call('get', KEYS[1]))", '1', `v${size}`];
        expect(await cli(wrapped, redis.port, sha1)).toBe(createHash('sha1').update(value).digest('hex'));
      }
      await meter.expect(wrapped, 8, 2 * 400_000);
      await shutdown(redis);
    },
    60_000,
  );

  test('BGSAVE under load, and the snapshot is loaded again', async () => {
    const redis = await start('--enable-debug-command', 'yes');
    await cli(true, redis.port, ['debug', 'populate', '50000', 'key', '200']);
    await cli(true, redis.port, ['set', 'precious'], Buffer.from('value'));
    const saved = () => cli(true, redis.port, ['info', 'persistence']);
    const load = stage.wrapped(
      [
        ...['redis-benchmark', '-p', `${redis.port}`, '-n', '150000', '-c', '20', '-t', 'set,get', '-r', '10000'],
        ...['-d', '400', '--csv'],
      ],
      { timeoutMs: 60_000 },
    );
    await localConnections(stage.engine, redis.program.pid);
    let snapshots = 0;
    for (; snapshots < 3 && (snapshots === 0 || load.running); snapshots++) {
      expect(await cli(true, redis.port, ['bgsave'])).toMatch(/Background saving started/);
      await until('the snapshot is taken', async () =>
        /rdb_bgsave_in_progress:0[^]*rdb_last_bgsave_status:ok/.test(await saved()),
      );
    }
    const { status, stdout } = await load.ended();
    expect(status).toBe(0);
    expect(figures(stdout)).toEqual(['SET', 'GET']);
    expect(existsSync(join(redis.directory, 'dump.rdb'))).toBe(true);
    const digest = await cli(true, redis.port, ['debug', 'digest']);
    expect(await cli(true, redis.port, ['debug', 'reload'])).toBe('OK');
    expect(await cli(true, redis.port, ['debug', 'digest'])).toBe(digest);
    expect(await cli(true, redis.port, ['get', 'precious'])).toBe('value');
    await shutdown(redis);
  }, 120_000);

  test('a replica synchronises, follows, and is byte-exact', async () => {
    const primary = await start('--enable-debug-command', 'yes', '--repl-diskless-sync-delay', '0');
    const big = randomBytes(200_000).toString('hex');
    await cli(true, primary.port, ['set', 'big'], Buffer.from(big));
    await cli(true, primary.port, ['debug', 'populate', '20000', 'key', '500']);
    const meter = await Meter.start(stage.engine);
    const replica = await start(
      ...['--enable-debug-command', 'yes', '--repl-diskless-sync-delay', '0'],
      ...['--replicaof', `127.0.0.1 ${primary.port}`],
    );
    const state = () => cli(true, replica.port, ['info', 'replication']);
    await until('the replica is in sync', async () => /master_link_status:up/.test(await state()), 20_000);
    const link = (await localConnections(stage.engine, replica.program.pid)).filter(
      (s) => s.remote === `127.0.0.1:${primary.port}`,
    );
    expect(link).toHaveLength(1);
    expect(link[0]?.bytes_in).toBeGreaterThan(500_000);
    const load = ['redis-benchmark', '-p', `${primary.port}`, '-n', '20000', '-t', 'set,lpush', '-r', '5000', '--csv'];
    expect(figures((await stage.ok(true, load)).stdout)).toEqual(['SET', 'LPUSH']);
    const digest = (port: number) => cli(true, port, ['debug', 'digest']);
    const wanted = await digest(primary.port);
    await until('the replica caught up', async () => (await digest(replica.port)) === wanted, 10_000);
    expect((await cli(true, replica.port, ['get', 'big'])) === big).toBe(true);
    await meter.accelerated(2, 500_000);
    await shutdown(replica);
    await shutdown(primary);
  }, 60_000);
});
