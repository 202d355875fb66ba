/**
 * `npm test` after the build: native tests (ctest), plain and with sanitizers, then the Jest projects, then one line
 * `N passed, N failed, N skipped`.
 * Arguments: `--native` or `--jest` for one of the two; everything else goes to Jest.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { ROOT } from '../paths.js';
import {
  add,
  countAgain,
  ctestCounts,
  failedFiles,
  jestCounts,
  NONE,
  summary,
  type Counts,
  type JestReport,
} from './counts.js';

/** The longer tests, too. */
const ALL = process.env['ZSTACK_TEST_ALL'] !== undefined;

/** No part of the tests takes this long unless it hangs; a hang is a failure, not a run without an end. */
const LIMIT_MS = (ALL ? 300 : 30) * 60_000;

/** Runs a program with our terminal; its exit status, or 1 when it was killed. */
function tell(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): number {
  const run = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit', env, timeout: LIMIT_MS, killSignal: 'SIGKILL' });
  return run.status ?? 1;
}

/** Native tests of a build directory; those labelled `long` only with ZSTACK_TEST_ALL. */
function native(
  reports: string,
  directory = 'build',
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Counts {
  const report = join(reports, `${directory.replaceAll('/', '-')}.xml`);
  const status = tell(
    'ctest',
    [
      ...['--test-dir', directory, '--output-on-failure', '--output-junit', report],
      ...(ALL ? [] : ['--label-exclude', 'long']),
      ...args,
    ],
    { ...process.env, ...env },
  );
  const counts = existsSync(report) ? ctestCounts(readFileSync(report, 'utf8')) : NONE;
  // A run that failed without a failed test did not run properly.
  return status !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

/**
 * The tests of the stack and of shared memory, and the fuzz targets, with address and undefined-behaviour checks, built here:
 * clang needs its own directory. With ZSTACK_TEST_ALL all native tests. Checked code is five times slower: fewer seeds.
 */
function sanitized(reports: string): Counts {
  const directory = 'build/sanitize';
  const options = [
    '-G',
    'Ninja',
    '-DCMAKE_C_COMPILER=clang',
    '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
    '-DZSTACK_SANITIZE=ON',
  ];
  const configured =
    existsSync(join(ROOT, directory, 'build.ninja')) || tell('cmake', ['-S', '.', '-B', directory, ...options]) === 0;
  const target = ALL ? [] : ['--target', 'zstack_stack_tests'];
  if (!configured || tell('cmake', ['--build', directory, ...target]) !== 0) return { ...NONE, failed: 1 };
  const args = ['--parallel', '2', '--no-tests=error', ...(ALL ? [] : ['--tests-regex', '^(net|tcp|shm|fuzz)_'])];
  return native(reports, directory, args, {
    ZSTACK_SOAK_SEEDS: ALL ? '12' : '2',
    ZSTACK_MODEL_SEEDS: ALL ? '2000' : '200',
  });
}

/** Runs tests of a Jest project; its report, if it wrote one, and whether it ended well. */
function jestRun(report: string, project: string, args: readonly string[]): { report?: JestReport; ok: boolean } {
  const status = tell(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'node_modules/jest/bin/jest.js'),
      ...['--selectProjects', project, '--passWithNoTests', '--json', '--outputFile', report],
      ...['--testLocationInResults', '--forceExit'],
      ...(project === 'compat-tests' ? ['--runInBand'] : []),
      ...args,
    ],
    // The sources are built; a test that starts zstack-run must not build them again under another one.
    { ...process.env, ZSTACK_BOOTSTRAP: '0' },
  );
  if (!existsSync(report)) return { ok: status === 0 };
  return { report: JSON.parse(readFileSync(report, 'utf8')) as JestReport, ok: status === 0 };
}

/**
 * A file with a failed test is run once more, by itself: what fails twice has failed. What passes only then is named before
 * the closing line, for it is a defect of the test or of the product all the same.
 */
function jest(reports: string, project: string, args: readonly string[], unstable: string[]): Counts {
  const { report, ok } = jestRun(join(reports, `${project}.json`), project, args);
  const counts = report === undefined ? NONE : jestCounts(report);
  if (report === undefined || counts.failed === 0) return ok ? counts : { ...counts, failed: counts.failed + 1 };
  const names = args.filter((arg) => arg.startsWith('-'));
  const files = failedFiles(report);
  console.log(`once more, by themselves: ${files.map((file) => relative(ROOT, file)).join(' ')}`);
  const second = jestRun(join(reports, `${project}-again.json`), project, [
    ...names,
    '--runTestsByPath',
    ...files,
  ]).report;
  if (second === undefined) return counts;
  const again = countAgain(report, second);
  unstable.push(...again.unstable.map((name) => relative(ROOT, name)));
  return again.counts;
}

function main(): number {
  const args = process.argv.slice(2);
  const only = args.find((arg) => arg === '--native' || arg === '--jest');
  const rest = args.filter((arg) => arg !== only);
  const reports = mkdtempSync(join(tmpdir(), 'zstack-test-'));
  const unstable: string[] = [];
  try {
    let total = NONE;
    if (only !== '--jest') total = add(total, native(reports));
    if (only !== '--jest') total = add(total, sanitized(reports));
    if (only !== '--native') {
      for (const project of ['ts-launcher', 'compat-tests']) total = add(total, jest(reports, project, rest, unstable));
    }
    for (const name of unstable) console.log(`unstable, passed only when its file was run once more: ${name}`);
    console.log(summary(total));
    return total.failed === 0 ? 0 : 1;
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
}

process.exitCode = main();
