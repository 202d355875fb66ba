// SPDX-License-Identifier: BSD-3-Clause
// An HTTP client that asks HOST:PORT for / on CONNECTIONS (default 32) kept connections for SECONDS (default 3), one request after the
// other on each, and prints {"requests", "per_s"}.
import { Agent, get } from 'node:http';

const setting = (name, fallback) => Number(process.env[name] ?? fallback);
const port = Number(process.argv[2] ?? setting('PORT', 8080));
const host = process.env.HOST ?? '127.0.0.1';
const connections = setting('CONNECTIONS', 32);
const end = performance.now() + 1000 * Number(process.argv[3] ?? setting('SECONDS', 3));
const agent = new Agent({ keepAlive: true, maxSockets: connections });
const start = performance.now();
let requests = 0;
let open = connections;

function one() {
  if (performance.now() >= end) {
    if (--open > 0) return;
    agent.destroy();
    console.log(JSON.stringify({ requests, per_s: Math.round((requests * 1000) / (performance.now() - start)) }));
    return;
  }
  get({ agent, host, port, path: '/' }, (response) => {
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    response.on('data', () => undefined);
    response.on('end', () => {
      requests++;
      one();
    });
  }).on('error', (error) => {
    console.error(`http client: ${error.message}`);
    process.exit(1);
  });
}
for (let i = 0; i < connections; i++) one();
