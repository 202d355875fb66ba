// SPDX-License-Identifier: BSD-3-Clause
/** Runs the cells of a plan, one after the other: programs share the machine with what is measured of them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { textOf } from '../errors.js';
import type { Backend, Case, Field, FieldGround, OpenField, PortKind, Tests } from './case.js';
import { caseId } from './case.js';
import { worse, type Expectation } from './expectation.js';
import { cellId, type Cell, type Plan } from './plan.js';

const DEFAULT_TIMEOUT_MS = 60_000;

/** What became of a cell. */
export interface Result extends Cell {
  readonly status: 'pass' | 'fail';
  /** Why it failed; empty when it passed. */
  readonly reason: string;
  /** By what it shows that it was accelerated. */
  readonly evidence: string;
  readonly milliseconds: number;
  /** Relative to the output directory. */
  readonly log: string;
  readonly tests?: Tests;
  /** Tests of the suite that differ from the kernel's as the expectation says. */
  readonly excepted: readonly string[];
}

export interface RunOptions {
  readonly openField: OpenField;
  readonly over: PortKind;
  /** Everything in network namespaces of its own. */
  readonly isolated: boolean;
  readonly output: string;
  readonly expected: Expectation | undefined;
  /** Told of each cell as it begins and ends. */
  readonly began: (cell: Cell) => void;
  readonly ended: (result: Result) => void;
}

interface Attempt {
  readonly tests: Tests | undefined;
  readonly error: string | undefined;
  readonly evidence: string;
}

export class Matrix {
  /** Also those that are being opened: an interruption ends them, too. */
  private readonly fields = new Map<Backend, Promise<Field>>();
  /** Set once it closes: no cell begins any more. */
  private closing: Promise<void> | undefined;
  /** What suites gave on the kernel. */
  private readonly references = new Map<string, Tests>();
  private count = 0;

  constructor(private readonly options: RunOptions) {
    mkdirSync(join(options.output, 'logs'), { recursive: true });
  }

  /** Runs the cells that `wanted` takes of a plan. */
  async run(plan: Plan, wanted: (cell: Cell) => boolean = () => true): Promise<Result[]> {
    const results: Result[] = [];
    for (const cell of plan.cells.filter(wanted)) {
      if (this.isClosing()) break;
      this.options.began(cell);
      const result = await this.cell(cell);
      if (this.isClosing()) break; // what became of it says nothing
      this.options.ended(result);
      results.push(result);
    }
    return results;
  }

  /** Ends what runs, also in the middle of a cell; nothing is left when it is done. */
  close(): Promise<void> {
    return (this.closing ??= this.dropAll());
  }

  private isClosing(): boolean {
    return this.closing !== undefined;
  }

  private async dropAll(): Promise<void> {
    for (const backend of [...this.fields.keys()]) await this.drop(backend);
  }

  private field(backend: Backend): Promise<Field> {
    const { openField, over, isolated } = this.options;
    const field = this.fields.get(backend) ?? openField(backend, over, isolated);
    this.fields.set(backend, field);
    return field;
  }

  /** The next cell begins with a new engine: this one may have been left in any state. */
  private async drop(backend: Backend): Promise<string | undefined> {
    const field = this.fields.get(backend);
    this.fields.delete(backend);
    try {
      // One that could not be opened has told so to its cell.
      await (await field?.catch(() => undefined))?.close();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  private async cell(cell: Cell): Promise<Result> {
    const { each, backend } = cell;
    const began = performance.now();
    let ground: FieldGround | undefined;
    let attempt: Attempt = { tests: undefined, error: undefined, evidence: '' };
    try {
      const reference = backend === 'kernel' ? {} : (this.references.get(caseId(each)) ?? {});
      const name = `${++this.count}-${each.program}-${each.name}`;
      ground = await (await this.field(backend)).ground(each, name, reference);
      attempt = await this.attempt(each, ground);
    } catch (error) {
      attempt = { ...attempt, error: error instanceof Error ? error.message : String(error) };
    }
    let error = attempt.error;
    if (ground !== undefined) {
      const left = await ground.clear().catch((thrown: unknown) => textOf(thrown));
      if (typeof left === 'string') error ??= left;
    }
    // Before the field may go: its engine's log is part of it.
    const transcript = ground?.transcript() ?? '';
    if (error !== undefined) error += words(await this.drop(backend));
    if (backend === 'kernel' && attempt.tests !== undefined) this.references.set(caseId(each), attempt.tests);
    const { reason, excepted } = this.judge(cell, attempt.tests, error);
    const log = this.writeLog(cell, transcript, reason, attempt.evidence);
    const milliseconds = Math.round(performance.now() - began);
    const status = reason === '' ? 'pass' : 'fail';
    const tests = attempt.tests === undefined ? {} : { tests: attempt.tests };
    return { ...cell, status, reason, evidence: attempt.evidence, milliseconds, log, excepted, ...tests };
  }

  private async attempt(each: Case, ground: FieldGround): Promise<Attempt> {
    const limit = each.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${limit} ms`)), limit);
    });
    try {
      const work = each.run(ground);
      // When the limit comes first: its programs are ended, what it then says is of no interest.
      work.catch(() => undefined);
      const tests = (await Promise.race([work, late])) ?? undefined;
      return { tests, error: undefined, evidence: await ground.checkAccelerated() };
    } catch (error) {
      return { tests: undefined, error: error instanceof Error ? error.message : String(error), evidence: '' };
    } finally {
      clearTimeout(timer);
    }
  }

  /** A suite is judged by the kernel's results, test by test. */
  private judge({ each, backend }: Cell, tests: Tests | undefined, error: string | undefined) {
    if (error !== undefined) return { reason: error, excepted: [] };
    if (tests === undefined) return { reason: '', excepted: [] };
    if (!Object.values(tests).includes('pass')) return { reason: 'no test of the suite passed', excepted: [] };
    if (backend === 'kernel') return { reason: '', excepted: [] };
    const reference = this.references.get(caseId(each));
    if (reference === undefined) return { reason: 'there is no result of the kernel to compare with', excepted: [] };
    const allowed = this.options.expected?.exceptions[caseId(each)] ?? {};
    const all = worse(reference, tests);
    const excepted = all.filter((name) => allowed[name] !== undefined);
    const failed = all.filter((name) => allowed[name] === undefined);
    const stale = Object.keys(allowed).filter((name) => reference[name] === 'pass' && tests[name] === 'pass');
    const reasons = [
      ...(failed.length > 0 ? [`${failed.length} tests pass on the kernel only: ${failed.join(', ')}`] : []),
      ...(stale.length > 0 ? [`listed as exceptions, but pass: ${stale.join(', ')}`] : []),
    ];
    return { reason: reasons.join('; '), excepted };
  }

  private writeLog(cell: Cell, transcript: string, reason: string, evidence: string): string {
    const log = `logs/${cellId(cell).replaceAll('/', '-')}.log`;
    const head = [`${cellId(cell)}`, reason === '' ? 'passed' : `failed: ${reason}`, evidence].filter(Boolean);
    writeFileSync(join(this.options.output, log), `${head.join('\n')}\n\n${transcript}`);
    return log;
  }
}

function words(text: string | undefined): string {
  return text === undefined ? '' : `; then: ${text}`;
}
