// SPDX-License-Identifier: BSD-3-Clause
// A service of the chain: unmodified http. NAME, PORT (0 for any); DATA: how many bytes an item has.
import { createServer } from 'node:http';

const name = process.env.NAME ?? 'items';
const data = 'x'.repeat(Number(process.env.DATA ?? 200));

const server = createServer((request, response) => {
  const body = JSON.stringify({ service: name, path: request.url, data });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
});

server.listen({ port: Number(process.env.PORT ?? 0), host: process.env.HOST ?? '127.0.0.1' }, () => {
  console.log(`${name}: listening on ${server.address().port}`);
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close();
    server.closeIdleConnections();
  });
}
