// SPDX-License-Identifier: BSD-3-Clause
/** What the tests of the wire share. */
import { join } from 'node:path';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Ends } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';

/** A program of the tests in `compat-tests/wire/programs`. */
export function wireProgram(name: string): string {
  return join(ROOT, 'compat-tests', 'wire', 'programs', name);
}

/** What both ends of a program printed, as JSON. */
export interface Reports<T> {
  readonly served: T;
  readonly connected: T;
}

/**
 * Runs a program of `programs` as server and as client, `PROGRAM serve|connect HOST PORT ...`. The server says `ready`; both end with
 * status 0 and print what they saw.
 */
export async function bothEnds<T>(ends: Ends, name: string, ...args: readonly string[]): Promise<Reports<T>> {
  const port = await freePort();
  const command = (role: string) => [PYTHON, wireProgram(name), role, ends.host, `${port}`, ...args];
  const server = ends.server(command('serve'));
  await server.says(/ready/);
  const client = await ends.ok(command('connect')).catch(async (error: unknown) => {
    // Often the other end failed first, and only that one knows why.
    throw new Error(`the server: ${(await server.ended()).stderr}`, { cause: error });
  });
  const { status, stdout, stderr } = await server.ended();
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return { served: JSON.parse(stdout.replace('ready\n', '')) as T, connected: JSON.parse(client.stdout) as T };
}
