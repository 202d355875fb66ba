// SPDX-License-Identifier: BSD-3-Clause
/** Test-suites of Python programs: each test's result, and a second try for those that the kernel passes. */
import { existsSync, readFileSync } from 'node:fs';
import { XMLParser } from 'fast-xml-parser';
import type { Case, Ground, Tests, Verdict } from '../../../ts-launcher/src/compat/case.js';
import { at, own, PYTHON } from './kit.js';

/** Limit of a suite: a hang is a failure. */
export const SUITE_MS = 20 * 60_000;

/** Runs these tests of a suite, or all of it. */
type RunTests = (t: Ground, only: readonly string[]) => Promise<Tests>;

/**
 * Runs a suite. Tests that pass on the kernel and failed here are run once more: some of them measure time. What passes
 * only then is told in the log.
 */
export async function runSuite(t: Ground, tests: RunTests): Promise<Tests> {
  const first = await tests(t, []);
  const worse = Object.keys(t.reference).filter((name) => t.reference[name] === 'pass' && first[name] !== 'pass');
  if (worse.length === 0 || worse.length > 50) return first;
  const second = await tests(t, worse);
  for (const name of worse) if (second[name] === 'pass') t.log(`passed at the second attempt: ${name}`);
  return { ...first, ...second };
}

/** One end: how it ended does not matter, the results do. */
async function finished(t: Ground, command: readonly string[], cwd: string): Promise<void> {
  const env = { LC_ALL: 'C.UTF-8', HOME: t.directory, TMPDIR: t.directory };
  await t.client(command, { cwd, env, timeoutMs: SUITE_MS }).ended();
}

interface Junit {
  readonly testsuites?: { readonly testsuite?: readonly { readonly testcase?: readonly Testcase[] }[] };
}

interface Testcase {
  readonly '@name': string;
  readonly error?: unknown;
  readonly failure?: unknown;
  readonly skipped?: unknown;
}

function verdict({ error, failure, skipped }: Testcase): Verdict {
  if (error !== undefined || failure !== undefined) return 'fail';
  return skipped === undefined ? 'pass' : 'skip';
}

/** What `python -m test --junit-xml` wrote. */
function junitTests(path: string): Tests {
  if (!existsSync(path)) return {};
  const isArray = (name: string) => name === 'testsuite' || name === 'testcase';
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@', isArray });
  const { testsuites } = parser.parse(readFileSync(path, 'utf8')) as Junit;
  const all = (testsuites?.testsuite ?? []).flatMap(({ testcase = [] }) => testcase);
  return Object.fromEntries(all.map((each) => [each['@name'], verdict(each)]));
}

/** A module of CPython's own tests. @param resources of regrtest (`-u`); none unless given: nothing leaves the machine */
export function cpython(module: string, ignore: readonly string[], resources: readonly string[] = []): Case['run'] {
  return (t) =>
    runSuite(t, async (ground, only) => {
      const report = at(ground, `report-${only.length}.xml`);
      const chosen = only.flatMap((name) => ['-m', name]);
      const left = ignore.flatMap((pattern) => ['-i', pattern]);
      const allowed = resources.flatMap((name) => ['-u', name]);
      const command = [PYTHON, '-m', 'test', '--junit-xml', report, '-v', ...allowed, ...left, ...chosen, module];
      await finished(ground, command, ground.directory);
      return junitTests(report);
    });
}

/** Modules of unittest, or packages of trial. */
export function suite(kind: 'unittest' | 'trial', names: readonly string[]): Case['run'] {
  return (t) =>
    runSuite(t, async (ground, only) => {
      const out = at(ground, `report-${only.length}.json`);
      await finished(
        ground,
        [PYTHON, own('suite.py'), kind, out, ...(only.length > 0 ? only : names)],
        ground.directory,
      );
      return existsSync(out) ? (JSON.parse(readFileSync(out, 'utf8')) as Tests) : {};
    });
}
