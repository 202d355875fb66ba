// SPDX-License-Identifier: BSD-3-Clause
/** Apache's event MPM: processes of threads that share a listener; siege asks select before each read. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import {
  assert,
  at,
  content,
  fetchFiles,
  type Case,
  type Ground,
  type Running,
  fetchAndLoad,
  FILE_SIZES,
} from '../lib/kit.js';

const MODULES = '/usr/lib/apache2/modules';
const needs = ['apache2', `${MODULES}/mod_mpm_event.so`, 'curl', 'wrk'];

async function start(t: Ground): Promise<{ port: number; server: Running }> {
  const port = await t.port();
  mkdirSync(at(t, 'run'));
  const lines = [
    `ServerRoot ${at(t, 'run')}`,
    'ServerName localhost',
    `DefaultRuntimeDir ${at(t, 'run')}`,
    `PidFile ${at(t, 'run/httpd.pid')}`,
    `ErrorLog ${at(t, 'run/error.log')}`,
    `LoadModule mpm_event_module ${MODULES}/mod_mpm_event.so`,
    `LoadModule authz_core_module ${MODULES}/mod_authz_core.so`,
    'User nobody',
    'Group nogroup',
    `Listen ${t.host}:${port}`,
    'MaxKeepAliveRequests 0',
    // Processes enough for every connection, and none that ends because there are too many: its connections would end with it.
    ...['StartServers 2', 'ThreadsPerChild 64', 'MaxRequestWorkers 128', 'MinSpareThreads 64', 'MaxSpareThreads 128'],
    `DocumentRoot ${at(t, 'html')}`,
    `<Directory ${at(t, 'html')}>`,
    'Require all granted',
    '</Directory>',
  ];
  writeFileSync(at(t, 'httpd.conf'), `${lines.join('\n')}\n`);
  const server = t.server(['apache2', '-f', at(t, 'httpd.conf'), '-DFOREGROUND']);
  await t.listening(port);
  return { port, server };
}

export default [
  {
    program: 'apache',
    name: 'files',
    needs,
    least: { connections: 40, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port, server } = await start(t);
      await fetchAndLoad(t, `http://${t.host}:${port}`, hashes);
      await server.end('SIGTERM');
    },
  },
  {
    program: 'apache',
    name: 'graceful',
    needs,
    least: { connections: 20, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port, server } = await start(t);
      const load = t.client(['wrk', '-t1', '-c20', '-d3s', '--timeout', '10', `http://${t.host}:${port}/1448`]);
      await t.until('the server restarts', () => {
        server.signal('SIGUSR1');
        return readFileSync(at(t, 'run/error.log'), 'utf8').includes('graceful restart');
      });
      const { status, stdout } = await load.ended();
      assert.equal(status, 0, stdout);
      assert.doesNotMatch(stdout, /Non-2xx|connect [1-9]|timeout [1-9]/);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes);
      await server.end('SIGTERM');
    },
  },
  {
    program: 'apache',
    name: 'siege',
    needs: [...needs, 'siege'],
    least: { connections: 50, bytes: 50_000_000 },
    async run(t) {
      await content(t, [1 << 20]);
      const { port, server } = await start(t);
      const env = { HOME: t.directory }; // it writes its configuration there
      const command = ['siege', '-b', '-c', '5', '-r', '10', `http://${t.host}:${port}/${1 << 20}`];
      const { stdout } = await t.ok(command, { env, timeoutMs: 60_000 });
      assert.match(stdout, /"transactions":\s+50,/);
      assert.match(stdout, /"failed_transactions":\s+0,/);
      assert.match(stdout, /"data_transferred":\s+50\.00,/);
      await server.end('SIGTERM');
      assert.ok(existsSync(at(t, 'run/error.log')));
    },
  },
] satisfies Case[];
