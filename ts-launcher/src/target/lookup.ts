/** Finds a COMMAND the way execvp(3) does, and tells why it cannot be run. */
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, LauncherError, textOf } from '../errors.js';

/** Where execvp(3) looks when PATH is not set. */
const DEFAULT_PATH = '/bin:/usr/bin';

/**
 * The file that would be executed for `command`.
 * @throws LauncherError ZS1101 not found (127), ZS1102 found but not executable (126)
 */
export function findCommand(command: string, path: string | undefined): string {
  if (command === '') throw new LauncherError('ZS1101', 'the name of the command is empty');
  if (command.includes('/')) {
    const reason = whyNot(command);
    if (reason !== undefined) throw reason;
    return command;
  }
  let refused: LauncherError | undefined;
  for (const directory of (path ?? DEFAULT_PATH).split(':')) {
    const candidate = join(directory === '' ? '.' : directory, command);
    const reason = whyNot(candidate);
    if (reason === undefined) return candidate;
    if (reason.code === 'ZS1102') refused ??= reason;
  }
  throw refused ?? new LauncherError('ZS1101', `${command}: not found in PATH`, 'install it or give its path');
}

function whyNot(file: string): LauncherError | undefined {
  try {
    if (statSync(file).isDirectory()) return new LauncherError('ZS1102', `${file}: is a directory`);
    accessSync(file, constants.X_OK);
    return undefined;
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EACCES')
      return new LauncherError('ZS1102', `${file}: permission denied`, 'is it executable? chmod +x');
    if (code === 'ENOENT' || code === 'ENOTDIR') return new LauncherError('ZS1101', `${file}: not found`);
    return new LauncherError('ZS1102', `${file}: ${textOf(error)}`);
  }
}
