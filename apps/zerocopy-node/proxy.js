// SPDX-License-Identifier: BSD-3-Clause
// A zero-copy TCP proxy, the middlebox case: PORT (default 7009; 0 for any) to TO=HOST:PORT.
import { connect, createServer, info, pipeZero } from '../../engine-native/addon/dist/index.js';

const [host, port] = (process.env.TO ?? '127.0.0.1:8080').split(/:(?=\d+$)/);
const total = { connections: 0, bytes: 0, copied: 0 };
const open = new Set();

const server = createServer({ allowHalfOpen: true }, (client) => {
  const upstream = connect(Number(port), host, { allowHalfOpen: true });
  total.connections++;
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client],
  ]) {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', (error) => {
      if (process.env.VERBOSE) console.error(`zerocopy proxy: ${error.message}`);
      other.destroy();
    });
    pipeZero(socket, other).then(
      ({ bytes, copied }) => {
        total.bytes += bytes;
        total.copied += copied;
      },
      () => other.destroy(),
    );
  }
  if (process.env.VERBOSE) upstream.once('connect', () => console.error(info(client), info(upstream)));
});

server.listen({ port: Number(process.env.PORT ?? 7009), host: process.env.HOST }, () => {
  console.log(`zerocopy proxy: listening on ${server.address().port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close(() => console.log(JSON.stringify(total)));
    for (const socket of open) socket.destroySoon();
  });
}
