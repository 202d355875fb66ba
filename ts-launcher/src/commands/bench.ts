/** `zstack-run bench`: kernel and Z-stack side by side on this machine. */
import { writeFileSync } from 'node:fs';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { addOptions } from '../cli.js';
import { PORT_KINDS, wireProblem, type WireKind } from '../bench/bed.js';
import { CASES } from '../bench/cases.js';
import { svg } from '../bench/chart.js';
import { overloadChart, runOverload } from '../bench/overload.js';
import { runPath, usualPaths } from '../bench/path.js';
import { runBench, type BenchResult } from '../bench/run.js';
import { ADAPTER_CASE, runStacks } from '../bench/stacks.js';
import { runScale } from '../bench/scale.js';
import { DEFAULT_WIRE, WIRE_CASES, type WireCase } from '../bench/wire-cases.js';
import { runWire, type WireResult } from '../bench/wire.js';
import { LauncherError, textOf } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { OPTION_NAMES } from '../options/table.js';
import { note, print } from '../output.js';
import { benchText, overloadText, pathText, scaleText, stackText, wireText } from './bench-text.js';
import type { Register } from './index.js';

/** What the server computes per connection in the TCP half of --overload: a kernel client offers only so many. */
const TCP_WORK_US = 100;

const NAMES = [...CASES, ...WIRE_CASES].map(({ name }) => name);

interface Flags {
  rounds: number;
  seconds: number;
  only?: string[];
  wire?: boolean;
  overload?: boolean;
  path?: boolean;
  fstackAdapter?: string;
  scale?: boolean;
  rate: number;
  rtt?: number[];
  loss?: number[];
  congestion: string;
  over: WireKind;
  work: number;
  svg?: string;
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
    .option('--wire', 'all cases over a wire, between two network namespaces (root); without, a few of them')
    .option('--overload', 'goodput under more load than can be served, between two network namespaces (root)')
    .option('--scale', 'cost of a segment in the native stack by the number of connections, on a simulated wire')
    .option('--path', 'bulk goodput over emulated paths, against the kernel, between two network namespaces (root)')
    .option('--rate <mbit>', 'for --path: the rate of the bottleneck, Mbit/s; 0: no limit', within(0, 10_000), 1000)
    .option(
      '--rtt <ms>',
      'for --path: only this round trip, ms; may be repeated (default: 0, 10, 50)',
      several(0, 2000),
    )
    .option(
      '--loss <percent>',
      'for --path: only this share of lost frames; may be repeated (default: 0, 0.1, 1, 5)',
      several(0, 50),
    )
    .option(
      '--fstack-adapter <dir>',
      `with --stack fstack: compare ${ADAPTER_CASE} with F-Stack's own LD_PRELOAD adapter, whose programs are in this directory`,
    )
    .option('--congestion <name>', 'for --path: congestion control of both', 'cubic')
    .addOption(
      new Option('--over <port>', 'for --overload: the kind of port')
        .choices(PORT_KINDS.slice(0, 3))
        .default('af_packet'),
    )
    .option('--work <us>', 'for --overload: what the server computes per UDP request, us', within(0, 10_000), 10)
    .option('--svg <file>', 'for --overload: the picture')
    .option('--json', 'as JSON')
    .action(async (flags: Flags, command: Command) => {
      const resolved = await context(command).resolve();
      const run =
        flags.overload === true
          ? overload
          : flags.path === true
            ? path
            : flags.scale === true
              ? scale
              : resolved.options.stack === 'native'
                ? compare
                : stacks;
      const status = await run(resolved, flags);
      context(command).exit(status);
    });
};

function within(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };
}

function several(min: number, max: number): (text: string, earlier: number[] | undefined) => number[] {
  return (text, earlier) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= min && value <= max) return [...(earlier ?? []), value];
    throw new InvalidArgumentError(`expected a number from ${min} to ${max}`);
  };
}

function chosen(name: string, earlier: string[] | undefined): string[] {
  if (NAMES.includes(name)) return [...(earlier ?? []), name];
  throw new InvalidArgumentError(`expected one of ${NAMES.join(', ')}`);
}

/** The cases over a wire that were asked for, or that fit here. */
function wireCases({ only, wire }: Flags, progress: (text: string) => void): readonly WireCase[] {
  if (only !== undefined) return WIRE_CASES.filter(({ name }) => only.includes(name));
  if (wire === true) return WIRE_CASES;
  const problem = wireProblem();
  if (problem === undefined) return WIRE_CASES.filter(({ name }) => DEFAULT_WIRE.includes(name));
  progress(`nothing over a wire: ${problem}`);
  return [];
}

async function compare(resolved: Resolved, flags: Flags): Promise<number> {
  const { only, rounds, seconds } = flags;
  const progress = resolved.options.quiet ? () => undefined : note;
  const cases = CASES.filter(({ name }) => (only === undefined ? flags.wire !== true : only.includes(name)));
  const wire = wireCases(flags, progress);
  const local: BenchResult | undefined =
    cases.length === 0 ? undefined : await runBench(resolved, { cases, rounds, seconds, progress });
  const remote: WireResult[] =
    wire.length === 0 ? [] : await runWire(resolved, { cases: wire, rounds, seconds, progress });
  if (flags.json === true) {
    print(JSON.stringify({ ...(local ?? { rounds, seconds }), wire: remote }, null, 2));
  } else {
    const texts = [local && benchText(local), remote.length > 0 && wireText(remote, { rounds, seconds })];
    print(texts.filter((text) => typeof text === 'string').join('\n\n'));
  }
  return [...(local?.cases ?? []), ...remote].every(({ accelerated }) => accelerated) ? 0 : 1;
}

/** With `--stack fstack`: the cases over a wire with each stack. */
async function stacks(resolved: Resolved, flags: Flags): Promise<number> {
  const { rounds, seconds } = flags;
  const progress = resolved.options.quiet ? () => undefined : note;
  const plan = { cases: wireCases(flags, progress), rounds, seconds, progress, adapter: flags.fstackAdapter };
  const results = await runStacks(resolved, plan);
  print(
    flags.json === true ? JSON.stringify({ rounds, seconds, stacks: results }, null, 2) : stackText(results, flags),
  );
  return results.every(({ accelerated }) => accelerated) ? 0 : 1;
}

/** @returns 1 when Z-stack's undisturbed goodput falls below 95 % of its peak under twice the load of the peak */
async function overload(resolved: Resolved, flags: Flags): Promise<number> {
  // Before minutes are spent.
  if (flags.svg !== undefined) writePicture(flags.svg, '');
  const result = await runOverload(resolved, {
    ...{ rounds: flags.rounds, seconds: flags.seconds, port: flags.over },
    ...{ work: { udp: flags.work, tcp: TCP_WORK_US }, protocols: ['udp', 'tcp'] as const },
    progress: resolved.options.quiet ? () => undefined : note,
  });
  print(flags.json === true ? JSON.stringify(result, null, 2) : overloadText(result));
  if (flags.svg !== undefined) writePicture(flags.svg, svg(overloadChart(result)));
  const own = result.experiments.flatMap(({ curves }) => curves.filter(({ target }) => target === 'zstack'));
  return own.every(({ undisturbed: { at_twice } }) => at_twice !== null && at_twice >= 0.95) ? 0 : 1;
}

/** @returns 1 when something was not carried by an engine */
async function path(resolved: Resolved, flags: Flags): Promise<number> {
  const { rounds, seconds, rate, congestion, json } = flags;
  const progress = resolved.options.quiet ? () => undefined : note;
  const result = await runPath(resolved, {
    rounds,
    seconds,
    rate,
    congestion,
    paths: usualPaths(rate, flags),
    progress,
  });
  print(json === true ? JSON.stringify(result, null, 2) : pathText(result));
  return result.rows.every(({ accelerated }) => accelerated) ? 0 : 1;
}

/** Enough that a round takes some seconds. */
const SEGMENTS = 500_000;

async function scale(resolved: Resolved, { rounds, json }: Flags): Promise<number> {
  const rows = await runScale(rounds, SEGMENTS, resolved.options.quiet ? () => undefined : note);
  print(json === true ? JSON.stringify({ rounds, segments: SEGMENTS, rows }, null, 2) : scaleText(rows, rounds));
  return 0;
}

function writePicture(file: string, picture: string): void {
  try {
    writeFileSync(file, picture);
  } catch (error) {
    throw new LauncherError('ZS1501', `the picture cannot be written: ${textOf(error)}`, 'name another file');
  }
}
