// SPDX-License-Identifier: BSD-3-Clause
/** The addon's types as a program uses them; never run. */
import type { Socket } from 'node:net';
import {
  connect,
  info,
  isAccelerated,
  pipeZero,
  ZBuffer,
  type Sent,
  type ZSocket,
} from '../../engine-native/addon/src/index.js';

export async function use(plain: Socket): Promise<number> {
  const socket: ZSocket = connect(1);
  const asAny: Socket = socket;
  let total = 0;
  for await (using seg of socket.segments()) {
    const sent: Sent = await socket.sendZero(seg);
    total += sent.bytes + sent.copied + seg.data.length;
  }
  const { bytes, reason }: Sent = await socket.sendZero(new ZBuffer(10).data.subarray(1));
  await pipeZero(socket, socket);
  // @ts-expect-error an ordinary socket has no segments
  await pipeZero(plain, socket);
  const path: 'local' | 'wire' | 'kernel' = info(asAny).path;
  return isAccelerated(plain) && path === 'local' && reason !== '' ? bytes : total;
}
