// SPDX-License-Identifier: BSD-3-Clause
// worker-threads.mjs PORT: an HTTP server in each of two threads, on PORT and PORT + 1, and an echo server in the main
// thread on PORT + 2.
import { createServer } from 'node:http';
import { createServer as createEcho } from 'node:net';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

if (isMainThread) {
  const port = Number(process.argv[2]);
  let ready = 0;
  const servers = [0, 1].map((i) => new Worker(fileURLToPath(import.meta.url), { workerData: port + i }));
  const up = () => {
    if (++ready === 3) console.log('ready');
  };
  for (const worker of servers) worker.once('message', up);
  const echo = createEcho((socket) => socket.pipe(socket)).listen(port + 2, '127.0.0.1', up);
  process.once('SIGTERM', async () => {
    echo.close();
    await Promise.all(servers.map((worker) => worker.terminate()));
  });
} else {
  const { parentPort } = await import('node:worker_threads');
  createServer((request, response) => {
    response.writeHead(200);
    if (request.method === 'POST') request.pipe(response);
    else response.end('Hello, world\n');
  }).listen(workerData, '127.0.0.1', () => parentPort.postMessage('up'));
}
