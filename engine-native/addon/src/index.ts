// SPDX-License-Identifier: BSD-3-Clause
/** Zero-copy sockets for Node.js. Under `zstack-run` nothing is copied where that is possible; elsewhere the same calls copy. */
import { native, type Usage } from './native.js';

export { ZBuffer, Segment } from './memory.js';
export { ZSocket, connect, createServer, info, isAccelerated, pipeZero } from './socket.js';
export type { Sendable, Sent, SocketInfo } from './socket.js';
export type { Usage } from './native.js';

/** What this process holds and has lent. */
export function usage(): Usage {
  return native.usage();
}

/** Limits, in bytes, for received segments and for what is lent; over them data is copied. 0 leaves one as it is. */
export function setQuota(held: number, lent = 0): void {
  native.setQuota(held, lent);
}
