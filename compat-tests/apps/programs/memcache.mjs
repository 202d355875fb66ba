// SPDX-License-Identifier: BSD-3-Clause
// memcache.mjs PORT CONNECTIONS: sets and gets values of many sizes on each connection, pipelined, and compares them.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';

const host = process.env.TEST_HOST ?? '127.0.0.1';
const [port, connections] = process.argv.slice(2).map(Number);
const SIZES = [0, 1, 16, 1448, 30_721, 400_000, 1_000_000];

function converse(number) {
  return new Promise((resolve, reject) => {
    const values = SIZES.map((size) => randomBytes(size));
    const socket = connect({ port, host });
    const answer = [];
    const wanted = [];
    values.forEach((value, i) => {
      socket.write(`set k${number}-${i} 0 0 ${value.length}\r\n`);
      socket.write(value);
      socket.write('\r\n');
      wanted.push(Buffer.from('STORED\r\n'));
    });
    values.forEach((value, i) => {
      socket.write(`get k${number}-${i}\r\n`);
      wanted.push(Buffer.from(`VALUE k${number}-${i} 0 ${value.length}\r\n`), value, Buffer.from('\r\nEND\r\n'));
    });
    const expected = Buffer.concat(wanted);
    let length = 0;
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      answer.push(chunk);
      length += chunk.length;
      if (length < expected.length) return;
      if (Buffer.compare(Buffer.concat(answer), expected) !== 0) reject(new Error(`connection ${number}: differs`));
      socket.end('quit\r\n');
    });
    socket.on('close', () =>
      length === expected.length ? resolve() : reject(new Error(`${length} bytes, then closed`)),
    );
  });
}

await Promise.all(Array.from({ length: connections }, (_, i) => converse(i)));
console.log('done');
