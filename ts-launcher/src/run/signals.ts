/**
 * Signals between terminal, launcher and command. Both are in one process group, so what the terminal sends reaches the
 * command without help; what is sent to the launcher alone is passed on.
 */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { hasSignal } from './launched.js';

/** Always passed on: nobody but a process sends them. */
const FORWARDED = [
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGALRM',
  'SIGURG',
  'SIGXCPU',
  'SIGIO',
  'SIGPWR',
] as const;
/** Sent by a terminal to its whole foreground group, and by processes. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGWINCH'] as const;

/** Stop a program that has no handler for them; to gunicorn and unicorn two of them mean more and fewer workers. */
const STOPPING = ['SIGTSTP', 'SIGTTIN', 'SIGTTOU'] as const;

/** What follows the name in /proc/PID/stat, from the state on; the name may contain blanks and parentheses. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** The process group and the foreground group of the controlling terminal (-1: there is no terminal). */
export function terminalGroups(stat = readFileSync('/proc/self/stat', 'latin1')): {
  group: number;
  foreground: number;
} {
  const fields = fieldsOf(stat);
  return { group: Number(fields[2]), foreground: Number(fields[5]) };
}

/** True when a key of the terminal would send its signals to this process group. */
function inForeground(): boolean {
  const { group, foreground } = terminalGroups();
  return group === foreground;
}

/** What the signals go to. */
export interface Target {
  kill(signal: NodeJS.Signals): void;
  /** Whether the command is stopped by a signal. */
  stopped(): boolean;
}

/** Whether a process is stopped; false when there is none. */
export function isStopped(pid: number | undefined): boolean {
  try {
    return fieldsOf(readFileSync(`/proc/${pid}/stat`, 'latin1'))[0] === 'T';
  } catch {
    return false;
  }
}

/**
 * Installs the handlers.
 * @param ignored mask of the signals that the user's shell ignores (nohup, background jobs). The command began with them ignored,
 * too, and gets them all the same: it may have set handlers of its own
 * @returns removes the handlers
 */
export function relaySignals(target: Target, ignored: bigint): () => void {
  const handlers: [NodeJS.Signals, () => void][] = [];
  const on = (signal: NodeJS.Signals, handler: () => void) => {
    handlers.push([signal, handler]);
    process.on(signal, handler);
  };
  for (const signal of FORWARDED) on(signal, () => target.kill(signal));
  for (const signal of FROM_TERMINAL) {
    on(signal, () => {
      if (!inForeground()) target.kill(signal);
    });
  }
  for (const signal of STOPPING) {
    on(signal, () => {
      if (!inForeground()) target.kill(signal);
      if (!hasSignal(ignored, constants.signals[signal])) stopWith(target, signal);
    });
  }
  return () => {
    for (const [signal, listener] of handlers) process.removeListener(signal, listener);
  };
}

/** Stops the launcher once the command is stopped, so that the shell sees the job stopped. A command that goes on has handled the signal. */
function stopWith(target: Target, signal: NodeJS.Signals, looks = 25): void {
  if (target.stopped()) stopLikeDefault(signal);
  else if (looks > 0) setTimeout(() => stopWith(target, signal, looks - 1), 20).unref();
}

/** Stops this process by the signal itself, for shells tell its name; returns when it is continued. */
function stopLikeDefault(signal: NodeJS.Signals): void {
  const listeners = process.listeners(signal);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  for (const listener of listeners) process.on(signal, listener);
}

/**
 * Ends this process the way the command ended. Death by a signal is passed on as death by that signal, so that shells
 * and supervisors see what happened; the script set the launcher's core size to 0, a core of the command is not overwritten.
 */
export function endLike(status: number | null, signal: NodeJS.Signals | null): never {
  if (signal === null) process.exit(status ?? 125);
  process.removeAllListeners(signal);
  if (signal === 'SIGPIPE' || signal === 'SIGXFSZ') {
    // Node ignores these two; a listener that goes leaves the default action.
    process.once(signal, () => undefined);
    process.removeAllListeners(signal);
  }
  process.kill(process.pid, signal);
  // Not reached, except for a signal that does not end this process: then as a shell reports it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  process.exit(128 + constants.signals[signal]);
}
