// SPDX-License-Identifier: BSD-3-Clause
/** The matrix as a user runs it: its quick part, or with ZSTACK_TEST_ALL=1 the whole; a test per cell. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XMLParser } from 'fast-xml-parser';
import { ALL, ROOT } from '../lib/paths.js';
import { Program } from '../lib/processes.js';
import { kernelEnvironment, launcher } from '../lib/wrapped.js';

interface Line {
  readonly type: 'cell' | 'summary';
  readonly case: string;
  readonly backend: string;
  readonly status: string;
  readonly reason: string;
  readonly evidence: string;
  readonly log: string;
  readonly repeat: string;
  readonly passed: number;
  readonly differences: readonly string[];
}

const compat = (...args: string[]) => {
  const { command, env } = launcher('compat', ...(ALL ? [] : ['--quick']), ...args);
  const [file = '', ...rest] = command;
  return { file, args: rest, env: { ...kernelEnvironment(), ...env } };
};

const cells = (() => {
  const { file, args, env } = compat('--list');
  const text = execFileSync(file, args, { env, encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [string, string]);
})();

const expected = JSON.parse(readFileSync(join(ROOT, 'compat-tests/matrix/cases/expected.json'), 'utf8')) as {
  cells: Record<string, Record<string, unknown>>;
};

describe('the matrix', () => {
  const output = mkdtempSync(join(tmpdir(), 'zstack-compat-'));
  const lines: Line[] = [];
  let status: number | null = null;

  beforeAll(
    async () => {
      const { file, args, env } = compat('--complete', '--json', '--output', output);
      const program = new Program([file, ...args], env, { timeoutMs: ALL ? 5_400_000 : 900_000 });
      const outcome = await program.ended();
      status = outcome.status;
      for (const line of outcome.stdout.trim().split('\n')) lines.push(JSON.parse(line) as Line);
      if (status !== 0) console.error(outcome.stderr.slice(-8000));
    },
    ALL ? 5_500_000 : 910_000,
  );
  afterAll(() => rmSync(output, { recursive: true, force: true }));

  test.each(cells)('%s on %s', (name, backend) => {
    const cell = lines.find((line) => line.case === name && line.backend === backend);
    // A cell that is expected to fail is no passed test: it is in the expectation with its reason, and is counted below.
    if (expected.cells[name]?.[backend] !== 'pass') return expect(cell).toMatchObject({ status: 'fail' });
    expect(cell).toMatchObject({ status: 'pass', reason: '' });
    // Whatever is not the kernel's shows by the engine's counters that it was not.
    if (backend !== 'kernel') expect(cell?.evidence).toMatch(/^accelerated: \d+ connections, \d+ bytes/);
    expect(existsSync(join(output, cell?.log ?? ''))).toBe(true);
    expect(cell?.repeat).toBe(`zstack-run compat --only ${name} --backend ${backend}`);
  });

  test('all is as the committed expectation says', () => {
    const passing = cells.filter(([name, backend]) => expected.cells[name]?.[backend] === 'pass').length;
    expect(lines.at(-1)).toMatchObject({ type: 'summary', differences: [], passed: passing });
    expect(status).toBe(0);
  });

  test('the reports have every cell', () => {
    const xml = readFileSync(join(output, 'junit.xml'), 'utf8');
    const isArray = (name: string) => name === 'testsuite' || name === 'testcase';
    const { testsuites } = new XMLParser({ ignoreAttributes: false, isArray }).parse(xml) as {
      testsuites: { '@_tests': string; testsuite: { testcase: unknown[] }[] };
    };
    expect(testsuites.testsuite.flatMap(({ testcase }) => testcase)).toHaveLength(cells.length);
    expect(Number(testsuites['@_tests'])).toBe(cells.length);
    const html = readFileSync(join(output, 'index.html'), 'utf8');
    // Nothing from elsewhere: links to logs only.
    expect(html).not.toMatch(/(src|href)="(?!logs\/)/);
    for (const [name, backend] of cells)
      expect(html).toContain(`zstack-run compat --only ${name} --backend ${backend}`);
  });
});
