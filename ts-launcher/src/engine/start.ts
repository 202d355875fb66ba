/** Starts `zstackd`, detached, and waits until it serves. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { LauncherError } from '../errors.js';
import type { Options } from '../options/resolve.js';
import { enginePart } from '../paths.js';
import { enginePorts } from '../ports/arguments.js';
import type { PlannedPort } from '../ports/plan.js';
import { ealArguments } from './eal.js';
import { createLog, readLog } from './log.js';
import { startedWith } from './started-with.js';

/** How an attempt to start an engine ended. */
export type StartResult =
  | { readonly outcome: 'ready'; readonly pid: number }
  /** Another engine has the name, or is about to: connect to that one. */
  | { readonly outcome: 'taken' }
  /** DPDK did not accept its arguments or the machine. */
  | { readonly outcome: 'dpdk'; readonly error: LauncherError };

/** Exit statuses of `zstackd`. */
const EXIT_TAKEN = 3;
const EXIT_DPDK = 4;

/** What an engine is to have besides same-host sockets. */
export interface Extent {
  /** False leaves DPDK out whatever the options say. */
  readonly dpdk: boolean;
  readonly ports: readonly PlannedPort[];
}

/** The command line of an engine. */
export function engineArguments(options: Options, linger: number, { dpdk, ports }: Extent): string[] {
  return [
    ...['--name', options.engine, '--linger', String(linger), '--memory', String(options.memory)],
    ...['--log-level', options.log],
    ...(options.cores === undefined ? [] : ['--cores', options.cores]),
    ...(options.workers === 1 ? [] : ['--workers', String(options.workers)]),
    ...(options.pollUs === 50 ? [] : ['--poll-us', String(options.pollUs)]),
    ...(options.stack === 'native' ? [] : ['--stack', options.stack]),
    ...options.fstackSysctl.flatMap((setting) => ['--fstack-sysctl', setting]),
    ...(options.ecn === 'passive' ? [] : ['--ecn', options.ecn]),
    ...captureArguments(options),
    ...(dpdk ? [...enginePorts(ports), '--', ...ealArguments(options, ports)] : ['--no-dpdk']),
  ];
}

/** The engine's directory is another one. */
function captureArguments({ capture, captureSnaplen, captureMaxSize }: Options): string[] {
  if (capture === undefined) return [];
  const limit = captureMaxSize === 0 ? [] : ['--capture-max-size', String(captureMaxSize)];
  return ['--capture', resolve(capture), '--capture-snaplen', String(captureSnaplen), ...limit];
}

/**
 * Starts an engine.
 * @param linger seconds; 0 stays until it is stopped
 * @param timeoutMs how long it may take to get ready
 * @throws LauncherError ZS1202 it failed, or with the engine's own code; ZS1301 it is not built
 */
export async function startEngine(
  options: Options,
  linger: number,
  extent: Extent,
  timeoutMs = 10_000,
): Promise<StartResult> {
  const program = enginePart(options.stack);
  const args = engineArguments(options, linger, extent);
  const log = createLog();
  try {
    const child = spawn(program, args, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log, 'pipe'],
      env: { ...engineEnvironment(), ...startedWith(options) },
    });
    const [line, status] = await firstReport(child, timeoutMs);
    if (line === 'ready') {
      child.unref();
      return { outcome: 'ready', pid: child.pid ?? 0 };
    }
    if (status === EXIT_TAKEN) return { outcome: 'taken' };
    const error = failure(line, status, readLog(log));
    if (status === EXIT_DPDK) return { outcome: 'dpdk', error };
    throw error;
  } finally {
    closeSync(log);
  }
}

/** The engine gets what it needs and no LD_PRELOAD. */
function engineEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [key, value] of Object.entries(process.env)) {
    if (/^(PATH|HOME|USER|TMPDIR|LANG|LC_.*|XDG_.*|RTE_.*|.*SAN_OPTIONS)$/.test(key)) env[key] = value;
  }
  return env;
}

/** Waits for the report on descriptor 3, and for the exit when it is not `ready`. */
function firstReport(child: ChildProcess, timeoutMs: number): Promise<[line: string, status: number | string | null]> {
  const pipe = child.stdio[3] as Readable;
  return new Promise((done, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new LauncherError(
          'ZS1202',
          `the engine was not ready after ${timeoutMs / 1000} s`,
          'try --log debug, --no-dpdk',
        ),
      );
    }, timeoutMs);
    const finish = (status: number | string | null) => {
      clearTimeout(timer);
      pipe.destroy();
      done([text.split('\n')[0] ?? '', status]);
    };
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      text += chunk;
      if (text.startsWith('ready\n')) finish(null);
    });
    pipe.on('error', () => undefined);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(
        new LauncherError('ZS1202', `cannot start the engine: ${error.message}`, 'run `npm run build` in the project'),
      );
    });
    // `close`, not `exit`: by then the report has been read.
    child.once('close', (status, signal) => finish(status ?? signal));
  });
}

function failure(line: string, status: number | string | null, log: string): LauncherError {
  const report = /^error (ZS\d{4}): (.*?)(?: - hint: (.*))?$/.exec(line);
  if (report) {
    const [, code = '', what = '', hint = ''] = report;
    return new LauncherError('ZS1202', what, hint, code);
  }
  const last = log.trim().split('\n').slice(-3).join(' | ');
  const how = typeof status === 'string' ? `was killed by ${status}` : `exited with status ${status ?? '?'}`;
  return new LauncherError(
    'ZS1202',
    `the engine ${how}${last === '' ? '' : `: ${last}`}`,
    'try --no-dpdk, or --fallback kernel to run on kernel sockets',
  );
}
