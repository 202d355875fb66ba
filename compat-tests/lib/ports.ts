// SPDX-License-Identifier: BSD-3-Clause
/** Ports that nobody uses, below the range from which the kernel takes those of connections. */
import { createServer } from 'node:net';

const FIRST = 12_000;
const LAST = 31_000;
let next = FIRST + ((process.pid * 41) % (LAST - FIRST));

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '::', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** A free port, not given before. */
export async function freePort(): Promise<number> {
  for (let i = 0; i < 1000; i++) {
    const port = next++;
    if (next >= LAST) next = FIRST;
    if (await listens(port)) return port;
  }
  throw new Error('no free port');
}
