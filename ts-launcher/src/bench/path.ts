/**
 * Bulk goodput over an emulated path: a bottleneck of a given rate with a queue, delay, loss and reordering, alike both ways
 * (`path`, apps/load-c/path.c). The far end is a kernel; the near end is a kernel, or Z-stack with an engine on the very same
 * interface, in turn. Same congestion control on both. Every byte is checked.
 */
import { allowedCpus } from '../engine/eal.js';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { part } from '../paths.js';
import { Bed } from './bed.js';
import { Others } from './cpu.js';
import { runProgram, startServer, type World } from './processes.js';
import { median, summarize, type Summary } from './statistics.js';

/** What the path does to a frame; the same in each direction. */
export interface PathKind {
  /** Mbit/s; 0: no limit. */
  readonly rate: number;
  /** There and back, without queueing, ms. */
  readonly rtt: number;
  /** Share of the frames that are lost, percent. */
  readonly loss: number;
  /** Share of the frames that are later than the rest, percent, and by how much, ms. */
  readonly late: number;
  readonly by: number;
}

/** As the near end sees it. */
export type PathDirection = 'send' | 'receive';

/** A path and a direction, both worlds, Mbit/s of payload. */
export interface PathRow extends PathKind {
  readonly direction: PathDirection;
  readonly kernel: Summary;
  readonly zstack: Summary;
  /** Of the medians; above 1 Z-stack carries more. */
  readonly ratio: number;
  /** The engine's port carried it. */
  readonly accelerated: boolean;
  /** The most that programs beside the benchmark took of the CPUs in one of the measurements, 0 to 1. */
  readonly others: number;
}

export interface PathPlan {
  readonly rounds: number;
  readonly seconds: number;
  readonly rate: number;
  readonly congestion: string;
  readonly paths: readonly PathKind[];
  progress(text: string): void;
}

export interface PathResult {
  readonly rounds: number;
  readonly seconds: number;
  readonly congestion: string;
  readonly rows: readonly PathRow[];
}

/** Round trips, ms, and losses, percent, that were asked for. */
export interface PathChoice {
  readonly rtt?: readonly number[] | undefined;
  readonly loss?: readonly number[] | undefined;
}

/** Loss and delay in all combinations, and reordering where both its delay and its loss are among them. */
export function usualPaths(rate: number, choice: PathChoice = {}): PathKind[] {
  const { rtt: rtts = [0, 10, 50], loss: losses = [0, 0.1, 1, 5] } = choice;
  const plain = rtts.flatMap((rtt) => losses.map((loss) => ({ rate, rtt, loss, late: 0, by: 0 })));
  const reordered = [
    { rate, rtt: 10, loss: 0, late: 1, by: 4 },
    { rate, rtt: 10, loss: 0, late: 25, by: 1 },
  ];
  return [...plain, ...reordered.filter(({ rtt, loss }) => rtts.includes(rtt) && losses.includes(loss))];
}

/** What a queue of the bottleneck holds, bytes: what the path carries in a round trip, and no less than 2 ms. */
export function queueOf({ rate, rtt }: PathKind): number {
  return Math.round((rate * 1e6 * Math.max(rtt, 2)) / 1000 / 8);
}

/** The path in words. */
export function pathName({ rtt, loss, late, by }: PathKind): string {
  const parts = [`${rtt} ms`, `${loss} % lost`];
  if (late > 0) parts.push(`${late} % late by ${by} ms`);
  return parts.join(', ');
}

/** Reads what `bulk client` printed: Mbit/s. @throws LauncherError ZS1501 */
export function parseBulk(stdout: string): number {
  const { bytes, seconds } = JSON.parse(stdout) as { bytes?: number; seconds?: number };
  if (bytes === undefined || seconds === undefined || !(seconds > 0))
    throw new LauncherError('ZS1501', `no result: ${stdout}`);
  return (bytes * 8) / seconds / 1e6;
}

/**
 * Runs the plan in two network namespaces of its own.
 * @throws LauncherError ZS1501 a program failed, or a byte was wrong; ZS16xx the namespaces
 */
export async function runPath(resolved: Resolved, plan: PathPlan): Promise<PathResult> {
  const allowed = allowedCpus();
  const cpus = { near: allowed[0] ?? 0, far: allowed[1] ?? allowed[0] ?? 0 };
  const bed = await Bed.open(resolved);
  try {
    const rows: PathRow[] = [];
    for (const kind of plan.paths)
      for (const direction of ['send', 'receive'] as const)
        rows.push(await new Experiment(bed, cpus, plan, kind, direction).run());
    return { rounds: plan.rounds, seconds: plan.seconds, congestion: plan.congestion, rows };
  } finally {
    await bed.remove();
  }
}

class Experiment {
  private accelerated = true;
  private others = 0;

  constructor(
    private readonly bed: Bed,
    private readonly cpus: { readonly near: number; readonly far: number },
    private readonly plan: PathPlan,
    private readonly kind: PathKind,
    private readonly direction: PathDirection,
  ) {}

  async run(): Promise<PathRow> {
    const values: Record<World, number[]> = { kernel: [], zstack: [] };
    for (let round = 1; round <= this.plan.rounds; round++) {
      for (const world of ['kernel', 'zstack'] as const) {
        this.plan.progress(`${pathName(this.kind)}, ${this.direction}: round ${round}, ${world}`);
        values[world].push(await this.measure(world, round));
      }
    }
    const [kernel, zstack] = [summarize(values.kernel), summarize(values.zstack)];
    const { kind, direction, accelerated, others } = this;
    return { ...kind, direction, kernel, zstack, ratio: zstack.median / kernel.median, accelerated, others };
  }

  /** A path of its own for each measurement: no state of the one before, the same losses for the same seed. */
  private async measure(world: World, seed: number): Promise<number> {
    const { bed, cpus, kind, plan } = this;
    const share = (percent: number) => String(percent / 100);
    const command = [
      ...[part('path'), ...bed.ends('path'), String(kind.rate), String(kind.rtt * 500), String(queueOf(kind))],
      ...[share(kind.loss), share(kind.late), String(kind.by * 1000), String(seed)],
    ];
    const near = { cpu: cpus.near, netns: bed.names.near };
    const far = { cpu: cpus.far, netns: bed.names.far };
    const ready = (stdout: string) => stdout.includes('ready');
    const path = await startServer({ ...far, command, netns: bed.names.near }, 'kernel', '', ready);
    try {
      await bed.takePath();
      const port = bed.next();
      const serve = [part('bulk'), 'server', String(port), plan.congestion];
      const server = await startServer({ ...far, command: serve }, 'kernel', '', ready);
      const engine =
        world === 'zstack' ? await bed.startEngine('af_packet', 'near', cpus.near, 'native', 'path') : undefined;
      try {
        const target = `${bed.address('path', 'far')}:${port}`;
        const send = [part('bulk'), 'client', target, this.direction, String(plan.seconds), plan.congestion];
        const watch = new Others(engine === undefined ? [] : [engine.pid]);
        const stdout = await runProgram(
          { ...near, command: send },
          world,
          engine?.name ?? '',
          plan.seconds * 10_000 + 60_000,
        );
        this.others = Math.max(this.others, watch.share());
        if (engine !== undefined) this.accelerated &&= ((await bed.portOf(engine)).tx_packets ?? 0) > 10;
        return parseBulk(stdout);
      } finally {
        if (engine !== undefined) await bed.stopEngine(engine);
        await server.stop();
      }
    } finally {
      await path.stop();
    }
  }
}

/** Above this share of the CPUs other programs are part of what was measured. */
export const QUIET = 0.05;

/** The rows beside whose measurements others had more than that. */
export function disturbed(result: PathResult): number {
  return result.rows.filter(({ others }) => others > QUIET).length;
}

/** The share of rows where Z-stack carries at least as much. */
export function atLeast(result: PathResult): number {
  return result.rows.filter(({ ratio }) => ratio >= 1).length / result.rows.length;
}

/** The middle of all ratios. */
export function middleRatio(result: PathResult): number {
  return median(result.rows.map(({ ratio }) => ratio));
}
