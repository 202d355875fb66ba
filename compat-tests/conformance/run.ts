// SPDX-License-Identifier: BSD-3-Clause
/** One run of one case of the conformance program. */
import type { Stage } from '../lib/stage.js';

export interface Run {
  readonly pid: number;
  /** What the case printed, up to the line that ends it. */
  readonly trace: string;
  /** Connections that the case's main program made, all to listeners in the same run. */
  readonly connects: number;
}

/**
 * Runs a case. `held` is called when the case is done, its sockets are closed, and the program still lives.
 * @throws Error with the trace so far when it fails, ends early or takes longer than `timeoutMs`
 */
export async function runCase(
  stage: Stage,
  program: string,
  name: string,
  wrapped: boolean,
  timeoutMs: number,
  held?: () => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const run = stage.start(wrapped, [program, name, '--hold'], { input: 'open', env });
  const [, connects = '0'] = await run.says(/^== end connects=(\d+)\n/m, timeoutMs);
  await held?.();
  run.endInput();
  const { status, signal, stdout, stderr } = await run.ended(timeoutMs);
  if (status !== 0 || stderr !== '')
    throw new Error(`${run.name} ended with ${status ?? signal}; it wrote:\n${stdout}${stderr}`);
  return { pid: run.pid, trace: stdout.replace(/(== end) connects=\d+\n$/, '$1\n'), connects: Number(connects) };
}
