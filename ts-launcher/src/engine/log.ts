/**
 * The engine's log. It is a file that has no name: the engine's stdout and stderr, read through /proc while the engine
 * runs. So nothing has to be removed, whatever way the engine ends.
 */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, unlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** `O_TMPFILE | O_DIRECTORY` on Linux; Node has no name for it. */
const O_TMPFILE = 0o20200000;
const O_RDWR = 2;
const O_APPEND = 0o2000;

/** Opens a nameless file for the log, in $XDG_STATE_HOME if there is such a directory, else in the temporary directory. */
export function createLog(): number {
  const state = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state');
  for (const directory of [state, tmpdir()]) {
    try {
      if (existsSync(directory)) return openSync(directory, O_TMPFILE | O_RDWR | O_APPEND, 0o600);
    } catch {
      continue; // A file system without O_TMPFILE.
    }
  }
  mkdirSync(tmpdir(), { recursive: true });
  const path = join(tmpdir(), `zstack-log-${process.pid}-${Date.now()}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}

/** Everything that has been written to `fd`, at most the last `limit` bytes. */
export function readLog(fd: number, limit = 64 << 10): string {
  const size = fstatSync(fd).size;
  const start = Math.max(0, size - limit);
  const buffer = Buffer.alloc(size - start);
  return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, start));
}

/**
 * Opens the log of a running engine for reading.
 * @returns the descriptor, or `undefined` when its stderr is no file (it was started by hand)
 */
export function openLogOf(pid: number): number | undefined {
  try {
    const fd = openSync(`/proc/${pid}/fd/2`, 'r');
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    return undefined;
  } catch {
    return undefined;
  }
}
