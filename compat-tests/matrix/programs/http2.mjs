// SPDX-License-Identifier: BSD-3-Clause
// http2.mjs serve|ask HOST PORT KEY CERT: HTTP/2 over TLS; the server sends each body back, the client compares.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createSecureServer } from 'node:http2';

const [mode, host, port, key, cert] = process.argv.slice(2);

function serve() {
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) });
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  server.listen(Number(port), host, () => console.log('ready'));
  process.once('SIGTERM', () => server.close());
}

function post(session, size) {
  return new Promise((resolve, reject) => {
    const body = randomBytes(size);
    const got = [];
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.on('data', (chunk) => got.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => (Buffer.concat(got).equals(body) ? resolve() : reject(new Error(`${size} bytes differ`))));
    stream.end(body);
  });
}

async function ask() {
  const session = connect(`https://${host}:${port}`, { ca: readFileSync(cert) });
  await Promise.all(Array.from({ length: 50 }, (_, i) => post(session, 1 + i * 4001)));
  await new Promise((resolve) => session.close(resolve));
  console.log('done');
}

await (mode === 'serve' ? serve() : ask());
