// SPDX-License-Identifier: BSD-3-Clause
// dgram-client.mjs PORT COUNT: sends COUNT datagrams of many sizes, one after the other, and checks each that comes back.
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const host = process.env.TEST_HOST ?? '127.0.0.1';
const [port, count] = process.argv.slice(2).map(Number);
const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
const SIZES = [0, 1, 64, 1472, 1473, 8192, 65507];
for (let i = 0; i < count; i++) {
  const data = randomBytes(SIZES[i % SIZES.length]);
  const answer = once(socket, 'message', { signal: globalThis.AbortSignal.timeout(5000) });
  socket.send(data, port, host);
  const [got, from] = await answer;
  if (from.port !== port) throw new Error(`an answer from port ${from.port}`);
  if (Buffer.compare(got, data) !== 0) throw new Error(`datagram ${i} of ${data.length} bytes differs`);
}
socket.close();
console.log('echoed');
