// SPDX-License-Identifier: BSD-3-Clause
/** Go programs for cases: built from `programs/go`, and test binaries of packages of the standard library. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Case, Ground, Tests, Verdict } from '../../../ts-launcher/src/compat/case.js';
import { readElf } from '../../../ts-launcher/src/target/elf.js';
import { assert, at, own, ROOT } from './kit.js';
import { runSuite, SUITE_MS } from './suite.js';

export { SUITE_MS };

/** What the compiler needs; nothing is asked of the network, and what it made before is kept beside the build. */
export function goEnvironment({ directory }: Pick<Ground, 'directory'>): Record<string, string> {
  const cache = join(ROOT, 'build', 'go-cache');
  mkdirSync(cache, { recursive: true });
  return { HOME: directory, GOCACHE: cache, GOPROXY: 'off', GOFLAGS: '-mod=mod', CGO_ENABLED: '1' };
}

/** Builds `programs/go`. @returns the program's path */
export async function goBuild(t: Ground): Promise<string> {
  const program = at(t, 'network');
  const options = { cwd: own('go'), env: goEnvironment(t), timeoutMs: 100_000 };
  await t.prepare(['go', 'build', '-o', program, '.'], options);
  return program;
}

/** Packages whose tests have no cgo of their own. */
const WITHOUT_CGO = new Set(['os', 'runtime/pprof']);

const WORDS: Readonly<Record<string, Verdict>> = { PASS: 'pass', FAIL: 'fail', SKIP: 'skip' };

/** What `-test.v` wrote of each test and each of its parts. */
function results(text: string): Tests {
  const tests: Record<string, Verdict> = {};
  for (const [, word = '', name = ''] of text.matchAll(/^\s*--- (PASS|FAIL|SKIP): (\S+) \(/gm))
    tests[name] = WORDS[word] ?? 'fail';
  return tests;
}

/**
 * The tests of a package of the standard library, in its directory, as `go test -short` runs them.
 * @param without names that say something else here by what they are
 */
export function goTests(name: string, without: readonly string[]): Case['run'] {
  return async (t) => {
    const program = at(t, 'tests');
    const { stdout } = await t.prepare(['go', 'env', 'GOROOT'], { env: goEnvironment(t) });
    const cwd = join(stdout.trim(), 'src', name);
    // Without `net` and `os/user` a program is static, unless the race detector, which is in C, makes it otherwise.
    const race = WITHOUT_CGO.has(name) ? ['-race'] : [];
    await t.prepare(['go', 'test', '-c', ...race, '-o', program, name], {
      cwd: t.directory,
      env: goEnvironment(t),
      timeoutMs: SUITE_MS,
    });
    assert.equal(readElf(program)?.cgo, true, `the tests of ${name} are a program with cgo`);
    return runSuite(t, async (ground, only) => {
      // Parts of tests are run with the whole.
      const chosen = [...new Set(only.map((each) => each.split('/', 1)[0] ?? each))];
      const choice = chosen.length === 0 ? [] : ['-test.run', `^(${chosen.join('|')})$`];
      const command = [program, '-test.short', '-test.v', '-test.timeout', '10m', ...choice];
      const env = { HOME: ground.directory, TMPDIR: ground.directory };
      const { stdout: text } = await ground.client(command, { cwd, env, timeoutMs: SUITE_MS }).ended();
      return Object.fromEntries(Object.entries(results(text)).filter(([test]) => !without.includes(test)));
    });
  };
}
