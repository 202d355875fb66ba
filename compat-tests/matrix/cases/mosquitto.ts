// SPDX-License-Identifier: BSD-3-Clause
/** A message broker with many clients that wait. */
import { writeFileSync } from 'node:fs';
import { assert, at, endsWell, type Case } from '../lib/kit.js';

export default [
  {
    program: 'mosquitto',
    name: 'subscribers',
    needs: ['mosquitto', 'mosquitto_pub', 'mosquitto_sub'],
    least: { connections: 6, bytes: 2_000_000 },
    async run(t) {
      const port = await t.port();
      writeFileSync(at(t, 'mosquitto.conf'), `listener ${port} ${t.host}\nallow_anonymous true\n`);
      const server = t.server(['mosquitto', '-v', '-c', at(t, 'mosquitto.conf')]);
      await t.listening(port);
      const address = ['-h', t.host, '-p', `${port}`, '-q', '1'];
      const readers = Array.from({ length: 4 }, () =>
        t.client(['mosquitto_sub', ...address, '-t', 'words/#', '-C', '201']),
      );
      await t.until(
        'all have subscribed',
        () => (`${server.stdout}${server.stderr}`.match(/Sending SUBACK/g) ?? []).length === 4,
      );
      const words = Array.from({ length: 200 }, (_, i) => `word ${i}`);
      await t.ok(['mosquitto_pub', ...address, '-t', 'words/all', '-l'], { input: `${words.join('\n')}\n` });
      const large = 'x'.repeat(500_000);
      await t.ok(['mosquitto_pub', ...address, '-t', 'words/large', '-s'], { input: large });
      for (const reader of readers) {
        const { status, stdout } = await reader.ended();
        assert.equal(status, 0);
        assert.ok(stdout === `${[...words, large].join('\n')}\n`, 'every message, in its order');
      }
      await endsWell(server);
    },
  },
] satisfies Case[];
