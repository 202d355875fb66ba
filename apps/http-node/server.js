// A plain HTTP server: GET / answers text, GET /json answers JSON, POST /echo sends the body back.
//   PORT (default 8080; 0 for any), HOST (default all addresses)
import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 8080);
const host = process.env.HOST;
const started = Date.now();

const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/echo') {
    response.writeHead(200, { 'content-type': request.headers['content-type'] ?? 'application/octet-stream' });
    request.pipe(response);
  } else if (request.url === '/json') {
    const body = JSON.stringify({ pid: process.pid, uptime_s: (Date.now() - started) / 1000 });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(body);
  } else if (request.url === '/') {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 13 });
    response.end('Hello, world\n');
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end('not found\n');
  }
});

server.on('error', (error) => {
  console.error(`http-node: ${error.message}`);
  process.exitCode = 1;
});

server.listen({ port, host }, () => {
  const { address, port: actual } = server.address();
  console.log(`http-node: listening on ${address.includes(':') ? `[${address}]` : address}:${actual}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    // No new connections; those that are idle end now, those that are busy after their response.
    server.close();
    server.closeIdleConnections();
  });
}
