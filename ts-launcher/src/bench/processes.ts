/** Processes of a benchmark: started here, ended here, by their process id and never by name. */
import { execa } from 'execa';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherError, textOf } from '../errors.js';
import { ROOT } from '../paths.js';

/** Who serves the sockets of a measurement. */
export type World = 'kernel' | 'zstack';

/** A program to start: on one CPU, in one of the worlds. */
export interface Program {
  readonly command: readonly string[];
  readonly cpu: number;
  /** The network namespace to run in; without a name this process' own. */
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** How long a server may take to listen, and to end, milliseconds. */
const READY_MS = 10_000;
const END_MS = 3_000;

/** The command line for a program in a world; `zstack` goes through the launcher, to `engine`. */
export function commandLine({ command, cpu, netns }: Program, world: World, engine: string): [string, ...string[]] {
  const pinned: [string, ...string[]] = ['taskset', '-c', String(cpu), ...command];
  const line: [string, ...string[]] =
    world === 'kernel' ? pinned : launcher('--quiet', '--engine', engine, '--', ...pinned);
  return netns === undefined ? line : ['ip', 'netns', 'exec', netns, ...line];
}

/** A command line of the launcher itself. */
export function launcher(...args: string[]): [string, ...string[]] {
  return [join(ROOT, 'zstack-run'), ...args];
}

/** What runs, for the case that everything has to end at once. */
const running = new Set<number>();

function follow<T extends PromiseLike<unknown> & { readonly pid?: number }>(child: T): T {
  const { pid } = child;
  if (pid === undefined) return child;
  running.add(pid);
  const forget = () => running.delete(pid);
  void child.then(forget, forget);
  return child;
}

/** Kills everything that was started here and what it started. */
export function killAll(): void {
  for (const pid of running) for (const each of [...descendants(pid), pid]) killQuietly(each);
  running.clear();
}

function environment(program: Program): Record<string, string> {
  return { ...program.env, ZSTACK_BOOTSTRAP: '0' };
}

/**
 * Runs a program to its end.
 * @returns what it wrote to stdout
 * @throws LauncherError ZS1501 when it fails
 */
export async function runProgram(program: Program, world: World, engine: string, timeoutMs = 120_000): Promise<string> {
  const [file, ...args] = commandLine(program, world, engine);
  const result = await follow(
    execa(file, args, { env: environment(program), reject: false, timeout: timeoutMs, stdin: 'ignore' }),
  );
  if (!result.failed) return result.stdout;
  const name = program.command[0] ?? file;
  if (result.code === 'ENOENT')
    throw new LauncherError('ZS1302', `${file} is not installed`, 'apt-get install util-linux');
  const reason = result.stderr.trim().split('\n').at(-1) ?? '';
  throw new LauncherError('ZS1501', `${name} (${world}) failed: ${reason === '' ? result.shortMessage : reason}`, '');
}

/**
 * Runs a command line as it is.
 * @returns what it wrote to stdout
 * @throws LauncherError ZS1501 when it fails
 */
export async function runRaw([file = '', ...args]: readonly string[], what: string): Promise<string> {
  const env = { ZSTACK_BOOTSTRAP: '0' };
  const result = await follow(execa(file, args, { env, reject: false, timeout: 30_000, stdin: 'ignore' }));
  if (!result.failed) return result.stdout;
  const reason = result.stderr.trim().split('\n').at(-1) ?? '';
  throw new LauncherError('ZS1501', `${what} failed: ${reason === '' ? result.shortMessage : reason}`);
}

/** A server that runs. */
export interface Server {
  /** Its process and those that it started. */
  pids(): number[];
  /**
   * Ends it, and what it started, by SIGTERM, then by SIGKILL.
   * @returns what it wrote to stdout
   */
  stop(): Promise<string>;
}

/** Tells, given what the server wrote to stdout, whether it serves. */
export type Ready = (stdout: string) => boolean | Promise<boolean>;

/**
 * Starts a server and waits until it serves.
 * @throws LauncherError ZS1501 when it does not
 */
export async function startServer(
  program: Program,
  world: World,
  engine: string,
  ready: Ready,
  readyMs = READY_MS,
): Promise<Server> {
  const [file, ...args] = commandLine(program, world, engine);
  const child = follow(
    execa(file, args, { env: environment(program), reject: false, stdin: 'ignore', maxBuffer: 1 << 20 }),
  );
  const name = program.command[0] ?? file;
  let ended: string | undefined;
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  const pids = () => (child.pid === undefined ? [] : [child.pid, ...descendants(child.pid)]);
  const end = child.then((result) => {
    ended = result.stderr.trim().split('\n').at(-1) ?? '';
  });
  const stop = async () => {
    const family = pids();
    child.kill('SIGTERM');
    await Promise.race([end, sleep(END_MS, undefined, { ref: false })]);
    if (ended === undefined) for (const pid of family.reverse()) killQuietly(pid);
    await end;
    return stdout;
  };
  const deadline = performance.now() + readyMs;
  while (performance.now() < deadline && ended === undefined) {
    if (await ready(stdout)) return { pids, stop };
    await sleep(20);
  }
  await stop();
  throw new LauncherError('ZS1501', `${name} (${world}) does not serve: ${ended ?? ''}`, '');
}

/** Kills a process that may have ended already. */
export function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** Children, their children and so on, of a process. */
export function descendants(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
    return children.flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return [];
  }
}

/** True when something accepts connections on 127.0.0.1:port. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A TCP port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => reject(new LauncherError('ZS1501', textOf(error))));
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
