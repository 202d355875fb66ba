// SPDX-License-Identifier: BSD-3-Clause
import { existsSync, readFileSync } from 'node:fs';
import {
  assert,
  at,
  certificate,
  content,
  endsWell,
  fetchFiles,
  h2load,
  nginx,
  NGINX,
  nginxConfiguration,
  wrk,
  type Case,
} from '../lib/kit.js';

const SIZES = [0, 1, 1448, 30_721, 1 << 20, 12 << 20];
const needs = [NGINX, 'curl'];

export default [
  {
    program: 'nginx',
    name: 'files',
    needs,
    quick: true,
    least: { connections: 1 + SIZES.length, bytes: 20 << 20 },
    async run(t) {
      const hashes = await content(t, SIZES);
      const { port, server } = await nginx(t);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes, ['-H', 'Connection: close']);
      await endsWell(server, 'SIGQUIT');
    },
  },
  {
    program: 'nginx',
    name: 'reload-under-load',
    needs: [...needs, 'wrk'],
    least: { connections: 50 },
    async run(t) {
      const { port, server } = await nginx(t);
      const load = wrk(t, `http://${t.host}:${port}/hello`, ['-t1', '-c50', '-d2s', '-H', 'Connection: close']);
      for (let i = 0; i < 3; i++) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        server.signal('SIGHUP');
      }
      await load;
      await endsWell(server, 'SIGQUIT');
    },
  },
  {
    program: 'nginx',
    name: 'proxy',
    needs,
    least: { connections: 2, bytes: 40 << 20 },
    backends: ['kernel', 'same-host'],
    async run(t) {
      const hashes = await content(t, SIZES);
      const back = await nginx(t);
      const options = { server: `location /back/ { proxy_pass http://${t.host}:${back.port}/; }` };
      const front = await nginx(t, options);
      await fetchFiles(t, `http://${t.host}:${front.port}/back`, hashes);
      await endsWell(front.server, 'SIGQUIT');
      await endsWell(back.server, 'SIGQUIT');
    },
  },
  {
    program: 'nginx',
    name: 'tls-http2',
    needs: [...needs, 'h2load', 'openssl'],
    quick: true,
    least: { connections: 21, bytes: 20 << 20 },
    async run(t) {
      const hashes = await content(t, SIZES);
      const { key, cert } = await certificate(t);
      const tls = await t.port();
      const server = `listen ${t.host}:${tls} ssl http2; ssl_certificate ${cert}; ssl_certificate_key ${key};`;
      const running = (await nginx(t, { server })).server;
      const url = `https://${t.host}:${tls}`;
      await fetchFiles(t, url, hashes, ['--http2']);
      await fetchFiles(t, url, hashes, ['--http1.1']);
      await h2load(t, `${url}/30721`, ['-n', '1000', '-c', '20', '-m', '10']);
      await endsWell(running, 'SIGQUIT');
    },
  },
  {
    program: 'nginx',
    name: 'binary-upgrade',
    needs,
    async run(t) {
      const port = await t.port();
      const file = nginxConfiguration(t.directory, port, { host: t.host });
      // SIGUSR2 is for a daemon, which nginx knows by its parent: that goes away here, and the session stays the cell's.
      const shell = t.server(['sh', '-c', '"$@" & sleep 0.2', 'sh', NGINX, '-p', t.directory, '-c', file]);
      await t.listening(port);
      const pid = at(t, `nginx-${port}.pid`);
      const master = await t.until('the master is there', () => existsSync(pid) && Number(readFileSync(pid, 'utf8')));
      await shell.exited();
      process.kill(master, 'SIGUSR2');
      await t.until('the new master runs', () => existsSync(`${pid}.oldbin`) && existsSync(pid));
      process.kill(master, 'SIGQUIT');
      await t.until('the old master ends', () => !existsSync(`${pid}.oldbin`));
      const { stdout } = await t.ok(['curl', '-sS', '--fail', `http://${t.host}:${port}/hello`]);
      assert.match(stdout, /^Hello from nginx/);
      process.kill(Number(readFileSync(pid, 'utf8')), 'SIGQUIT');
      await t.until('the new master ends', () => !existsSync(pid));
    },
  },
] satisfies Case[];
