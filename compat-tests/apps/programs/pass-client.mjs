// SPDX-License-Identifier: BSD-3-Clause
// pass-client.mjs PORT COUNT: COUNT connections at once; each reads who serves it, then has 100,000 bytes echoed. Prints
// how many each served.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';

const [port, count] = process.argv.slice(2).map(Number);

function converse() {
  return new Promise((resolve, reject) => {
    const data = randomBytes(100_000);
    const socket = connect({ port, host: '127.0.0.1' });
    let got = Buffer.alloc(0);
    socket.write(data);
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      const line = got.indexOf('\n');
      if (line < 0 || got.length < line + 1 + data.length) return;
      if (Buffer.compare(got.subarray(line + 1), data) !== 0) return reject(new Error('the echo differs'));
      const who = got.subarray(0, line).toString();
      socket.end();
      socket.on('close', () => resolve(who));
    });
    socket.on('end', () => {
      if (got.length < data.length) reject(new Error(`the end came after ${got.length} bytes`));
    });
  });
}

const served = { parent: 0, child: 0 };
for (const who of await Promise.all(Array.from({ length: count }, converse))) served[who]++;
console.log(JSON.stringify(served));
