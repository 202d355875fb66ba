/** `zstack-run engine start|stop|restart|status|logs`. */
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { findEngine, findOrStartEngine, type Engine } from '../engine/connect.js';
import { openLogOf } from '../engine/log.js';
import { checked, statusSchema, type EngineStatus } from '../engine/protocol.js';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { OPTION_NAMES, spec } from '../options/table.js';
import { note, print, sayUnless, writeAll } from '../output.js';
import { nested, type Register } from './index.js';
import { statusText } from './status.js';

const FOR_START = OPTION_NAMES.filter(
  (name) =>
    spec(name).engine === true ||
    ['engine', 'log', 'quiet', 'config', 'profile'].includes(name) ||
    name.startsWith('capture'),
);
const FOR_OTHERS = ['engine', 'quiet', 'config', 'profile'] as const;

interface Flags {
  json?: boolean;
  force?: boolean;
  follow?: boolean;
}

export const register: Register = (program, context) => {
  const force = '--force';
  nested(program, 'start', 'start the engine; it stays until `engine stop`, or --linger', FOR_START).action(
    async (_flags: Flags, command: Command) => start(await context(command).resolve()),
  );
  nested(program, 'stop', 'end the engine; refused while programs use it', FOR_OTHERS)
    .option(force, 'even if programs use it')
    .action(async (flags: Flags, command: Command) => stop(await context(command).resolve(), flags.force === true));
  nested(program, 'restart', 'end the engine and start it again', FOR_START)
    .option(force, 'even if programs use it')
    .action(async (flags: Flags, command: Command) => {
      const resolved = await context(command).resolve();
      await stop(resolved, flags.force === true, true);
      await start(resolved);
    });
  nested(program, 'status', 'what the engine does', FOR_OTHERS)
    .option('--json', 'as JSON')
    .action(async (flags: Flags, command: Command) => {
      const status = await engineStatus(await context(command).resolve());
      print(flags.json === true ? JSON.stringify(status, null, 2) : statusText(status));
    });
  nested(program, 'logs', 'what the engine reported', FOR_OTHERS)
    .option('-f, --follow', 'go on until the engine ends')
    .action(async (flags: Flags, command: Command) => logs(await context(command).resolve(), flags.follow === true));
};

/**
 * The running engine.
 * @throws LauncherError ZS1201 (exit status 3) when there is none
 */
export async function runningEngine(name: string): Promise<Engine> {
  const engine = await findEngine(name);
  if (engine === undefined) throw new LauncherError('ZS1201', `engine ${name} does not run`, 'zstack-run engine start');
  return engine;
}

/** The status of the running engine, checked. */
export async function engineStatus({ options }: Resolved): Promise<EngineStatus> {
  const { client } = await runningEngine(options.engine);
  try {
    return checked(statusSchema, await client.request('status'), 'status');
  } finally {
    client.close();
  }
}

async function start(resolved: Resolved): Promise<void> {
  const { options, origins } = resolved;
  // Asked for by name, it stays; only a limit that was asked for too ends it.
  const linger = origins.linger.kind === 'default' ? 0 : options.linger;
  const engine = await findOrStartEngine(resolved, linger, sayUnless(options.quiet));
  engine.client.close();
  if (!engine.started && options.capture !== undefined) {
    throw new LauncherError(
      'ZS1208',
      `engine ${options.engine} runs already: nothing is captured`,
      'engine restart --capture FILE, or --capture FILE with a command',
    );
  }
  if (options.quiet) return;
  note(`engine ${options.engine} ${engine.started ? 'started' : 'runs already'} (pid ${engine.pid})`);
  if (engine.ports.length === 0) return;
  const { portText } = await import('../ports/plan.js');
  for (const port of engine.ports) note(portText(port));
}

async function stop({ options }: Resolved, force: boolean, mayBeAbsent = false): Promise<void> {
  const engine = mayBeAbsent ? await findEngine(options.engine) : await runningEngine(options.engine);
  if (engine === undefined) return;
  try {
    await engine.client.request('stop', force ? { force: true } : {});
  } catch (error) {
    // An engine that ends at once may not get to its answer.
    if (!(error instanceof LauncherError) || error.code !== 'ZS1203') throw error;
  } finally {
    engine.client.close();
  }
  await untilGone(engine.pid, options.engine);
  if (!options.quiet) note(`engine ${options.engine} stopped (pid ${engine.pid})`);
}

async function untilGone(pid: number, name: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (!isAlive(pid)) return;
    await sleep(10);
  }
  throw new LauncherError('ZS1203', `engine ${name} (pid ${pid}) does not end`, `kill -9 ${pid}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function logs({ options }: Resolved, follow: boolean): Promise<void> {
  const engine = await runningEngine(options.engine);
  engine.client.close();
  const fd = openLogOf(engine.pid);
  if (fd === undefined) {
    throw new LauncherError(
      'ZS1207',
      `the log of engine ${options.engine} cannot be read here`,
      'it was not started by zstack-run, or writes elsewhere',
    );
  }
  let position = 0;
  const copy = () => {
    const buffer = Buffer.alloc(64 << 10);
    while (position < fstatSync(fd).size) {
      const length = readSync(fd, buffer, 0, buffer.length, position);
      if (length === 0) break;
      writeAll(1, buffer.toString('utf8', 0, length));
      position += length;
    }
  };
  copy();
  while (follow && isAlive(engine.pid)) {
    await sleep(200);
    copy();
  }
  closeSync(fd);
}
