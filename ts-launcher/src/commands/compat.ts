// SPDX-License-Identifier: BSD-3-Clause
/** `zstack-run compat`: programs x cases x backends, with the kernel as the reference. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join, resolve } from 'node:path';
import { isatty } from 'node:tty';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { wireProblem } from '../bench/bed.js';
import { addOptions } from '../cli.js';
import { BACKENDS, caseId, OVER, type Backend, type PortKind } from '../compat/case.js';
import { differences, readExpectation, writeExpectation } from '../compat/expectation.js';
import { loadCases, loadField, OWN_CASES } from '../compat/load.js';
import { missingPrograms, plan, repeatCommand, type LeftOut, type Plan } from '../compat/plan.js';
import { linesShown, onTerminal } from '../compat/progress.js';
import { junit } from '../compat/report/junit.js';
import { leftOutLine, resultLine, summaryLine } from '../compat/report/lines.js';
import { page } from '../compat/report/page.js';
import { Matrix, type Result } from '../compat/run.js';
import { LauncherError, textOf } from '../errors.js';
import { note, print, warn } from '../output.js';
import { part } from '../paths.js';
import type { Register } from './index.js';

interface Flags {
  only?: string[];
  backend?: Backend[];
  shard?: { index: number; count: number };
  cases?: string;
  expect?: string;
  update?: boolean;
  output: string;
  over: PortKind;
  quick?: boolean;
  complete?: boolean;
  list?: boolean;
  json?: boolean;
}

export const register: Register = (program, context) => {
  addOptions(program, ['quiet'])
    .option('--only <case>', 'PROGRAM, or PROGRAM/CASE, `*` for anything; may be repeated', collect)
    .addOption(
      new Option('--backend <backend>', `one of ${BACKENDS.join(', ')}; may be repeated (default: all)`).argParser(
        backend,
      ),
    )
    .option('--shard <i/n>', 'every n-th case, from the i-th on', shard)
    .option('--cases <path>', 'a directory of cases of your own, or a file, instead of the ones of Z-stack')
    .option('--expect <file>', 'the expectation (default: expected.json beside the cases)')
    .option('--update', 'write the expectation from what is found')
    .option('--output <directory>', 'where the reports and logs go', 'zstack-compat')
    .addOption(new Option('--over <port>', 'the port of the wire').choices(OVER).default('tap'))
    .option('--quick', 'the cases that take a moment')
    .option('--complete', 'a cell that is left out is a failure')
    .option('--list', 'the cases, without running them')
    .option('--json', 'JSON lines on stdout')
    .action(async (flags: Flags, command: Command) => {
      const { options } = await context(command).resolve();
      context(command).exit(await compat(flags, options.quiet));
    });
};

function collect(text: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), text];
}

function backend(text: string, earlier: Backend[] | undefined): Backend[] {
  const found = BACKENDS.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`expected one of ${BACKENDS.join(', ')}`);
  return [...(earlier ?? []), found];
}

function shard(text: string): { index: number; count: number } {
  const [, i, n] = /^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? [];
  const [index, count] = [Number(i), Number(n)];
  if (index >= 1 && index <= count) return { index, count };
  throw new InvalidArgumentError('expected I/N, such as 1/3');
}

async function compat(flags: Flags, quiet: boolean): Promise<number> {
  const directory = resolve(flags.cases ?? OWN_CASES);
  const cases = await loadCases(directory);
  const noWire = wireProblem();
  const { only = [], backend: backends = BACKENDS, quick = false } = flags;
  const planned = plan(
    cases,
    { only, backends, quick, ...(flags.shard === undefined ? {} : { shard: flags.shard }) },
    { noWire, missing: missingPrograms },
  );
  if (flags.list === true) {
    for (const { each, backend: on } of [...planned.cells, ...planned.leftOut]) print(`${caseId(each)} ${on}`);
    return 0;
  }
  part('preload');
  part('engine');
  if (!quiet) for (const line of leftOutTexts(planned.leftOut)) warn(line);
  const expectPath = flags.expect ?? join(directory.replace(/\.m?[tj]s$/, ''), 'expected.json');
  const reports = new Reports(flags);
  const expected = readExpectation(expectPath);
  const results = await runAll(planned, flags, quiet, reports, {
    openField: await loadField(),
    isolated: noWire === undefined,
    ...{ over: flags.over, output: flags.output, expected },
  });
  if (flags.update === true) writeExpectation(expectPath, results, planned, expected);
  const differ = differences(results, planned, flags.update === true ? readExpectation(expectPath) : expected);
  if (flags.complete === true) differ.push(...leftOutTexts(planned.leftOut));
  reports.finish(results, planned, differ);
  return verdict(results, planned, differ, flags, quiet);
}

/** Cells that are left out, those with one reason together. */
function leftOutTexts(leftOut: readonly LeftOut[]): string[] {
  const whys = [...new Set(leftOut.map(({ why }) => why))];
  return whys.map((why) => {
    const own = leftOut.filter((cell) => cell.why === why);
    const programs = [...new Set(own.map(({ each }) => each.program))];
    return `left out, ${why}: ${own.length} cells (${programs.join(', ')})`;
  });
}

async function runAll(
  planned: Plan,
  flags: Flags,
  quiet: boolean,
  reports: Reports,
  options: Omit<ConstructorParameters<typeof Matrix>[0], 'began' | 'ended'>,
): Promise<Result[]> {
  const terminal = !quiet && flags.json !== true && isatty(1) && isatty(2);
  let shown = linesShown(quiet);
  const matrix = new Matrix({
    ...options,
    began: (cell) => shown.began(cell),
    ended: (result) => {
      reports.add(result);
      shown.ended(result);
    },
  });
  const stop = (signal: NodeJS.Signals) => {
    void matrix.close().finally(() => process.kill(process.pid, signal));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop);
  try {
    if (!terminal) return await matrix.run(planned);
    const results: Result[] = [];
    await onTerminal(planned, async (program, list) => {
      shown = list;
      const own = await matrix.run(planned, ({ each }) => each.program === program);
      results.push(...own);
      return own.filter(({ status }) => status === 'fail').length;
    });
    return results;
  } finally {
    await matrix.close();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
  }
}

function verdict(
  results: readonly Result[],
  planned: Plan,
  differ: readonly string[],
  flags: Flags,
  quiet: boolean,
): number {
  for (const text of differ) warn(`not as expected: ${text.slice(0, 2000)}`);
  const passed = results.filter(({ status }) => status === 'pass').length;
  const sum = `${passed} cells passed, ${results.length - passed} failed, ${planned.leftOut.length} left out`;
  if (!quiet) note(`${sum}; ${join(flags.output, 'index.html')}`);
  return differ.length === 0 ? 0 : 1;
}

/** The files in the output directory, and the lines on stdout. */
class Reports {
  private readonly lines: string;

  /** @throws LauncherError ZS1703 */
  constructor(private readonly flags: Flags) {
    this.lines = join(flags.output, 'results.jsonl');
    try {
      mkdirSync(flags.output, { recursive: true });
      writeFileSync(this.lines, '');
    } catch (error) {
      throw new LauncherError('ZS1703', `the report cannot be written: ${textOf(error)}`, 'give another --output');
    }
  }

  add(result: Result): void {
    this.line(resultLine(result, this.repeat(result)));
  }

  finish(results: readonly Result[], { leftOut }: Plan, differ: readonly string[]): void {
    for (const cell of leftOut) this.line(leftOutLine(cell));
    this.line(summaryLine(results, leftOut.length, differ));
    writeFileSync(join(this.flags.output, 'junit.xml'), junit(results, leftOut));
    const machine = `Linux ${release()}, Node ${process.versions.node}, wire: ${this.flags.over}, ${new Date().toISOString()}`;
    writeFileSync(
      join(this.flags.output, 'index.html'),
      page({
        ...{ title: 'Z-stack compatibility', machine, results, leftOut },
        ...{ differences: differ, repeat: (result: Result) => this.repeat(result) },
      }),
    );
  }

  private repeat(result: Result): string {
    const { cases, over, expect } = this.flags;
    const extra = [
      ...(cases === undefined ? [] : ['--cases', cases]),
      ...(expect === undefined ? [] : ['--expect', expect]),
      ...(over === 'tap' || result.backend !== 'wire' ? [] : ['--over', over]),
    ];
    return repeatCommand(result, extra);
  }

  private line(text: string): void {
    appendFileSync(this.lines, `${text}\n`);
    if (this.flags.json === true) print(text);
  }
}
