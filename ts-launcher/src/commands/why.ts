/** `zstack-run why PID [FD]`: per socket, who serves it and why. */
import type { Command } from 'commander';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { checked, whySchema, type SocketReport, type WhyAnswer } from '../engine/protocol.js';
import { addOptions } from '../cli.js';
import { LauncherError } from '../errors.js';
import { print } from '../output.js';
import { inspect } from '../target/inspect.js';
import { runningEngine } from './engine.js';
import { bytes, plainTable } from './format.js';
import type { Register } from './index.js';

export const register: Register = (program, context) => {
  addOptions(program, ['engine', 'config', 'profile'])
    .argument('<pid>', 'the process')
    .argument('[fd]', 'one descriptor of it')
    .option('--json', 'as JSON')
    .action(async (pidText: string, fdText: string | undefined, flags: { json?: boolean }, command: Command) => {
      const pid = wholeNumber('PID', pidText);
      const fd = fdText === undefined ? undefined : wholeNumber('FD', fdText);
      const { options } = await context(command).resolve();
      const { client } = await runningEngine(options.engine);
      try {
        const answer = checked(whySchema, await client.request('why', fd === undefined ? { pid } : { pid, fd }), 'why');
        const name = processName(pid);
        const notes = fd === undefined ? outOfReach(pid, answer.attached) : [];
        const text = (): string => [whyText(answer, name, fd), ...notes].join('\n');
        print(flags.json === true ? JSON.stringify({ ...answer, notes }, null, 2) : text());
      } finally {
        client.close();
      }
    });
};

function wholeNumber(what: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new LauncherError('ZS1003', `${what} ${text}`, 'expected a whole number');
}

/** @throws LauncherError ZS1402 when there is no such process */
function processName(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    throw new LauncherError('ZS1402', `there is no process ${pid}`, 'see `zstack-run engine status` for the programs');
  }
}

/**
 * What the library does not see of a process: all of it when the program cannot be preloaded, rings that it set up by system
 * calls of its own. Nothing where `/proc` may not be read.
 */
export function outOfReach(pid: number, attached: boolean): string[] {
  const notes: string[] = [];
  try {
    if (!attached)
      for (const { status, evidence } of inspect(readlinkSync(`/proc/${pid}/exe`), undefined))
        if (status !== 'ok') notes.push(evidence);
    const rings = readdirSync(`/proc/${pid}/fd`).filter((fd) => isRing(pid, fd));
    if (rings.length > 0)
      notes.push(
        `io_uring at descriptor ${rings.join(', ')}: ` +
          (attached
            ? 'for files; its operations on sockets are refused, unless the program made it by system calls of its own'
            : 'what it does with sockets is not seen'),
      );
  } catch {
    // It ended, or belongs to somebody else.
  }
  return notes;
}

function isRing(pid: number, fd: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[io_uring]';
  } catch {
    return false; // closed meanwhile
  }
}

/** The answer for people. */
export function whyText(answer: WhyAnswer, name: string, fd?: number): string {
  const who = `${name} (pid ${answer.pid})`;
  if (!answer.attached) {
    return (
      `${who} is not attached to the engine: it was not started by zstack-run, or it opened no socket yet, ` +
      'or the library was not loaded (see `zstack-run doctor COMMAND`)'
    );
  }
  if (answer.sockets.length === 0)
    return fd === undefined ? `${who} has no sockets` : `${who} has no socket at descriptor ${fd}`;
  const rows = answer.sockets.map((socket) => [
    String(socket.fd),
    socket.proto,
    socket.verdict,
    socket.local ?? '',
    socket.remote ?? '',
    peerOf(socket),
    bytes(socket.bytes_in ?? 0),
    bytes(socket.bytes_out ?? 0),
    `${socket.reason}: ${socket.text}`,
  ]);
  return plainTable(['fd', 'proto', 'served', 'local', 'remote', 'peer', 'in', 'out', 'why'], rows, [0, 6, 7]);
}

function peerOf({ peer }: SocketReport): string {
  return peer ? `${peer.name} (${peer.pid})` : '';
}
