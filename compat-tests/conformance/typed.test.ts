// SPDX-License-Identifier: BSD-3-Clause
/**
 * The cases in TypeScript: each runs on the kernel, under Z-stack on the same host and, where that may differ, over the wire. All
 * traces must be the same, and the kernel's own counters must show that under Z-stack it carried nothing.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUILD } from '../lib/paths.js';
import { describeOnStacks } from '../lib/stacks.js';
import { Stage, type StageOptions } from '../lib/stage.js';
import { listSuites, runSuite, type Listed, type Outcome } from './typed.js';

/** Under Z-stack on the same host, over the wire with the native stack, over the wire with libfstack. */
type Place = 'host' | 'wire' | 'fstack';

/** Cases that are not as on the kernel, by place, with the reason. */
type Differences = Readonly<Record<string, { readonly worlds: readonly Place[]; readonly reason: string }>>;
const DIFFERENCES = JSON.parse(
  readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'differences.json'), 'utf8'),
) as Differences;

const suites = listSuites();
const reference = new Map<string, Outcome>();
const sum = { equal: 0, listed: 0 };

function outcome(outcomes: ReadonlyMap<string, Outcome>, name: string): Outcome {
  const found = outcomes.get(name);
  if (found === undefined) throw new Error(`${name} did not run`);
  return found;
}

/** The kernel's own TCP and UDP did all of it, or nothing. */
function expectServed(definition: Listed, { kernel, connections }: Outcome, byKernel: boolean): void {
  switch (definition.kind) {
    case 'tcp':
      expect(connections).toBeGreaterThan(0);
      if (byKernel) expect(kernel.connections).toBeGreaterThanOrEqual(connections);
      else expect(kernel.connections).toBe(0);
      break;
    case 'udp':
      if (byKernel) expect(kernel.datagrams).toBeGreaterThan(0);
      else expect(kernel.datagrams).toBe(0);
      break;
    case 'listen':
      expect(kernel.connections).toBe(0);
      break;
    default:
      expect(definition.reason).toBeTruthy();
  }
}

/** False: it is a listed difference, and differs. */
function expectEqual(definition: Listed, place: Place, got: Outcome): boolean {
  const kernel = outcome(reference, definition.name);
  expect(kernel.error).toBeUndefined();
  const difference = DIFFERENCES[definition.name];
  if (difference?.worlds.includes(place) === true) {
    // What is listed must be true.
    expect(got.error === undefined && got.lines.join('\n') === kernel.lines.join('\n')).toBe(false);
    sum.listed++;
    return false;
  }
  expect(got.error).toBeUndefined();
  expect(got.lines.join('\n')).toBe(kernel.lines.join('\n'));
  expect(kernel.lines.length).toBeGreaterThan(0);
  sum.equal++;
  return true;
}

function compare(definition: Listed, place: Place, got: Outcome): void {
  if (!expectEqual(definition, place, got)) return;
  expectServed(definition, outcome(reference, definition.name), true);
  expectServed(definition, got, false);
}

/** A stage whose end of a suite is what is checked, not that of each case: those ran long before. */
function stageOf(options: StageOptions): Stage {
  const stage = new Stage(options);
  beforeAll(() => stage.open(), 60_000);
  afterAll(() => stage.close(), 60_000);
  return stage;
}

describe('on the same host', () => {
  const stage = stageOf({ namespace: true });

  describe.each(suites)('$name', ({ name, cases }) => {
    let results: ReadonlyMap<string, Outcome>;
    beforeAll(async () => {
      for (const [key, value] of await runSuite(stage, 'kernel', name, cases)) reference.set(key, value);
      results = await runSuite(stage, 'host', name, cases, { ZSTACK_UDP: 'early' });
    }, 300_000);
    afterAll(() => stage.clear(), 60_000);

    it.each(cases)('$name', (definition) => compare(definition, 'host', outcome(results, definition.name)));
  });
});

// By itself a UDP socket is accelerated from its third datagram on: either world may have served such a case.
describe('on the same host, datagrams as they are by themselves', () => {
  const stage = stageOf({ namespace: true });
  const inBoth = suites
    .map(({ name, cases }) => ({ name, cases: cases.filter((c) => c.kind === 'udp') }))
    .filter(({ cases }) => cases.length > 0);

  describe.each(inBoth)('$name', ({ name, cases }) => {
    let results: ReadonlyMap<string, Outcome>;
    beforeAll(async () => {
      results = await runSuite(stage, 'host', name, cases);
    }, 300_000);
    afterAll(() => stage.clear(), 60_000);

    it.each(cases)('$name', (definition) => {
      expectEqual(definition, 'host', outcome(results, definition.name));
    });
  });
});

const wired = suites
  .map(({ name, cases }) => ({ name, cases: cases.filter((c) => c.wire) }))
  .filter(({ cases }) => cases.length > 0);

describeOnStacks<[string]>([['over the wire']], (stack) => {
  const stage = stageOf({ wire: 'tap', stack });

  describe.each(wired)('$name', ({ name, cases }) => {
    let results: ReadonlyMap<string, Outcome>;
    beforeAll(async () => {
      results = await runSuite(stage, 'wire', name, cases);
    }, 300_000);
    afterAll(() => stage.clear(), 60_000);

    it.each(cases)('$name', (definition) =>
      compare(definition, stack === 'native' ? 'wire' : stack, outcome(results, definition.name)),
    );
  });
});

describe('the sum', () => {
  it('is told, and every listed difference names a case', () => {
    const names = new Set(suites.flatMap(({ cases }) => cases.map((c) => c.name)));
    for (const name of Object.keys(DIFFERENCES)) expect(names).toContain(name);
    const count = wired.flatMap((s) => s.cases).length;
    const inC = execFileSync(join(BUILD, 'conformance'), ['--list'], { encoding: 'utf8' }).trim().split('\n').length;
    process.stderr.write(
      `conformance: ${names.size + inC} cases: ${inC} in C, ${names.size} in TypeScript, ${count} of these over the wire, too; ` +
        `of the runs in TypeScript ${sum.equal} equal to the kernel, ${sum.listed} listed\n`,
    );
  });
});
