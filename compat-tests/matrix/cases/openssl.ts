// SPDX-License-Identifier: BSD-3-Clause
import { randomBytes } from 'node:crypto';
import { assert, certificate, type Case, type Ground } from '../lib/kit.js';

const needs = ['openssl'];

/** A page of s_server is fetched by s_client; then lines go both ways through one connection. */
async function talk(t: Ground, server: readonly string[], client: readonly string[]): Promise<void> {
  const { key, cert } = await certificate(t);
  const port = await t.port();
  const running = t.server([
    'openssl',
    's_server',
    '-accept',
    `${t.host}:${port}`,
    '-key',
    key,
    '-cert',
    cert,
    ...server,
  ]);
  await running.says(/ACCEPT/);
  const connect = ['openssl', 's_client', '-connect', `${t.host}:${port}`, '-CAfile', cert, '-verify_return_error'];
  const text = randomBytes(200_000)
    .toString('hex')
    .replace(/(.{64})/g, '$1\n');
  const input = `${text.replace(/^Q/gm, 'q')}\nend of text\n`;
  const one = t.client([...connect, '-quiet', '-no_ign_eof', ...client], { input: 'open' });
  one.write(input);
  // -rev: each line comes back with its characters reversed.
  await one.says(/txet fo dne/, 20_000);
  one.endInput();
  await one.ended();
  const wanted = input.split('\n').map((line) => [...line].reverse().join(''));
  const got = one.stdout.split('\n');
  assert.equal(got.length >= wanted.length, true, `${got.length} lines instead of ${wanted.length}`);
  for (const line of wanted) if (line !== '') assert.ok(one.stdout.includes(line), 'a line is missing');
}

export default [
  {
    program: 'openssl',
    name: 'tls13',
    needs,
    quick: true,
    least: { bytes: 800_000 },
    run: (t) => talk(t, ['-rev', '-tls1_3'], ['-tls1_3']),
  },
  {
    program: 'openssl',
    name: 'tls12-client',
    needs,
    wire: 'out',
    least: { bytes: 800_000 },
    run: (t) => talk(t, ['-rev', '-tls1_2'], ['-tls1_2']),
  },
  {
    program: 'openssl',
    name: 's-time',
    needs,
    wire: 'out',
    least: { connections: 20, bytes: 10_000 },
    async run(t) {
      const { key, cert } = await certificate(t);
      const port = await t.port();
      const listen = ['-accept', `${t.host}:${port}`, '-key', key, '-cert', cert, '-www', '-quiet'];
      t.server(['openssl', 's_server', ...listen]);
      await t.listening(port);
      const connect = ['-connect', `${t.host}:${port}`, '-time', '1', '-www', '/', '-new'];
      const { stdout } = await t.ok(['openssl', 's_time', ...connect]);
      assert.ok(Number(/(\d+) connections in/.exec(stdout)?.[1]) > 20, stdout);
    },
  },
] satisfies Case[];
