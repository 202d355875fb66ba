/** The command line: commander programs made of the options table. */
import { Command, CommanderError, Option } from 'commander';
import { LauncherError } from './errors.js';
import { formOf, nearest, OPTION_NAMES, parseText, spec, type OptionName, type Value } from './options/table.js';
import { writeAll } from './output.js';

/** What was asked for on the command line. */
export interface ParsedLine {
  readonly flags: Partial<Record<OptionName, Value>>;
  readonly command: readonly string[];
  /** True when `--` stood before the command, which then is no subcommand. */
  readonly explicit: boolean;
}

/** The subcommands; a COMMAND of such a name needs `--` before it. */
export const SUBCOMMANDS = {
  engine: 'start, stop, restart or look at the engine',
  doctor: 'check this machine, and a command, for what Z-stack needs',
  why: 'tell how the sockets of a process are served, and why',
  config: 'show the configuration and where each value comes from',
  bench: 'compare kernel and Z-stack on this machine',
  compat: 'run real programs on the kernel and under Z-stack, and compare',
} as const;

export type SubcommandName = keyof typeof SUBCOMMANDS;

/** Declares the options of the table on a commander program; `only` restricts them. */
export function addOptions(program: Command, only: readonly OptionName[] = OPTION_NAMES): Command {
  for (const name of only) {
    const { flag, type, text } = spec(name);
    const shown = spec(name).default;
    const help =
      shown === undefined || type.kind === 'flag' || (Array.isArray(shown) && shown.length === 0)
        ? text
        : `${text} (default: ${String(shown)})`;
    if (flag.startsWith('--no-')) {
      program.addOption(new Option(flag.replace('--no-', '--'), '').hideHelp());
    }
    const option = new Option(flag, help);
    if (flag.includes('<')) {
      option.argParser((value: string, earlier: unknown) => {
        const parsed = parseText(type, value);
        if (type.kind === 'list') return [...((earlier as string[] | undefined) ?? []), value];
        if (parsed !== undefined) return parsed;
        throw new LauncherError('ZS1003', `${flag.split(' ')[0] ?? flag} ${value}`, `expected ${formOf(type)}`);
      });
    }
    program.addOption(option);
  }
  return program;
}

/** The values that were given on the command line, not the defaults. */
export function givenFlags(program: Command): Partial<Record<OptionName, Value>> {
  const flags: Partial<Record<OptionName, Value>> = {};
  for (const name of OPTION_NAMES) {
    if (program.getOptionValueSource(name) === 'cli') flags[name] = program.getOptionValue(name) as Value;
  }
  return flags;
}

/** Commander settings that all programs share: errors are thrown, nothing is printed by commander but help. */
export function quietly(program: Command): Command {
  return program
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut: (text) => writeAll(1, text),
      writeErr: () => undefined,
      outputError: () => undefined,
    });
}

/** Turns commander's errors into ours; help and version pass. */
export function usageError(error: unknown, program: Command): unknown {
  if (!(error instanceof CommanderError) || error.exitCode === 0) return error;
  const what = error.message.replace(/^error: /, '').replace(/\s*\n.*$/s, '');
  const unknown = /unknown option '(-[^']*)'/.exec(what)?.[1];
  if (unknown !== undefined) {
    const known = program.options
      .filter((option) => !option.hidden)
      .flatMap((option) => (option.long ? [option.long] : []));
    const near = nearest(unknown, [...known, '--help', '--version']);
    const hint =
      near === undefined
        ? 'the options are listed by --help; those of the command come after it'
        : `did you mean ${near}?`;
    return new LauncherError('ZS1001', `unknown option ${unknown}`, hint);
  }
  return new LauncherError('ZS1001', what, 'see --help');
}

/** The program that runs a COMMAND: options, then everything else untouched. */
export function runProgram(version: string): Command {
  const list = Object.entries(SUBCOMMANDS).map(([name, text]) => `  ${name.padEnd(8)} ${text}`);
  const program = new Command('zstack-run')
    .description('Runs a program with its sockets served by Z-stack.')
    .usage('[options] [--] COMMAND [ARGS...]\n       zstack-run SUBCOMMAND [options]')
    .version(version)
    .argument('[command...]')
    .passThroughOptions()
    .addHelpText(
      'after',
      `\nSubcommands (a COMMAND of the same name: zstack-run -- NAME):\n${list.join('\n')}\n\n` +
        'Exit status: that of the command; 125 zstack-run failed, 126 the command cannot be executed, 127 not found.',
    );
  return addOptions(quietly(program));
}

/**
 * Reads the command line up to the command.
 * @throws LauncherError ZS1001, ZS1003; CommanderError with exit status 0 after help or version were printed
 */
export function parseLine(argv: readonly string[], version: string): ParsedLine {
  const program = runProgram(version);
  try {
    program.parse(argv, { from: 'user' });
  } catch (error) {
    throw usageError(error, program);
  }
  const command = program.args;
  return {
    flags: givenFlags(program),
    command,
    explicit: argv[argv.length - command.length - 1] === '--',
  };
}
