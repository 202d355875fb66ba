/** Counts tests in the reports of ctest and Jest. */

/** Each test is counted in exactly one of these. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

/** The sum of two counts. */
export function add(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** The closing line. */
export function summary({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/**
 * Counts a JUnit report as ctest writes it: one `testcase` per test, its `status` run, fail, notrun or disabled. One that
 * did not run was skipped if it says so itself (SKIP_RETURN_CODE, SKIP_REGULAR_EXPRESSION), else it failed: its program
 * is missing, or a fixture.
 */
export function ctestCounts(xml: string): Counts {
  let counts = NONE;
  for (const [, attributes = '', reason = ''] of xml.matchAll(
    /<testcase\s([^>]*)>(?:\s*<skipped message="([^"]*)")?/g,
  )) {
    const status = /\bstatus="([^"]*)"/.exec(attributes)?.[1];
    if (status === 'run') counts = add(counts, { ...NONE, passed: 1 });
    else if (status === 'fail' || (status === 'notrun' && !reason.startsWith('SKIP_')))
      counts = add(counts, { ...NONE, failed: 1 });
    else counts = add(counts, { ...NONE, skipped: 1 });
  }
  return counts;
}

/** The part of Jest's JSON report that is used. */
export interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** Files that could not be run at all. */
  readonly numRuntimeErrorTestSuites: number;
}

/** Counts a Jest report. A file that could not be run is one failed test. */
export function jestCounts(report: JestReport): Counts {
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
