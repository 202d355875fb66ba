// SPDX-License-Identifier: BSD-3-Clause
/** The committed expectation: what each cell gives, and the tests of suites that may differ from the kernel's. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { LauncherError, textOf } from '../errors.js';
import { BACKENDS, caseId, type Tests } from './case.js';
import { cellId, type Plan } from './plan.js';
import type { Result } from './run.js';

const outcome = z.union([z.literal('pass'), z.strictObject({ fails: z.string().min(1) })]);

const schema = z.strictObject({
  /** By PROGRAM/NAME and backend: `pass`, or `{ "fails": "REASON" }`. */
  cells: z.record(z.string(), z.partialRecord(z.enum(BACKENDS), outcome)),
  /** By PROGRAM/NAME and test: why a test that passes on the kernel may fail under Z-stack. */
  exceptions: z.record(z.string(), z.record(z.string(), z.string().min(1))),
});

export type Expectation = z.infer<typeof schema>;

/**
 * @returns `undefined` when there is no such file: then every cell is expected to pass
 * @throws LauncherError ZS1702
 */
export function readExpectation(path: string): Expectation | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new LauncherError('ZS1702', `${path}: ${textOf(error)}`, 'write it anew with --update');
  }
}

/** Tests that passed on the kernel and did not under Z-stack. */
export function worse(reference: Tests, tests: Tests): string[] {
  return Object.keys(reference).filter((name) => reference[name] === 'pass' && tests[name] !== 'pass');
}

/** One line per difference; empty when all is as expected. */
export function differences(results: readonly Result[], plan: Plan, expected: Expectation | undefined): string[] {
  const found: string[] = [];
  for (const result of results) {
    const id = caseId(result.each);
    const wanted = expected === undefined ? 'pass' : expected.cells[id]?.[result.backend];
    const name = cellId(result);
    if (wanted === undefined) found.push(`${name}: ${result.status}, but the expectation does not have it`);
    else if (wanted === 'pass' && result.status !== 'pass') found.push(`${name}: ${result.reason}`);
    else if (wanted !== 'pass' && result.status === 'pass')
      found.push(`${name}: passes, but was expected to fail: ${wanted.fails}`);
  }
  if (expected === undefined || !plan.whole) return found;
  const there = new Set([...plan.cells, ...plan.leftOut].map(cellId));
  for (const [id, row] of Object.entries(expected.cells))
    for (const backend of Object.keys(row))
      if (!there.has(`${id}@${backend}`)) found.push(`${id}@${backend}: is expected, but there is no such cell`);
  return found;
}

/** Writes what was found: cells that were not run keep what they had, exceptions stay. */
export function writeExpectation(
  path: string,
  results: readonly Result[],
  plan: Plan,
  old: Expectation | undefined,
): void {
  const cells: Expectation['cells'] = {};
  const there = new Set([...plan.cells, ...plan.leftOut].map(cellId));
  for (const [id, row] of Object.entries(old?.cells ?? {}))
    for (const backend of BACKENDS)
      if (row[backend] !== undefined && (!plan.whole || there.has(`${id}@${backend}`)))
        (cells[id] ??= {})[backend] = row[backend];
  for (const { each, backend, status, reason } of results)
    (cells[caseId(each)] ??= {})[backend] = status === 'pass' ? 'pass' : { fails: reason };
  const sorted = Object.fromEntries(Object.entries(cells).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(path, `${JSON.stringify({ cells: sorted, exceptions: old?.exceptions ?? {} }, null, 2)}\n`);
}
