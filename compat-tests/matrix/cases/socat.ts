// SPDX-License-Identifier: BSD-3-Clause
import { assert, at, makeFile, sha256, type Case, type Ground } from '../lib/kit.js';

const needs = ['socat'];
const SIZE = 3_000_001;

/** A file goes to a server that sends everything back. */
async function echo(t: Ground, listen: string, connect: string, exec: string): Promise<void> {
  const port = await t.port();
  t.server(['socat', '-d', '-d', `${listen}:${port},bind=${t.host},reuseaddr,fork`, exec]);
  await t.listening(port);
  makeFile(at(t, 'data'), SIZE);
  const pipe = 'exec socat -t 20 - "$1" <"$2" >"$3"';
  await t.ok(['sh', '-c', pipe, 'sh', `${connect}:${t.host}:${port}`, at(t, 'data'), at(t, 'back')]);
  assert.equal(await sha256(at(t, 'back')), await sha256(at(t, 'data')));
}

const common = { program: 'socat', needs, least: { connections: 1, bytes: 2 * SIZE } };

export default [
  { ...common, name: 'exec', quick: true, run: (t) => echo(t, 'TCP-LISTEN', 'TCP', 'EXEC:cat,nofork') },
  { ...common, name: 'exec-client', wire: 'out', run: (t) => echo(t, 'TCP-LISTEN', 'TCP', 'EXEC:cat') },
  {
    ...common,
    name: 'datagrams',
    least: { connections: 0, bytes: 40_000 },
    async run(t) {
      const port = await t.port();
      const server = t.server(['socat', '-d', '-d', `UDP-RECVFROM:${port},bind=${t.host},fork`, 'PIPE']);
      for (let i = 0; i < 5; i++) {
        const input = `${i}`.repeat(4000);
        const ask = ['socat', '-t', '1', '-b', '5000', '-', `UDP:${t.host}:${port}`];
        // A datagram may come before the server is there, or be refused (ICMP) then: it is sent again.
        const got = await t.until(
          'the answer',
          async () => (await t.ok(ask, { input }).catch(() => undefined))?.stdout || undefined,
          15_000,
        );
        assert.ok(got === input, `${got.length} characters came back`);
      }
      await server.end('SIGTERM');
    },
  },
] satisfies Case[];
