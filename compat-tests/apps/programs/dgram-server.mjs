// SPDX-License-Identifier: BSD-3-Clause
// dgram-server.mjs PORT: sends every datagram back.
import { createSocket } from 'node:dgram';

const host = process.env.TEST_HOST ?? '127.0.0.1';
const socket = createSocket('udp4');
socket.on('message', (data, from) => socket.send(data, from.port, from.address));
socket.bind(Number(process.argv[2]), host, () => console.log('ready'));
process.once('SIGTERM', () => socket.close());
