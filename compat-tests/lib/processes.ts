// SPDX-License-Identifier: BSD-3-Clause
/** Started programs: each in a session of its own, so that everything that it starts is found and ended by id. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Outcome, StartOptions } from '../../ts-launcher/src/compat/case.js';
import { until, within } from './wait.js';

export type { Outcome, StartOptions };

export class Program {
  stdout = '';
  stderr = '';
  private outcome: Outcome | undefined;
  private readonly closed: Promise<Outcome>;
  private readonly exit: Promise<number | NodeJS.Signals>;
  private readonly child: ChildProcess;

  constructor(
    readonly command: readonly string[],
    env: NodeJS.ProcessEnv,
    private readonly options: StartOptions = {},
  ) {
    const [file = '', ...args] = command;
    const stdin = options.input === undefined ? 'ignore' : 'pipe';
    this.child = spawn(file, args, {
      detached: true,
      stdio: [stdin, 'pipe', 'pipe'],
      env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.child.stdin?.on('error', () => undefined);
    if (options.input !== undefined && options.input !== 'open') this.child.stdin?.end(options.input);
    this.closed = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (status, signal) => {
        this.outcome = { status, signal, stdout: this.stdout, stderr: this.stderr };
        resolve(this.outcome);
      });
    });
    this.closed.catch(() => undefined);
    this.exit = new Promise((resolve) => {
      this.child.once('exit', (status, signal) => resolve(status ?? signal ?? 0));
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get name(): string {
    return this.command.join(' ').slice(0, 120);
  }

  get running(): boolean {
    return this.outcome === undefined;
  }

  write(text: string | Buffer): void {
    this.child.stdin?.write(text);
  }

  endInput(): void {
    this.child.stdin?.end();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.child.exitCode === null && this.child.signalCode === null) process.kill(this.pid, signal);
  }

  /** Waits until the program wrote something that matches, on either stream. */
  async says(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    return until(
      () => `${this.name} says ${pattern}; it wrote:\n${this.stdout}${this.stderr}`,
      () => {
        const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
        if (match === null && !this.running)
          throw new Error(
            `${this.name} ended (${this.outcome?.status ?? this.outcome?.signal}) before it said ${pattern}; it wrote:\n${this.stdout}${this.stderr}`,
          );
        return match ?? undefined;
      },
      timeoutMs,
    );
  }

  /** Waits for the end of the process itself: its children may go on and hold its output. */
  exited(timeoutMs = 20_000): Promise<number | NodeJS.Signals> {
    return within(timeoutMs, `${this.name} exits`, this.exit);
  }

  /** Waits for its end and that of everybody who holds its output. */
  ended(timeoutMs = this.options.timeoutMs ?? 20_000): Promise<Outcome> {
    return within(timeoutMs, `${this.name} ends`, this.closed).catch((error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      throw new Error(`${text}; it wrote:\n${this.stdout.slice(-2000)}${this.stderr.slice(-2000)}`);
    });
  }

  /** Ends it with a signal and waits for it. */
  async end(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 10_000): Promise<Outcome> {
    this.signal(signal);
    return this.ended(timeoutMs);
  }

  /** The processes of its session that live, the program included. */
  family(): number[] {
    return processes()
      .filter((p) => p.session === this.pid)
      .map((p) => p.pid);
  }

  /** Stops listening to it: a daemon that it left may hold its output. */
  release(): void {
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
    this.child.unref();
  }
}

export interface ProcessInfo {
  readonly pid: number;
  readonly name: string;
  readonly state: string;
  readonly parent: number;
  readonly session: number;
  /** User and system time, in ticks of a hundredth of a second. */
  readonly ticks: number;
}

/** What /proc says of a process; `undefined` when it is gone. */
export function processInfo(pid: number): ProcessInfo | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const number = (index: number) => Number(fields[index]);
  return {
    pid,
    name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')),
    state: fields[0] ?? '?',
    parent: number(1),
    session: number(3),
    ticks: number(11) + number(12),
  };
}

/** All processes that are not merely waiting to be reaped. */
export function processes(): ProcessInfo[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processInfo(Number(name)))
    .filter((info): info is ProcessInfo => info !== undefined && info.state !== 'Z' && info.state !== 'X');
}

export function killQuietly(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone already
  }
}
