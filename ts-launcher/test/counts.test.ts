/** Counting tests: what was skipped has not passed, what could not run has failed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { add, countAgain, ctestCounts, failedFiles, jestCounts, NONE, summary } from '../src/tools/counts.js';

test('a report of ctest itself: passed, failed, skipped, not there, disabled', () => {
  const directory = mkdtempSync(join(tmpdir(), 'zstack-counts-'));
  try {
    const lines = [
      'add_test(good true)',
      'add_test(bad false)',
      'add_test(skipped sh -c "exit 77")',
      'set_tests_properties(skipped PROPERTIES SKIP_RETURN_CODE 77)',
      'add_test(absent /no/such/program)',
      'add_test(off true)',
      'set_tests_properties(off PROPERTIES DISABLED true)',
    ];
    writeFileSync(join(directory, 'CTestTestfile.cmake'), lines.join('\n'));
    spawnSync('ctest', ['--test-dir', directory, '--output-junit', 'report.xml'], { stdio: 'ignore' });
    const counts = ctestCounts(readFileSync(join(directory, 'report.xml'), 'utf8'));
    expect(counts).toEqual({ passed: 1, failed: 2, skipped: 2 });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a report of Jest: a file that could not run is a failure, todo is skipped', () => {
  const report = {
    numPassedTests: 5,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    numRuntimeErrorTestSuites: 1,
    testResults: [],
  };
  expect(jestCounts(report)).toEqual({ passed: 5, failed: 2, skipped: 3 });
});

test('files that were run once more: the second run counts, and what only passed then is named', () => {
  const file = (name: string, tests: Record<string, string>, status?: string) => ({
    name,
    status: status ?? (Object.values(tests).includes('failed') ? 'failed' : 'passed'),
    assertionResults: Object.entries(tests).map(([fullName, status]) => ({ fullName, status })),
  });
  const first = {
    ...{ numPassedTests: 2, numFailedTests: 2, numPendingTests: 1, numTodoTests: 0, numRuntimeErrorTestSuites: 1 },
    testResults: [
      file('good', { a: 'passed' }),
      file('shaky', { b: 'failed', c: 'passed', d: 'failed', e: 'pending' }),
      file('broken', {}, 'failed'),
    ],
  };
  expect(failedFiles(first)).toEqual(['shaky', 'broken']);
  const second = {
    ...first,
    testResults: [file('shaky', { b: 'passed', c: 'passed', d: 'failed', e: 'pending' }), file('broken', {}, 'failed')],
  };
  const again = countAgain(first, second);
  expect(again.counts).toEqual({ passed: 3, failed: 2, skipped: 1 });
  expect(again.unstable).toEqual(['shaky: b']);
});

test('the closing line', () => {
  const sum = add({ passed: 1, failed: 2, skipped: 3 }, add(NONE, { passed: 10, failed: 0, skipped: 0 }));
  expect(summary(sum)).toBe('11 passed, 2 failed, 3 skipped');
});

test('the shell scripts are of a form that sh understands', () => {
  for (const file of ['zstack-run', 'ts-launcher/scripts/bootstrap.sh', 'ts-launcher/scripts/test.sh']) {
    expect(() => execFileSync('sh', ['-n', file])).not.toThrow();
  }
});
