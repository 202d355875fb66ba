// SPDX-License-Identifier: BSD-3-Clause
/** A name server: UDP and TCP on one port, several threads with SO_REUSEPORT. */
import { writeFileSync } from 'node:fs';
import { assert, at, endsWell, type Case } from '../lib/kit.js';

export default [
  {
    program: 'unbound',
    name: 'answers',
    needs: ['unbound', 'dig'],
    least: { connections: 3, bytes: 2_000 },
    async run(t) {
      const port = await t.port();
      const names = Array.from({ length: 20 }, (_, i) => `local-data: "n${i}.test. A 192.0.2.${i}"`);
      const long = Array.from({ length: 20 }, (_, i) => `local-data: 'long.test. TXT "${`${i} `.repeat(60)}"'`);
      const lines = [
        'server:',
        `interface: ${t.host}`,
        'access-control: 0.0.0.0/0 allow',
        `port: ${port}`,
        'do-daemonize: no',
        'username: ""',
        'chroot: ""',
        'pidfile: ""',
        `directory: "${t.directory}"`,
        'use-syslog: no',
        'num-threads: 2',
        'local-zone: "test." static',
        ...names,
        ...long,
      ];
      writeFileSync(at(t, 'unbound.conf'), `${lines.join('\n')}\n`);
      const server = t.server(['unbound', '-d', '-c', at(t, 'unbound.conf')]);
      await t.listening(port);
      const dig = ['dig', `@${t.host}`, '-p', `${port}`, '+time=5', '+tries=2'];
      for (let i = 0; i < 20; i += 1) {
        const flags = i % 8 === 7 ? ['+tcp'] : [];
        const { stdout } = await t.ok([...dig, '+short', ...flags, `n${i}.test`]);
        assert.equal(stdout, `192.0.2.${i}\n`);
      }
      const { stdout } = await t.ok([...dig, '+bufsize=512', 'long.test', 'TXT']);
      assert.match(stdout, /Truncated, retrying in TCP/);
      assert.match(stdout, /ANSWER: 20,/);
      await endsWell(server);
    },
  },
] satisfies Case[];
