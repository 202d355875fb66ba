// SPDX-License-Identifier: BSD-3-Clause
import { certificate, content, h2load, nginx, NGINX, type Case, type Ground } from '../lib/kit.js';

const needs = ['h2load', NGINX, 'openssl'];

async function secure(t: Ground): Promise<string> {
  await content(t, [100, 100_000]);
  const { key, cert } = await certificate(t);
  const port = await t.port();
  await nginx(t, {
    server: `listen ${t.host}:${port} ssl http2; ssl_certificate ${cert}; ssl_certificate_key ${key};`,
  });
  return `https://${t.host}:${port}`;
}

export default [
  {
    program: 'h2load',
    name: 'http2-tls',
    needs,
    wire: 'out',
    quick: true,
    least: { connections: 10, bytes: 100_000 },
    run: async (t) => h2load(t, `${await secure(t)}/100`, ['-n', '3000', '-c', '10', '-m', '100']),
  },
  {
    program: 'h2load',
    name: 'http2-tls-large',
    needs,
    wire: 'out',
    least: { connections: 10, bytes: 20_000_000 },
    run: async (t) => h2load(t, `${await secure(t)}/100000`, ['-n', '200', '-c', '10', '-m', '10', '-t', '2']),
  },
  {
    program: 'h2load',
    name: 'http1-tls',
    needs,
    wire: 'out',
    least: { connections: 10, bytes: 100_000 },
    run: async (t) => h2load(t, `${await secure(t)}/100`, ['--h1', '-n', '2000', '-c', '10']),
  },
] satisfies Case[];
