// SPDX-License-Identifier: BSD-3-Clause
/** The TCP/IP stacks that an engine can have behind its ports, for tests of what is the same with each. */
import { fstackMissing } from '../../ts-launcher/src/paths.js';

export type StackName = 'native' | 'fstack';

/**
 * `describe.each(cases)('%s', define)` once for each stack. The tests with a stack that this build does not have are
 * reported as skipped, below the reason.
 * @param cases the first element of each is its name
 */
export function describeOnStacks<Case extends readonly unknown[]>(
  cases: readonly Case[],
  define: (stack: StackName, ...parameters: [...Case]) => void,
): void {
  const on = (stack: StackName) => () => {
    for (const parameters of cases)
      describe(String(parameters[0]), () => define(stack, ...([...parameters] as [...Case])));
  };
  describe('native stack', on('native'));
  withFstack('F-Stack', on('fstack'));
}

/** `test`, or where `why` is given and the stack is libfstack, a skipped one that tells so: what FreeBSD's TCP/IP does differently. */
export function testExcept(stack: StackName, why: string) {
  return (name: string, run: () => Promise<void>, timeoutMs?: number): void => {
    if (stack === 'native') test(name, run, timeoutMs);
    else test.skip(`${name} (not with F-Stack: ${why})`, run, timeoutMs);
  };
}

/** `describe(name, define)` of what only libfstack does; where this build does not have it, skipped as above. */
export function describeOnFstack(name: string, define: () => void): void {
  withFstack(`F-Stack ${name}`, define);
}

function withFstack(name: string, define: () => void): void {
  const missing = fstackMissing();
  if (missing === undefined) describe(name, define);
  else describe.skip(`${name}, skipped: ${missing}`, define);
}
