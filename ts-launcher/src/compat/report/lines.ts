// SPDX-License-Identifier: BSD-3-Clause
/** The report for machines: one JSON object per line, as cells end, and one for the whole at the end. */
import { caseId } from '../case.js';
import type { LeftOut } from '../plan.js';
import type { Result } from '../run.js';

/** How often each verdict occurs in a suite. */
export function counted(tests: Readonly<Record<string, string>>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const verdict of Object.values(tests)) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}

/** A cell that ran. */
export function resultLine(result: Result, repeat: string): string {
  const { each, backend, status, reason, evidence, milliseconds, log, tests, excepted } = result;
  return JSON.stringify({
    ...{ type: 'cell', case: caseId(each), backend, status, reason, evidence, milliseconds, log, repeat },
    ...(tests === undefined ? {} : { tests: counted(tests), excepted }),
  });
}

/** A cell that was left out. */
export function leftOutLine({ each, backend, why }: LeftOut): string {
  return JSON.stringify({ type: 'cell', case: caseId(each), backend, status: 'left-out', reason: why });
}

/** The last line. */
export function summaryLine(results: readonly Result[], leftOut: number, differences: readonly string[]): string {
  const passed = results.filter(({ status }) => status === 'pass').length;
  return JSON.stringify({ type: 'summary', passed, failed: results.length - passed, left_out: leftOut, differences });
}
