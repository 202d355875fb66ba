// SPDX-License-Identifier: BSD-3-Clause
// pass-handle.mjs PORT: the parent accepts; connections with an even number go to a forked child, which answers them.
import { fork } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

function serve(socket, who) {
  socket.on('error', () => undefined);
  socket.write(`${who}\n`);
  socket.pipe(socket);
}

if (process.argv[2] === 'child') {
  process.on('message', (message, socket) => {
    if (message === 'end') process.disconnect();
    else if (socket) serve(socket, 'child');
  });
  process.send('up');
} else {
  const child = fork(fileURLToPath(import.meta.url), ['child']);
  let number = 0;
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    if (number++ % 2 === 0) {
      child.send('socket', socket);
    } else {
      socket.resume();
      serve(socket, 'parent');
    }
  });
  child.once('message', () => server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready')));
  process.once('SIGTERM', () => {
    server.close();
    child.send('end');
  });
}
