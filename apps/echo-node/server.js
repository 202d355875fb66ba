// A TCP echo server: PORT (default 7007; 0 for any), HOST (default all addresses).
import { createServer } from 'node:net';

const server = createServer({ allowHalfOpen: true }, (socket) => {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
  socket.on('error', (error) => console.error(`echo-node: ${error.message}`));
  socket.pipe(socket);
});
const open = new Set();

server.on('error', (error) => {
  console.error(`echo-node: ${error.message}`);
  process.exitCode = 1;
});

server.listen({ port: Number(process.env.PORT ?? 7007), host: process.env.HOST }, () => {
  const { address, port } = server.address();
  console.log(`echo-node: listening on ${address.includes(':') ? `[${address}]` : address}:${port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close();
    for (const socket of open) socket.destroySoon();
  });
}
