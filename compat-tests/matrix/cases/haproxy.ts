// SPDX-License-Identifier: BSD-3-Clause
import { writeFileSync } from 'node:fs';
import {
  at,
  content,
  endsWell,
  fetchFiles,
  nginx,
  NGINX,
  wrk,
  type Case,
  type Ground,
  type Running,
} from '../lib/kit.js';

const needs = ['haproxy', NGINX, 'curl', 'wrk'];
// The server is both ends' program: over the wire the backend, on its host, is reached through shared memory.
const SIZES = [0, 1, 1448, 30_721, 1 << 20, 8 << 20];

interface Proxy {
  readonly port: number;
  readonly server: Running;
  readonly file: string;
}

async function proxy(t: Ground, mode: 'http' | 'tcp', backend: number, threads: number): Promise<Proxy> {
  const port = await t.port();
  const file = at(t, 'haproxy.cfg');
  writeFileSync(
    file,
    `global
  nbthread ${threads}
  stats socket ${at(t, 'admin.sock')} mode 600 level admin expose-fd listeners
  hard-stop-after 5s
defaults
  mode ${mode}
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen front
  bind ${t.host}:${port}
  balance roundrobin
  server one ${t.host}:${backend}
  server two ${t.host}:${backend}
`,
  );
  const server = t.server(['haproxy', '-W', '-db', '-f', file]);
  await t.listening(port);
  return { port, server, file };
}

async function through(t: Ground, mode: 'http' | 'tcp'): Promise<void> {
  const hashes = await content(t, SIZES);
  const back = await nginx(t);
  const { port, server } = await proxy(t, mode, back.port, 2);
  await fetchFiles(t, `http://${t.host}:${port}`, hashes);
  await fetchFiles(t, `http://${t.host}:${port}`, hashes, ['-H', 'Connection: close']);
  await wrk(t, `http://${t.host}:${port}/hello`, ['-t1', '-c40', '-d1s']);
  await endsWell(server);
}

const common = { program: 'haproxy', needs, least: { connections: 40, bytes: 40_000_000 } };

export default [
  { ...common, name: 'http', quick: true, run: (t) => through(t, 'http') },
  { ...common, name: 'tcp', run: (t) => through(t, 'tcp') },
  {
    ...common,
    name: 'seamless-reload',
    least: { connections: 100, bytes: 100_000 },
    async run(t) {
      const back = await nginx(t);
      const { port, server } = await proxy(t, 'http', back.port, 2);
      const load = wrk(t, `http://${t.host}:${port}/hello`, ['-t1', '-c20', '-d3s', '-H', 'Connection: close']);
      // The new worker takes the listening sockets over a UNIX socket; not one connection may be refused.
      for (let i = 2; i <= 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        server.signal('SIGUSR2');
        await t.until('the next worker runs', () => server.stderr.split('Loading success').length > i, 15_000);
      }
      await load;
      await endsWell(server);
    },
  },
] satisfies Case[];
