// SPDX-License-Identifier: BSD-3-Clause
// One request to an engine, for use inside its network namespace: admin-once.mjs IDENTITY REQUEST, both as the
// administration protocol has them. Prints the answer.
import { connect } from 'node:net';

const [identity, request] = process.argv.slice(2);
const socket = connect({ path: `\0zstack-${identity}-admin`.padEnd(108, '\0') });
let text = '';
socket.setEncoding('utf8');
socket.on('connect', () => socket.write(`${request}\n`));
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
socket.on('data', (chunk) => {
  text += chunk;
  if (!text.includes('\n')) return;
  console.log(text.split('\n')[0]);
  socket.destroy();
});
