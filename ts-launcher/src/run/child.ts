/**
 * Starts the command. Plain `child_process`: at this place start-up time matters more than comfort, and a command gets
 * exactly the descriptors, limits and signals that it would have had without the launcher.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { LauncherError, errnoOf, textOf } from '../errors.js';
import { part } from '../paths.js';
import type { Launched } from './launched.js';

/** The arguments for `zstack-exec`, which undoes what Node changed and then becomes the command. */
export function execArguments(launched: Launched, command: readonly string[]): string[] {
  const args: string[] = [];
  if (launched.nofile !== undefined) args.push('--nofile', launched.nofile);
  if (launched.core !== undefined) args.push('--core', launched.core);
  if (launched.ignored !== 0n) args.push('--ignore', launched.ignored.toString(16));
  if (launched.blocked !== 0n) args.push('--block', launched.blocked.toString(16));
  return [...args, '--', ...command];
}

/** stdin, stdout, stderr and the user's other descriptors, each at its own number. */
export function inheritedStdio(fds: readonly number[]): StdioOptions {
  const highest = Math.max(2, ...fds);
  return Array.from({ length: highest + 1 }, (_, fd) => (fd <= 2 ? 'inherit' : fds.includes(fd) ? fd : 'ignore'));
}

/**
 * Starts `command` in this process group.
 * @throws LauncherError ZS1401 when not even the helper can be started, ZS1301 when it is not built
 */
export function startCommand(command: readonly string[], env: NodeJS.ProcessEnv, launched: Launched): ChildProcess {
  const helper = part('exec');
  try {
    return spawn(helper, execArguments(launched, command), { env, stdio: inheritedStdio(launched.fds) });
  } catch (error) {
    throw startFailure(command[0] ?? '', error);
  }
}

/** The error for a failed start. */
export function startFailure(command: string, error: unknown): LauncherError {
  const tooLong = errnoOf(error) === 'E2BIG';
  return new LauncherError(
    'ZS1401',
    `cannot start ${command}: ${textOf(error)}`,
    tooLong ? 'arguments and environment together are too long' : '',
  );
}
