// SPDX-License-Identifier: BSD-3-Clause
/** The servers under fault: an event loop in Node and one in C. */
import { join } from 'node:path';
import { ECHO_SERVER, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import type { Stage } from '../lib/stage.js';

export interface Server {
  readonly port: number;
  readonly program: Program;
}

export const SERVERS = [['node'], ['C']] as const;

/** Starts an echo server under Z-stack. */
export async function echoServer(stage: Stage, kind: 'node' | 'C' = 'node'): Promise<Server> {
  const port = await freePort();
  const command = kind === 'C' ? [ECHO_SERVER, `${port}`] : [process.execPath, join(ROOT, 'apps/echo-node/server.js')];
  const program = stage.wrapped(command, { env: { PORT: `${port}`, HOST: '127.0.0.1' } });
  await program.says(/listening/);
  return { port, program };
}
