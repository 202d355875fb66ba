// SPDX-License-Identifier: BSD-3-Clause
// exhaust.mjs PORT COUNT SIZE: COUNT connections at once, each has SIZE bytes echoed. Without memory for its ring a
// connection may fail, at this end (ENOBUFS) or at the other (closed early); what arrives must be right. Prints how many
// ended in which way.
import { connect } from 'node:net';

const [port, count, size] = process.argv.slice(2).map(Number);

function converse(number) {
  const data = Buffer.alloc(size, `${number} is the number of this connection; `);
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let got = 0;
    let how = 'closed';
    socket.on('connect', () => socket.write(data));
    socket.on('error', (error) => (how = error.code));
    socket.on('data', (chunk) => {
      if (Buffer.compare(chunk, data.subarray(got, got + chunk.length)) !== 0) how = 'WRONG';
      got += chunk.length;
      if (got === size && how !== 'WRONG') {
        how = 'complete';
        socket.end();
      }
    });
    socket.on('close', () => resolve(how));
  });
}

const ways = {};
for (const how of await Promise.all(Array.from({ length: count }, (_, i) => converse(i))))
  ways[how] = (ways[how] ?? 0) + 1;
console.log(JSON.stringify(ways));
