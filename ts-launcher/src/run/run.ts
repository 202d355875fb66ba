/** `zstack-run [options] COMMAND`: the whole way from a command to its exit status. */
import { randomBytes } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import type { Engine } from '../engine/connect.js';
import { LauncherError } from '../errors.js';
import { portWith } from '../engine/port-names.js';
import { differing } from '../engine/started-with.js';
import { flagName, type Resolved } from '../options/resolve.js';
import { OPTION_NAMES, spec } from '../options/table.js';
import { note, printError, sayUnless, warn } from '../output.js';
import { part } from '../paths.js';
import { inspect, refusal } from '../target/inspect.js';
import { findCommand } from '../target/lookup.js';
import { beginCapture } from './capture.js';
import { startCommand, startFailure } from './child.js';
import { wrappedEnvironment } from './environment.js';
import { eventPrinter } from './events.js';
import type { Launched } from './launched.js';
import { endLike, isStopped, relaySignals } from './signals.js';

/** How a command ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * Runs the command and ends this process as the command ended. Returns only by throwing.
 * @throws LauncherError before the command was started
 */
export async function run(command: readonly string[], resolved: Resolved, launched: Launched): Promise<never> {
  const [name = ''] = command;
  const { options } = resolved;
  for (const text of resolved.warnings) if (!options.quiet) warn(text);

  checkTarget(findCommand(name, process.env['PATH']), options.force, options.quiet);
  const engine = await engineFor(resolved);
  const env = await leased(engine, resolved);
  const capture = await beginCapture(engine, options).catch((error: unknown) => {
    engine?.client.close(); // nothing keeps this process
    throw error;
  });
  // Before the command exists: a signal that comes while it starts is handled in a later turn, and reaches it.
  let child: ChildProcess | undefined = undefined;
  const target = { kill: (signal: NodeJS.Signals) => void child?.kill(signal), stopped: () => isStopped(child?.pid) };
  relaySignals(target, launched.ignored);
  child = startCommand(command, env, launched);
  const { status, signal } = await untilEnd(child, name, engine, options.quiet);
  await capture?.end();
  engine?.client.close();
  endLike(status, signal);
}

/** Refuses what a preload cannot reach; says what it reaches only in part. */
function checkTarget(file: string, force: boolean, quiet: boolean): void {
  const findings = inspect(file, process.env['PATH']);
  const error = refusal(findings);
  if (error !== undefined && (!force || error.code === 'ZS1105')) throw error;
  if (quiet) return;
  if (error !== undefined) warn(`${error.what}: it runs on kernel sockets`);
  for (const { status, evidence, remedy } of findings) if (status === 'warn') warn(`${evidence} - hint: ${remedy}`);
}

/** The engine, or `undefined` where the user allows to go on without. */
async function engineFor(resolved: Resolved): Promise<Engine | undefined> {
  const { options } = resolved;
  const { findOrStartEngine } = await import('../engine/connect.js');
  try {
    part('preload');
    // The command's capture begins and ends with the command, whoever started the engine.
    const withoutCapture = { ...resolved, options: { ...options, capture: undefined } };
    const engine = await findOrStartEngine(withoutCapture, options.linger, sayUnless(options.quiet));
    if (!engine.started && !options.quiet) noteLate(engine.pid, resolved);
    return engine;
  } catch (error) {
    if (!(error instanceof LauncherError) || options.fallback !== 'kernel') throw error;
    if (!options.quiet) warn(`no engine (${error.what}): the command runs on kernel sockets`);
    return undefined;
  }
}

/** Says which flags ask for something that the engine, which runs already, was not started with. */
function noteLate(pid: number, { options, origins }: Resolved): void {
  const asked = OPTION_NAMES.filter((name) => spec(name).engine && name !== 'linger' && origins[name].kind === 'flag');
  const late = differing(pid, options, asked).map(flagName);
  if (late.length > 0) note(`engine ${options.engine} runs already: ${late.join(', ')} without effect`);
}

/** Takes a lease on the engine, and returns the command's environment. */
async function leased(engine: Engine | undefined, resolved: Resolved): Promise<NodeJS.ProcessEnv> {
  if (engine === undefined) return process.env;
  const token = randomBytes(12).toString('hex');
  let status: Promise<unknown> | undefined;
  const portOf = async (address: string) => portWith(await (status ??= engine.client.request('status')), address);
  engine.client.onEvent(eventPrinter(resolved.options.quiet, { note, warn }, portOf));
  await engine.client.request('lease', { run: token, pid: process.pid, lives: false });
  return wrappedEnvironment(process.env, resolved.options, token, part('preload'));
}

/** Waits for the end of the command, and tells when the engine goes away. */
function untilEnd(child: ChildProcess, name: string, engine: Engine | undefined, quiet: boolean): Promise<Ending> {
  engine?.client.onLost(() => {
    if (!quiet) warn('the engine is gone: the program goes on, connections made from now on use the kernel');
  });
  return new Promise((resolve) => {
    child.once('error', (error) => {
      const failure = startFailure(name, error);
      printError(failure);
      resolve({ status: failure.exitStatus('run'), signal: null });
    });
    // A turn of the event loop later: events that the engine sent before the end are still printed.
    child.once('exit', (status, signal) => setImmediate(() => resolve({ status, signal })));
  });
}
