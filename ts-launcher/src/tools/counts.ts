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
  readonly testResults: readonly JestFile[];
}

/** A test file in that report. */
export interface JestFile {
  /** Its path. */
  readonly name: string;
  readonly status: 'passed' | 'failed' | string;
  readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
}

/** The files with a failed test, or that could not be run. */
export function failedFiles(report: JestReport): string[] {
  return report.testResults.filter((file) => file.status === 'failed').map((file) => file.name);
}

/** What became of files with failures that were run once more. */
export interface Again {
  readonly counts: Counts;
  /** Tests that failed and then passed, as `file: test`. */
  readonly unstable: readonly string[];
}

/** Puts the second run of the failed files in the place of their first: every other file counts as it did. */
export function countAgain(first: JestReport, second: JestReport): Again {
  const before = new Map(first.testResults.map((file) => [file.name, file]));
  let counts = jestCounts(first);
  const unstable: string[] = [];
  for (const file of second.testResults) {
    const old = before.get(file.name);
    if (old === undefined) continue;
    counts = add(counts, negative(fileCounts(old)));
    counts = add(counts, fileCounts(file));
    const failed = new Set(old.assertionResults.filter((t) => t.status === 'failed').map((t) => t.fullName));
    const mended = file.assertionResults.filter((t) => t.status === 'passed' && failed.has(t.fullName));
    unstable.push(...mended.map((t) => `${file.name}: ${t.fullName}`));
  }
  return { counts, unstable };
}

function negative(counts: Counts): Counts {
  return { passed: -counts.passed, failed: -counts.failed, skipped: -counts.skipped };
}

function fileCounts(file: JestFile): Counts {
  // A file that could not be run lists no test.
  if (file.status === 'failed' && file.assertionResults.length === 0) return { ...NONE, failed: 1 };
  let counts = NONE;
  for (const { status } of file.assertionResults) {
    if (status === 'passed') counts = add(counts, { ...NONE, passed: 1 });
    else if (status === 'failed') counts = add(counts, { ...NONE, failed: 1 });
    else counts = add(counts, { ...NONE, skipped: 1 });
  }
  return counts;
}

/** Counts a Jest report. A file that could not be run is one failed test. */
export function jestCounts(report: JestReport): Counts {
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
