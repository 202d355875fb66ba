/** The subcommands: each in a module of its own, loaded when it is used. */
import { Command } from 'commander';
import { addOptions, givenFlags, quietly, usageError, type SubcommandName, SUBCOMMANDS } from '../cli.js';
import { resolveOptions, type Resolved } from '../options/resolve.js';
import type { OptionName, Value } from '../options/table.js';

/** What every subcommand gets. */
export interface Context {
  /** The options of the table, resolved; flags before and after the subcommand's name. */
  resolve(): Promise<Resolved>;
  /** To be called with the exit status; 0 when it is not called. */
  exit(status: number): void;
}

/** Adds a subcommand's own arguments and action to `command`. */
export type Register = (command: Command, context: (command: Command) => Context) => void;

/**
 * Runs a subcommand.
 * @param args the arguments after its name
 * @param before flags that stood before its name
 * @returns the exit status: 0 good, 1 a check failed
 * @throws LauncherError usage and all other failures
 */
export async function runSubcommand(
  name: SubcommandName,
  args: readonly string[],
  before: Partial<Record<OptionName, Value>>,
): Promise<number> {
  let status = 0;
  const context = (command: Command): Context => ({
    resolve: () => resolveOptions({ ...before, ...givenFlags(command) }, process.env, process.cwd()),
    exit: (code) => {
      status = code;
    },
  });
  const program = quietly(new Command(`zstack-run ${name}`).description(SUBCOMMANDS[name]));
  (await loaders[name]())(program, context);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    throw usageError(error, deepest(program, args));
  }
  return status;
}

const loaders: Record<SubcommandName, () => Promise<Register>> = {
  engine: async () => (await import('./engine.js')).register,
  doctor: async () => (await import('./doctor.js')).register,
  why: async () => (await import('./why.js')).register,
  config: async () => (await import('./config.js')).register,
  bench: async () => (await import('./bench.js')).register,
  compat: async () => (await import('./compat.js')).register,
};

/** The command whose options an error is about. */
function deepest(program: Command, args: readonly string[]): Command {
  return program.commands.find((command) => args.includes(command.name())) ?? program;
}

/** A nested command (`engine status`) that behaves like its parent. */
export function nested(parent: Command, name: string, text: string, options: readonly OptionName[]): Command {
  return addOptions(quietly(parent.command(name).description(text)), options);
}
