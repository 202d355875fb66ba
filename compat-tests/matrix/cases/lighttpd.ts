// SPDX-License-Identifier: BSD-3-Clause
import { writeFileSync } from 'node:fs';
import {
  at,
  certificate,
  content,
  endsWell,
  fetchFiles,
  type Case,
  type Ground,
  type Running,
  fetchAndLoad,
  FILE_SIZES,
} from '../lib/kit.js';

const needs = ['lighttpd', 'curl', 'wrk'];

async function start(t: Ground, more: readonly string[] = []): Promise<{ port: number; server: Running }> {
  const port = await t.port();
  const lines = [
    `server.document-root = "${at(t, 'html')}"`,
    `server.bind = "${t.host}"`,
    `server.port = ${port}`,
    `server.errorlog = "${at(t, 'error.log')}"`,
    'server.max-keep-alive-requests = 100000',
    ...more,
  ];
  writeFileSync(at(t, 'lighttpd.conf'), `${lines.join('\n')}\n`);
  const server = t.server(['lighttpd', '-D', '-f', at(t, 'lighttpd.conf')]);
  await t.listening(port);
  return { port, server };
}

export default [
  {
    program: 'lighttpd',
    name: 'files',
    needs,
    quick: true,
    least: { connections: 40, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port, server } = await start(t);
      await fetchAndLoad(t, `http://${t.host}:${port}`, hashes);
      await endsWell(server, 'SIGINT');
    },
  },
  {
    program: 'lighttpd',
    name: 'workers',
    needs,
    least: { connections: 40, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port } = await start(t, ['server.max-worker = 3']);
      await fetchAndLoad(t, `http://${t.host}:${port}`, hashes);
    },
  },
  {
    program: 'lighttpd',
    name: 'poll',
    needs,
    least: { connections: 40, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { port, server } = await start(t, ['server.event-handler = "poll"', 'server.network-backend = "writev"']);
      await fetchAndLoad(t, `http://${t.host}:${port}`, hashes);
      await endsWell(server, 'SIGINT');
    },
  },
  {
    program: 'lighttpd',
    name: 'tls',
    needs: [...needs, 'openssl', '/usr/lib/lighttpd/mod_openssl.so'],
    least: { connections: 1, bytes: 9_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const { key, cert } = await certificate(t);
      const { port, server } = await start(t, [
        'server.modules += ( "mod_openssl" )',
        ...['ssl.engine = "enable"', `ssl.pemfile = "${cert}"`, `ssl.privkey = "${key}"`],
      ]);
      await fetchFiles(t, `https://${t.host}:${port}`, hashes);
      await endsWell(server, 'SIGINT');
    },
  },
] satisfies Case[];
