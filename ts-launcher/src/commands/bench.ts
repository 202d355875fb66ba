/** `zstack-run bench`: kernel and Z-stack side by side on this machine. */
import { InvalidArgumentError, type Command } from 'commander';
import { addOptions } from '../cli.js';
import { CASES } from '../bench/cases.js';
import { runBench, type BenchResult } from '../bench/run.js';
import type { Summary } from '../bench/statistics.js';
import { OPTION_NAMES } from '../options/table.js';
import { note, print } from '../output.js';
import { plainTable } from './format.js';
import type { Register } from './index.js';

const NAMES = CASES.map(({ name }) => name);

interface Flags {
  rounds: number;
  seconds: number;
  only?: string[];
  json?: boolean;
}

export const register: Register = (program, context) => {
  addOptions(
    program,
    OPTION_NAMES.filter((name) => name !== 'engine' && name !== 'fallback' && name !== 'force'),
  )
    .option('--rounds <n>', 'measurements per case and side', within(1, 1000), 3)
    .option('--seconds <s>', 'length of a measurement', within(1, 3600), 3)
    .option('--only <case>', `one of ${NAMES.join(', ')}; may be repeated`, chosen)
    .option('--json', 'as JSON')
    .action(async (flags: Flags, command: Command) => {
      const resolved = await context(command).resolve();
      const { only } = flags;
      const result = await runBench(resolved, {
        cases: CASES.filter(({ name }) => only === undefined || only.includes(name)),
        rounds: flags.rounds,
        seconds: flags.seconds,
        progress: resolved.options.quiet ? () => undefined : note,
      });
      print(flags.json === true ? JSON.stringify(result, null, 2) : benchText(result));
      context(command).exit(result.cases.every(({ accelerated }) => accelerated) ? 0 : 1);
    });
};

function within(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };
}

function chosen(name: string, earlier: string[] | undefined): string[] {
  if (NAMES.includes(name)) return [...(earlier ?? []), name];
  throw new InvalidArgumentError(`expected one of ${NAMES.join(', ')}`);
}

/** The results for people. */
export function benchText(result: BenchResult): string {
  const rows = result.cases.map(({ name, unit, kernel, zstack, ratio, accelerated }) => [
    name,
    unit,
    figure(kernel.median),
    spread(kernel),
    figure(zstack.median),
    spread(zstack),
    `x${ratio.toFixed(2)}`,
    accelerated ? 'yes' : 'NO',
  ]);
  const table = plainTable(
    ['case', 'unit', 'kernel', '(min..max)', 'Z-stack', '(min..max)', 'better', 'accelerated'],
    rows,
    [2, 4, 6],
  );
  const { server, client } = result.cpus;
  const foot = [
    `medians of ${result.rounds} rounds of ${result.seconds} s, alternating; server on CPU ${server}, client on CPU ${client}`,
  ];
  if (result.raw_round_trip_ns !== null)
    foot.push(`a cache line there and back between the two CPUs: ${result.raw_round_trip_ns} ns`);
  if (result.cases.some(({ accelerated }) => !accelerated)) {
    foot.push('NO: the engine saw no accelerated pair, both columns are the kernel; see `zstack-run why`');
  }
  return `${table}\n\n${foot.join('\n')}`;
}

function figure(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function spread({ min, max }: Summary): string {
  return `(${figure(min)}..${figure(max)})`;
}
