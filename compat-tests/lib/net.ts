// SPDX-License-Identifier: BSD-3-Clause
/** What the test process itself does with sockets: always over the kernel. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { until } from './wait.js';

/** Connects; rejects with the error. */
export function dial(port: number, host = '127.0.0.1'): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}

/** Waits until somebody listens. */
export async function listening(port: number, host = '127.0.0.1', timeoutMs = 10_000): Promise<void> {
  await until(
    `somebody listens at ${host}:${port}`,
    async () => {
      try {
        (await dial(port, host)).destroy();
        return true;
      } catch {
        return false;
      }
    },
    timeoutMs,
  );
}

/** Waits until nobody listens any more. */
export async function silent(port: number, host = '127.0.0.1'): Promise<void> {
  await until(`nobody listens at ${host}:${port}`, async () => {
    try {
      (await dial(port, host)).destroy();
      return false;
    } catch {
      return true;
    }
  });
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
