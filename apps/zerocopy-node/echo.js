// SPDX-License-Identifier: BSD-3-Clause
// A zero-copy echo server: what it receives goes back from where it is. PORT (default 7008; 0 for any), HOST.
import { createServer, pipeZero } from '../../engine-native/addon/dist/index.js';

const total = { bytes: 0, copied: 0 };
const open = new Set();

const server = createServer({ allowHalfOpen: true }, (socket) => {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
  socket.on('error', (error) => console.error(`zerocopy echo: ${error.message}`));
  pipeZero(socket, socket).then(
    ({ bytes, copied }) => {
      total.bytes += bytes;
      total.copied += copied;
    },
    () => undefined, // told by 'error'
  );
});

server.listen({ port: Number(process.env.PORT ?? 7008), host: process.env.HOST }, () => {
  console.log(`zerocopy echo: listening on ${server.address().port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close(() => console.log(JSON.stringify(total)));
    for (const socket of open) socket.destroySoon();
  });
}
