// SPDX-License-Identifier: BSD-3-Clause
/**
 * What a file of a case exports: `export default { program, name, run } satisfies Case`, or an array of such.
 * A case starts real programs on a {@link Ground} and throws when they do not do what they should.
 */

/** Who serves the sockets: the kernel, shared memory within one host, Z-stack's TCP/IP between two network namespaces. */
export const BACKENDS = ['kernel', 'same-host', 'wire'] as const;
export type Backend = (typeof BACKENDS)[number];

/** How a program ended and what it wrote. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Text for standard input, which is closed after it; `open` leaves it open for {@link Running.write}. */
  readonly input?: string | Buffer | 'open';
  /** For {@link Running.ended}; 20,000 unless given. */
  readonly timeoutMs?: number;
}

/** A program that was started. */
export interface Running {
  readonly pid: number;
  readonly running: boolean;
  readonly stdout: string;
  readonly stderr: string;
  write(text: string | Buffer): void;
  endInput(): void;
  signal(signal: NodeJS.Signals): void;
  /** Waits until it wrote something that matches, on either stream. */
  says(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Waits for the end of the process itself; `ended` also for everybody who holds its output. */
  exited(timeoutMs?: number): Promise<number | NodeJS.Signals>;
  ended(timeoutMs?: number): Promise<Outcome>;
  /** Ends it with a signal, SIGTERM unless given, and waits. */
  end(signal?: NodeJS.Signals, timeoutMs?: number): Promise<Outcome>;
}

/** What must have gone through Z-stack for a cell to count; each 1 unless given. */
export interface Least {
  /** TCP connections. 0 for a program of datagrams. */
  readonly connections?: number;
  /** Bytes of payload, sent and received, summed over both ends. */
  readonly bytes?: number;
}

export type Verdict = 'pass' | 'fail' | 'skip';

/** The results of a program's own test-suite, by the name of the test. */
export type Tests = Readonly<Record<string, Verdict>>;

/** Where a case runs: one backend, with a directory of its own. What is started here is ended here. */
export interface Ground {
  readonly backend: Backend;
  /** The address at which the client reaches the server. */
  readonly host: string;
  /** Empty at first, goes away with the cell; every user may enter it. */
  readonly directory: string;
  /** For a suite: what the kernel gave on this machine; empty for the kernel itself. */
  readonly reference: Tests;
  /** A TCP and UDP port that nobody uses. */
  port(): Promise<number>;
  server(command: readonly string[], options?: StartOptions): Running;
  client(command: readonly string[], options?: StartOptions): Running;
  /** Runs a client to its end, which must be status 0. */
  ok(command: readonly string[], options?: StartOptions): Promise<Outcome>;
  /** Runs a program that opens no connections, without Z-stack, to its end, which must be status 0. */
  prepare(command: readonly string[], options?: StartOptions): Promise<Outcome>;
  /** Waits until somebody listens, as the client sees it. */
  listening(port: number): Promise<void>;
  /** Asks until it gives something other than `undefined` or `false`. */
  until<T>(what: string, probe: () => T | undefined | false | Promise<T | undefined | false>, ms?: number): Promise<T>;
  /** A line for the cell's log. */
  log(text: string): void;
}

export interface Case {
  /** The row's program: lower case, digits, `-` and `.`. */
  readonly program: string;
  /** The row's case, in the same letters. */
  readonly name: string;
  /** Names of executables that must be installed, or paths (with a `/`) that must exist. */
  readonly needs?: readonly string[];
  /** Where the case makes sense; everywhere unless given. */
  readonly backends?: readonly Backend[];
  /** Over the wire: the server under Z-stack and a kernel's client (`in`, the default), or the other way round (`out`). */
  readonly wire?: 'in' | 'out';
  readonly least?: Least;
  /** Limit of a cell, 60,000 unless given: a hang is a failure. */
  readonly timeoutMs?: number;
  /** Part of `--quick`. */
  readonly quick?: boolean;
  /** It returns the results of a program's own tests: a cell of the kernel comes first, always, to compare with. */
  readonly suite?: boolean;
  /** @returns for a suite the results of its tests, which are compared with the kernel's one by one */
  run(ground: Ground): Promise<Tests> | Promise<void>;
}

/** `PROGRAM/NAME`, the case's name everywhere. */
export function caseId(each: Case): string {
  return `${each.program}/${each.name}`;
}

/** What the runner needs of the matrix' own support code, which lives with the tests. */
export interface Field {
  /** Begins a cell. */
  ground(each: Case, directoryName: string, reference: Tests): Promise<FieldGround>;
  close(): Promise<void>;
}

export interface FieldGround extends Ground {
  /** @throws Error with words when fewer sockets than {@link Case.least} were accelerated; on the kernel when any was */
  checkAccelerated(): Promise<string>;
  /** What its programs wrote. */
  transcript(): string;
  /** Ends what was started. @throws Error when something is left */
  clear(): Promise<void>;
}

/** Exported as `openField` by `compat-tests/matrix/lib/field.ts`. */
export type OpenField = (backend: Backend, over: PortKind, isolated: boolean) => Promise<Field>;

/** The ports that a wire can have. */
export const OVER = ['tap', 'af_packet', 'af_xdp', 'memif'] as const;
export type PortKind = (typeof OVER)[number];
