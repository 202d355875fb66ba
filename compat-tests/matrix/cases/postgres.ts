// SPDX-License-Identifier: BSD-3-Clause
/** PostgreSQL: a process per connection, signals between them, its own wait-event sets over epoll. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert, at, certificate, endsWell, type Case, type Ground, type Running } from '../lib/kit.js';

const VERSIONS = '/usr/lib/postgresql';
const version = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort().at(-1) : undefined;
const BIN = join(VERSIONS, version ?? 'none', 'bin');
const needs = [join(BIN, 'postgres'), join(BIN, 'pgbench'), join(BIN, 'psql')];

/** The server refuses to run as root. */
const asUser = process.getuid?.() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : [];

interface Database {
  readonly port: number;
  readonly server: Running;
  psql(sql: string, ...flags: string[]): Promise<string>;
  pgbench(...flags: string[]): Promise<string>;
}

async function start(t: Ground, ...settings: string[]): Promise<Database> {
  const [port, data] = [await t.port(), at(t, 'data')];
  mkdirSync(data, { mode: 0o700 });
  if (asUser.length > 0) await t.prepare(['chown', 'postgres:postgres', data]);
  const env = { LC_ALL: 'C.UTF-8', PGUSER: 'postgres', PGDATABASE: 'postgres' };
  const init = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '--no-instructions'];
  await t.prepare([...asUser, join(BIN, 'initdb'), ...init], { env, timeoutMs: 60_000 });
  await t.prepare(['sh', '-c', 'echo "host all all all trust" >>"$0/pg_hba.conf"', data]);
  const lines = [`listen_addresses=${t.host}`, `port=${port}`, 'unix_socket_directories=', 'fsync=off', ...settings];
  const options = lines.flatMap((line) => ['-c', line]);
  const server = t.server([...asUser, join(BIN, 'postgres'), '-D', data, ...options], { env });
  await server.says(/database system is ready to accept connections/, 30_000);
  const address = ['-h', t.host, '-p', `${port}`];
  return {
    port,
    server,
    psql: async (sql, ...flags) => {
      const command = [join(BIN, 'psql'), ...address, '-XAtq', '-v', 'ON_ERROR_STOP=1', ...flags];
      return (await t.ok(command, { env, input: sql, timeoutMs: 40_000 })).stdout.trim();
    },
    pgbench: async (...flags) =>
      (await t.ok([join(BIN, 'pgbench'), ...address, ...flags], { env, timeoutMs: 60_000 })).stdout,
  };
}

/** SIGINT: a fast shutdown. */
async function stop({ server }: Database): Promise<void> {
  await endsWell(server, 'SIGINT');
}

export default [
  {
    program: 'postgres',
    name: 'pgbench',
    needs,
    timeoutMs: 120_000,
    least: { connections: 5, bytes: 1_000_000 },
    async run(t) {
      const base = await start(t);
      await base.pgbench('--initialize', '--quiet', '--scale=2');
      const report = await base.pgbench('-c', '4', '-j', '2', '-t', '200');
      assert.match(report, /number of transactions actually processed: 800\/800/);
      assert.match(report, /number of failed transactions: 0/);
      await stop(base);
    },
  },
  {
    program: 'postgres',
    name: 'pgbench-client',
    needs,
    wire: 'out',
    timeoutMs: 120_000,
    least: { connections: 8, bytes: 200_000 },
    async run(t) {
      const base = await start(t);
      await base.pgbench('--initialize', '--quiet', '--scale=1');
      const report = await base.pgbench('-c', '8', '-j', '2', '-t', '100', '-S', '-M', 'prepared');
      assert.match(report, /number of transactions actually processed: 800\/800/);
      await stop(base);
    },
  },
  {
    program: 'postgres',
    name: 'reconnecting',
    needs,
    timeoutMs: 120_000,
    least: { connections: 200 },
    async run(t) {
      const base = await start(t);
      await base.pgbench('--initialize', '--quiet', '--scale=1');
      assert.match(await base.pgbench('-C', '-c', '4', '-t', '50', '-S'), /actually processed: 200\/200/);
      await stop(base);
    },
  },
  {
    program: 'postgres',
    name: 'copy-and-notify',
    needs,
    timeoutMs: 120_000,
    least: { connections: 3, bytes: 20_000_000 },
    async run(t) {
      const base = await start(t);
      const rows = Array.from({ length: 200_000 }, (_, i) => `${i}\trow number ${i} with some text to carry`);
      const sql = `CREATE TABLE t (n int, s text);\nCOPY t FROM STDIN;\n${rows.join('\n')}\n\\.\nSELECT count(*), sum(n) FROM t;\n`;
      assert.equal(await base.psql(sql), '200000|19999900000');
      const back = await base.psql('COPY (SELECT * FROM t ORDER BY n) TO STDOUT;\n');
      assert.ok(back === rows.join('\n'), 'the rows came back otherwise');
      assert.match(await base.psql("LISTEN news;\nNOTIFY news, 'hello';\nSELECT 1;\n"), /"news" with payload "hello"/);
      await stop(base);
    },
  },
  {
    program: 'postgres',
    name: 'tls-and-cancel',
    needs: [...needs, 'openssl'],
    timeoutMs: 120_000,
    least: { connections: 3 },
    async run(t) {
      const { key, cert } = await certificate(t);
      await t.prepare(['chmod', '600', key]);
      if (asUser.length > 0) await t.prepare(['chown', 'postgres:postgres', key, cert]);
      const base = await start(t, 'ssl=on', `ssl_key_file=${key}`, `ssl_cert_file=${cert}`);
      const one = `host=${t.host} port=${base.port} sslmode=require`;
      assert.equal(await base.psql('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();', '-d', one), 't');
      const sleeper = t.client([
        join(BIN, 'psql'),
        '-X',
        '-d',
        `${one} user=postgres dbname=postgres`,
        '-c',
        'SELECT pg_sleep(60)',
      ]);
      const asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active';";
      await t.until('it sleeps', async () => (await base.psql(asleep)) === '1');
      // psql asks for the cancellation over a connection of its own.
      sleeper.signal('SIGINT');
      assert.match((await sleeper.ended()).stderr, /canceling statement due to user request|Cancel request sent/);
      await stop(base);
    },
  },
] satisfies Case[];
