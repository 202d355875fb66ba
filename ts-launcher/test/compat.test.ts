// SPDX-License-Identifier: BSD-3-Clause
/** The parts of `zstack-run compat` that run no programs: what is chosen, what is expected, what is reported. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XMLParser } from 'fast-xml-parser';
import type { Case, Tests } from '../src/compat/case.js';
import { differences, readExpectation, worse, writeExpectation } from '../src/compat/expectation.js';
import { cellId, plan, repeatCommand, type Abilities, type Selection } from '../src/compat/plan.js';
import { junit } from '../src/compat/report/junit.js';
import { page } from '../src/compat/report/page.js';
import { Matrix, type Result } from '../src/compat/run.js';
import type { Backend, Field, FieldGround, OpenField } from '../src/compat/case.js';

const run = async (): Promise<void> => undefined;
const CASES: readonly Case[] = [
  { program: 'a', name: 'one', run, quick: true },
  { program: 'a', name: 'two', run, needs: ['absent'] },
  { program: 'b', name: 'one', run, backends: ['kernel', 'same-host'], suite: true },
];
const able: Abilities = { noWire: undefined, missing: (needs) => needs.filter((name) => name === 'absent') };
const all: Selection = { only: [], backends: ['kernel', 'same-host', 'wire'], quick: false };
const ids = (selection: Partial<Selection>, can = able) => plan(CASES, { ...all, ...selection }, can).cells.map(cellId);

let directory = '';
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'zstack-compat-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function result(each: Case, backend: Backend, status: 'pass' | 'fail', reason = ''): Result {
  return { each, backend, status, reason, evidence: '', milliseconds: 1500, log: 'logs/x.log', excepted: [] };
}

describe('what runs', () => {
  test('every case on every backend, but what is missing', () => {
    const { cells, leftOut, whole } = plan(CASES, all, able);
    expect(cells.map(cellId)).toEqual([
      ...['a/one@kernel', 'a/one@same-host', 'a/one@wire', 'b/one@kernel', 'b/one@same-host'],
    ]);
    expect(leftOut.map(({ why }) => why)).toEqual(Array(3).fill('not installed: absent'));
    expect(whole).toBe(true);
  });

  test('without privileges the wire is left out, and says so', () => {
    const { cells, leftOut } = plan(CASES, all, { ...able, noWire: 'it needs CAP_NET_ADMIN' });
    expect(cells.some(({ backend }) => backend === 'wire')).toBe(false);
    expect(leftOut.map((cell) => `${cellId(cell)}: ${cell.why}`)).toContain('a/one@wire: it needs CAP_NET_ADMIN');
  });

  test('--only takes programs, cases and patterns', () => {
    expect(ids({ only: ['b'] })).toEqual(['b/one@kernel', 'b/one@same-host']);
    expect(ids({ only: ['*/one'], backends: ['wire'] })).toContain('a/one@wire');
    expect(() => ids({ only: ['a/three'] })).toThrow('a/three');
    // A dot is a dot.
    expect(() => ids({ only: ['./one'] })).toThrow();
  });

  test('a suite brings the kernel with it', () => {
    expect(ids({ only: ['b'], backends: ['same-host'] })).toEqual(['b/one@kernel', 'b/one@same-host']);
  });

  test('shards cover every cell once', () => {
    const parts = [1, 2, 3].flatMap((index) => ids({ shard: { index, count: 3 } }));
    expect(parts.sort()).toEqual(ids({}).sort());
  });

  test('the command that repeats a cell can be pasted into a shell', () => {
    const cell = { each: CASES[0] as Case, backend: 'wire' as const };
    const command = repeatCommand(cell, ['--cases', "it's here"]);
    expect(command).toBe(
      "zstack-run compat --only a/one --backend wire '--cases' 'it'\\''s here'".replace("'--cases'", '--cases'),
    );
  });
});

describe('what is expected', () => {
  const file = () => join(directory, 'expected.json');
  const [first, , suite] = CASES as [Case, Case, Case];
  const planned = plan(CASES, all, able);
  const passed = planned.cells.map(({ each, backend }) => result(each, backend, 'pass'));

  test('without a file everything passes', () => {
    expect(readExpectation(file())).toBeUndefined();
    expect(differences(passed, planned, undefined)).toEqual([]);
    expect(differences([result(first, 'wire', 'fail', 'broken')], planned, undefined)).toEqual(['a/one@wire: broken']);
  });

  test('a difference in any direction is told', () => {
    writeExpectation(file(), passed, planned, undefined);
    const expected = readExpectation(file());
    expect(differences(passed, planned, expected)).toEqual([]);
    const cells = {
      'a/one': { kernel: 'pass', 'same-host': { fails: 'known' } },
      'gone/case': { wire: 'pass' },
    } as const;
    expect(differences(passed.slice(0, 3), planned, { cells, exceptions: {} })).toEqual([
      'a/one@same-host: passes, but was expected to fail: known',
      'a/one@wire: pass, but the expectation does not have it',
      'gone/case@wire: is expected, but there is no such cell',
    ]);
  });

  test('an update keeps what was not run', () => {
    writeExpectation(file(), passed, planned, undefined);
    const part = plan(CASES, { ...all, only: ['b'] }, able);
    writeExpectation(file(), [result(suite, 'same-host', 'fail', 'why')], part, readExpectation(file()));
    expect(readExpectation(file())?.cells).toEqual({
      'a/one': { kernel: 'pass', 'same-host': 'pass', wire: 'pass' },
      'b/one': { kernel: 'pass', 'same-host': { fails: 'why' } },
    });
  });

  test('a file that is none is an error with its remedy', () => {
    writeFileSync(file(), '{"cells": {"a/one": {"kernel": "maybe"}}, "exceptions": {}}');
    expect(() => readExpectation(file())).toThrow('--update');
  });

  test('only what the kernel passes counts', () => {
    const kernel: Tests = { a: 'pass', b: 'fail', c: 'skip', d: 'pass', e: 'pass' };
    expect(worse(kernel, { a: 'pass', b: 'fail', c: 'fail', d: 'fail' })).toEqual(['d', 'e']);
  });
});

describe('the verdict on a cell', () => {
  /** A field without programs. */
  const field =
    (accelerated: boolean, log: string[] = []): OpenField =>
    async (backend) => {
      const ground = (reference: Tests): FieldGround =>
        ({
          backend,
          reference,
          checkAccelerated: async () => {
            if (accelerated || backend === 'kernel') return backend === 'kernel' ? '' : 'accelerated: all';
            throw new Error('nothing was accelerated');
          },
          transcript: () => 'what programs wrote',
          clear: async () => undefined,
        }) as unknown as FieldGround;
      const opened: Field = {
        ground: async (_each, _name, reference) => ground(reference),
        close: async () => void log.push(`close ${backend}`),
      };
      return opened;
    };
  const matrix = (openField: OpenField, exceptions = {}) =>
    new Matrix({
      ...{ openField, over: 'tap', isolated: true, output: directory, expected: { cells: {}, exceptions } },
      ...{ began: () => undefined, ended: () => undefined },
    });
  const verdicts = async (cases: readonly Case[], made: Matrix) => {
    const results = await made.run(plan(cases, { ...all, backends: ['kernel', 'same-host'] }, able));
    await made.close();
    return results.map(({ backend, reason }) => `${backend}: ${reason}`);
  };

  test('a case that passed without acceleration failed', async () => {
    const cases = [{ program: 'a', name: 'one', run }];
    expect(await verdicts(cases, matrix(field(true)))).toEqual(['kernel: ', 'same-host: ']);
    expect(await verdicts(cases, matrix(field(false)))).toEqual(['kernel: ', 'same-host: nothing was accelerated']);
  });

  test('a case that never ends fails, and the next has a new field', async () => {
    const log: string[] = [];
    const endless: Case = {
      program: 'a',
      name: 'x',
      timeoutMs: 50,
      backends: ['kernel'],
      run: () => new Promise<void>(() => undefined),
    };
    expect(await verdicts([endless], matrix(field(true, log)))).toEqual(['kernel: not done within 50 ms']);
    expect(log).toEqual(['close kernel']);
  });

  test('an interruption: no further cell begins, and what was opened meanwhile is closed', async () => {
    const log: string[] = [];
    const open = field(true, log);
    const made: Matrix = matrix(async (backend, ...rest) => {
      await Promise.resolve();
      log.push(`open ${backend}`);
      if (backend === 'same-host') void made.close();
      return open(backend, ...rest);
    });
    const cases = ['one', 'two', 'three'].map((name) => ({ program: 'a', name, run }));
    expect(await verdicts(cases, made)).toEqual(['kernel: ']);
    expect(log).toEqual(['open kernel', 'open same-host', 'close kernel', 'close same-host']);
  });

  test('a suite is compared test by test, with exceptions that must be true', async () => {
    const tests: Record<string, Tests> = {
      kernel: { same: 'pass', both: 'fail', lost: 'pass', known: 'pass', gone: 'pass' },
      'same-host': { same: 'pass', both: 'fail', lost: 'fail', known: 'fail' },
    };
    const cases: Case[] = [
      {
        program: 's',
        name: 't',
        suite: true,
        backends: ['kernel', 'same-host'],
        run: async (t) => tests[t.backend] ?? {},
      },
    ];
    const exceptions = { 's/t': { known: 'because', same: 'was so once' } };
    expect(await verdicts(cases, matrix(field(true), exceptions))).toEqual([
      'kernel: ',
      'same-host: 2 tests pass on the kernel only: lost, gone; listed as exceptions, but pass: same',
    ]);
    const none: Case[] = [{ ...(cases[0] as Case), run: async () => ({ all: 'skip' }) as const }];
    expect((await verdicts(none, matrix(field(true))))[1]).toBe('same-host: no test of the suite passed');
  });
});

describe('reports', () => {
  const nasty = `<script>"&'\u0007`;
  const [first] = CASES as [Case];
  const results = [result(first, 'kernel', 'pass'), result(first, 'same-host', 'fail', nasty)];
  const leftOut = [{ each: first, backend: 'wire' as const, why: 'no <ip>' }];

  test('JUnit is well-formed whatever programs say', () => {
    const parsed = new XMLParser({ ignoreAttributes: false }).parse(junit(results, leftOut)) as {
      testsuites: {
        testsuite: { '@_failures': string; '@_skipped': string; testcase: { failure?: { '@_message': string } }[] };
      };
    };
    const { testsuite } = parsed.testsuites;
    expect([testsuite['@_failures'], testsuite['@_skipped']]).toEqual(['1', '1']);
    expect(testsuite.testcase[1]?.failure?.['@_message']).toBe(`<script>"&'?`);
  });

  test('the page shows it as text', () => {
    const html = page({
      ...{ title: 't', machine: 'm', results, leftOut, differences: [nasty] },
      repeat: (cell) => `again ${cellId(cell)}`,
    });
    expect(html).not.toContain('<script>');
    expect(html).toContain('again a/one@same-host');
    expect(html).toContain('left out: no &lt;ip&gt;');
    expect(html).toContain('1 failed');
  });
});
