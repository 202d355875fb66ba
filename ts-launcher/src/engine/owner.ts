/** Is the process behind an engine's address ours? Abstract names are free for everybody, so anybody could have taken it. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { LauncherError } from '../errors.js';
import { adminProcName, controlProcName } from './name.js';

/**
 * Checks that process `pid`, which the engine says it is, belongs to this user and holds the listening socket. Node has
 * no SO_PEERCRED; /proc tells the same.
 * @throws LauncherError ZS1205 when it does not
 */
export function checkOwner(name: string, pid: number): void {
  if (!holdsAddress(name, pid)) {
    throw new LauncherError(
      'ZS1205',
      `the address of engine ${name} is held by a process that is not ours (it says it is process ${pid})`,
      'use another name: --engine NAME',
    );
  }
}

function holdsAddress(name: string, pid: number): boolean {
  try {
    const { uid } = statSync(`/proc/${pid}`);
    if (uid !== process.getuid?.() && uid !== 0) return false;
    const inodes = listeningInodes(adminProcName(name));
    const fds = `/proc/${pid}/fd`;
    return readdirSync(fds).some((fd) => inodes.has(linkOf(`${fds}/${fd}`)));
  } catch {
    return false;
  }
}

/** `socket:[inode]` of every socket that listens at the name. */
function listeningInodes(procName: string): Set<string> {
  const inodes = new Set<string>();
  for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
    const [, , , flags, , , inode, path] = line.trim().split(/\s+/);
    // 00010000 is __SO_ACCEPTCON: it listens.
    if (path === procName && flags === '00010000') inodes.add(`socket:[${inode ?? ''}]`);
  }
  return inodes;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** True when a process has the engine's name: an engine that runs, starts or ends. */
export function isElected(name: string): boolean {
  const wanted = controlProcName(name);
  try {
    return readFileSync('/proc/net/unix', 'latin1')
      .split('\n')
      .some((line) => line.trim().split(/\s+/)[7] === wanted);
  } catch {
    return false;
  }
}
