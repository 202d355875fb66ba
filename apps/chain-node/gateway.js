// SPDX-License-Identifier: BSD-3-Clause
// The gateway of the chain: each request asks both services (ITEMS, PRICES: ports on this host) over kept connections and answers with
// what they said. Unmodified http; PORT (default 8080; 0 for any).
import { Agent, createServer, get } from 'node:http';

const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const services = { items: Number(process.env.ITEMS), prices: Number(process.env.PRICES) };

function ask(port, path) {
  return new Promise((resolve, reject) => {
    get({ agent, host: '127.0.0.1', port, path }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve(JSON.parse(Buffer.concat(parts).toString())));
      answer.on('error', reject);
    }).on('error', reject);
  });
}

const server = createServer((request, response) => {
  Promise.all([ask(services.items, request.url), ask(services.prices, request.url)]).then(
    ([items, prices]) => {
      const body = JSON.stringify({ items, prices });
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    },
    (error) => {
      response.writeHead(502, { 'content-type': 'text/plain' });
      response.end(`${error.message}\n`);
    },
  );
});

server.listen({ port: Number(process.env.PORT ?? 8080), host: process.env.HOST }, () => {
  console.log(`gateway: listening on ${server.address().port}`);
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close();
    server.closeIdleConnections();
    agent.destroy();
  });
}
