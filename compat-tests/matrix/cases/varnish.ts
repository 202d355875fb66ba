// SPDX-License-Identifier: BSD-3-Clause
/** A cache before nginx: a manager process, a worker of many threads, which poll and read with timeouts. */
import { writeFileSync } from 'node:fs';
import { assert, at, content, fetchFiles, nginx, wrk, type Case, FILE_SIZES } from '../lib/kit.js';

export default [
  {
    program: 'varnish',
    name: 'cache',
    needs: ['varnishd', 'nginx', 'curl', 'wrk'],
    least: { connections: 20, bytes: 36_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port: behind } = await nginx(t);
      const port = await t.port();
      const lines = ['vcl 4.0;', `backend default { .host = "${t.host}"; .port = "${behind}"; }`];
      writeFileSync(at(t, 'cache.vcl'), `${lines.join('\n')}\n`);
      const server = t.server([
        ...['varnishd', '-F', '-j', 'none', '-a', `${t.host}:${port}`, '-f', at(t, 'cache.vcl')],
        ...['-n', at(t, 'cache'), '-s', 'malloc,64m'],
      ]);
      await t.listening(port);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes); // the second time from the cache
      await wrk(t, `http://${t.host}:${port}/1448`, ['-t1', '-c20', '-d1s']);
      const { stdout } = await t.ok(['curl', '-sSI', `http://${t.host}:${port}/1448`]);
      assert.match(stdout, /x-varnish: \d+ \d+/i, 'a hit names two transactions');
      await server.end('SIGTERM');
    },
  },
] satisfies Case[];
