// SPDX-License-Identifier: BSD-3-Clause
/** Runs the cases in TypeScript: many in one child process, since that Node starts is what costs. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import type { Program } from '../lib/processes.js';
import type { Stage } from '../lib/stage.js';
import { sleep } from '../lib/wait.js';
import { CHILD, compileCases } from './compile.js';
import type { KernelWork } from './harness/child.js';
import type { Definition, World } from './harness/case.js';

export type Listed = Omit<Definition, 'run'>;
export interface ListedSuite {
  readonly name: string;
  readonly cases: readonly Listed[];
}

/** What became of one case in one world. */
export interface Outcome {
  readonly lines: readonly string[];
  readonly connections: number;
  readonly kernel: KernelWork;
  /** What it threw, or how its process ended. */
  readonly error?: string;
}

/** No case takes so long. */
const LIMIT_MS = 20_000;

export function listSuites(): ListedSuite[] {
  compileCases();
  return JSON.parse(execFileSync(process.execPath, [CHILD, 'list'], { encoding: 'utf8' })) as ListedSuite[];
}

const LOOPBACK = '127.0.0.1,127.0.0.1,::1,::1';
const WIRE = [NEAR, FAR, NEAR6, FAR6].join(',');

interface Line {
  readonly begin?: string;
  readonly end?: string;
}

type Environment = Readonly<Record<string, string>>;

let pipes = 0;

function makePipes(stage: Stage): [string, string] {
  const names: [string, string] = [join(stage.directory, `ask${++pipes}`), join(stage.directory, `answer${pipes}`)];
  execFileSync('mkfifo', names);
  return names;
}

/** Starts a child with these cases, and the far side where that is another process. */
function start(stage: Stage, world: World, suite: string, cases: readonly Listed[], env: Environment): Program {
  const node = [process.execPath, CHILD];
  const names = cases.map((c) => c.name);
  const wrapped = world !== 'kernel';
  if (world !== 'wire' && cases.every((c) => !c.processes))
    return stage.start(wrapped, [...node, 'run', world, suite, LOOPBACK, '-', ...names], { env });
  const [ask, answer] = makePipes(stage);
  const peer = [...node, 'peer', ask, answer];
  if (world === 'wire') stage.far(peer);
  else stage.start(wrapped, peer, { env });
  const hosts = world === 'wire' ? WIRE : LOOPBACK;
  return stage.start(wrapped, [...node, 'run', world, suite, hosts, `${ask},${answer}`, ...names], { env });
}

/** The lines that are complete so far. */
function linesOf(program: Program): Line[] {
  return program.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

/** Waits for the child's end, or for a case that takes too long. */
async function finish(program: Program): Promise<{ lines: Line[]; reason: string }> {
  for (let seen = 0, since = Date.now(); program.running;) {
    const count = program.stdout.length;
    if (count !== seen) [seen, since] = [count, Date.now()];
    if (Date.now() - since > LIMIT_MS) {
      await program.end('SIGKILL');
      return { lines: linesOf(program), reason: `it takes longer than ${LIMIT_MS} ms` };
    }
    await sleep(10);
  }
  const { status, signal, stderr } = await program.ended();
  return { lines: linesOf(program), reason: `its process ended with ${status ?? signal}: ${stderr.slice(-2000)}` };
}

const NOTHING: KernelWork = { connections: 0, datagrams: 0 };

/** Runs cases of a suite in a world. A case that ends its process does not take the others with it. */
export async function runSuite(
  stage: Stage,
  world: World,
  suite: string,
  cases: readonly Listed[],
  env: Environment = {},
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  for (const processes of [false, true]) {
    const group = cases.filter((c) => world === 'wire' || c.processes === processes);
    for (let left = group; left.length > 0; left = left.filter((c) => !outcomes.has(c.name))) {
      const { lines, reason } = await finish(start(stage, world, suite, left, env));
      let open: string | undefined;
      for (const line of lines) {
        if (line.begin !== undefined) open = line.begin;
        if (line.end === undefined) continue;
        outcomes.set(line.end, line as unknown as Outcome);
        open = undefined;
      }
      const lost = open ?? left.find((c) => !outcomes.has(c.name))?.name;
      if (lost !== undefined) outcomes.set(lost, { lines: [], connections: 0, kernel: NOTHING, error: reason });
    }
    if (world === 'wire') break;
  }
  return outcomes;
}
