// SPDX-License-Identifier: BSD-3-Clause
// cluster.mjs PORT WORKERS: an HTTP server as a cluster at TEST_HOST (127.0.0.1); each answer names its worker.
import cluster from 'node:cluster';
import { createServer } from 'node:http';

const [port, workers] = process.argv.slice(2).map(Number);
if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => {
    if (++listening === workers) console.log('ready');
  });
  for (let i = 0; i < workers; i++) cluster.fork();
  process.once('SIGTERM', () => cluster.disconnect(() => process.exit(0)));
} else {
  const body = 'x'.repeat(20_000);
  const server = createServer((_request, response) => response.end(`${cluster.worker.id}:${body}`));
  server.listen(port, process.env.TEST_HOST ?? '127.0.0.1');
}
