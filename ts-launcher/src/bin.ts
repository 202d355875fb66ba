#!/usr/bin/env node
/** The launcher's entry: reads the command line, runs the command or the subcommand, turns errors into exit statuses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseLine, SUBCOMMANDS, type SubcommandName } from './cli.js';
import { LauncherError, textOf } from './errors.js';
import { resolveOptions } from './options/resolve.js';
import { printError } from './output.js';
import { ROOT } from './paths.js';
import { restoreNodeOptions, takeLaunched } from './run/launched.js';

async function main(): Promise<void> {
  const { launched, rest } = takeLaunched(process.argv.slice(2));
  restoreNodeOptions(process.env);
  const version = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
  const { flags, command, explicit } = parseLine(rest, version);
  const [name] = command;
  if (name === undefined)
    throw new LauncherError('ZS1002', 'no command was given', 'zstack-run [options] COMMAND; see --help');
  if (!explicit && Object.hasOwn(SUBCOMMANDS, name)) {
    mode = 'command';
    const { runSubcommand } = await import('./commands/index.js');
    process.exitCode = await runSubcommand(name as SubcommandName, command.slice(1), flags);
    return;
  }
  const { run } = await import('./run/run.js');
  await run(command, await resolveOptions(flags, process.env, process.cwd()), launched);
}

let mode: 'run' | 'command' = 'run';

try {
  await main();
} catch (error) {
  // Commander throws to leave after --help and --version.
  const silent = error instanceof Error && 'exitCode' in error && error.exitCode === 0;
  if (!silent) {
    const shown =
      error instanceof LauncherError ? error : new LauncherError('ZS1999', textOf(error), 'please report it');
    printError(shown);
    if (process.env['ZSTACK_LOG'] === 'debug' && error instanceof Error) console.error(error.stack);
    process.exitCode = shown.exitStatus(mode);
  }
}
