/**
 * Overload: more requests than can be served, from a sender that never waits. What comes of it is goodput, the answers per
 * second; a system without receive livelock keeps it when the load goes on to grow.
 *
 * The sender has one CPU, the server another one; the engine shares the server's. The server computes for a while for each
 * request, so that the sender can offer three times what is served and is not itself the limit. Answers are received on the
 * sender's CPU. What the kernel does to receive a request happens on the sender's CPU, as veth has it: for a port of an
 * engine that is what a network card would do. For the kernel's server it is work that a card would leave to the server's
 * CPU, so the kernel is measured both ways.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { allowedCpus } from '../engine/eal.js';
import { LauncherError } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import { part } from '../paths.js';
import { cpuOf } from './cpu.js';
import { Bed, type WireEngine, type WireKind } from './bed.js';
import type { Chart, Panel, Series } from './chart.js';
import { runProgram, startServer, type Server } from './processes.js';
import { median, summarize, type Summary } from './statistics.js';

export type Protocol = 'udp' | 'tcp';

/** Whom the requests go to, and where the kernel's share of receiving is done. */
export type Target = 'zstack' | 'kernel' | 'kernel-steered';

/** Several measurements with the same load. */
export interface LoadPoint {
  /** Requests per second that the sender was told to send. */
  readonly asked: number;
  readonly offered: Summary;
  /** Answers per second, of requests and within the time that count. */
  readonly goodput: Summary;
  /** What it would be if nobody else used the server's CPU: see {@link undisturbed}. */
  readonly undisturbed: Summary;
  readonly median_us: number;
  readonly p99_us: number;
}

export interface Curve {
  readonly target: Target;
  readonly points: readonly LoadPoint[];
  /** The best goodput of all points. */
  readonly peak: number;
  /** Goodput, as a share of the peak, at twice the load of the peak; `null` when the sender did not come so far. */
  readonly at_twice: number | null;
  /** The least goodput, as a share of the peak, of all points with more load than that. */
  readonly least_beyond: number | null;
  /** The same three of the undisturbed goodput: what the machine's other users take from the server is not in them. */
  readonly undisturbed: {
    readonly peak: number;
    readonly at_twice: number | null;
    readonly least_beyond: number | null;
  };
}

export interface OverloadResult {
  readonly rounds: number;
  readonly seconds: number;
  readonly port: WireKind;
  readonly cpus: { readonly server: number; readonly client: number };
  readonly experiments: readonly {
    readonly protocol: Protocol;
    readonly work_us: number;
    readonly curves: readonly Curve[];
  }[];
}

export interface OverloadPlan {
  readonly rounds: number;
  readonly seconds: number;
  readonly port: WireKind;
  /** What the server computes per request, us. */
  readonly work: Readonly<Record<Protocol, number>>;
  readonly protocols: readonly Protocol[];
  progress(text: string): void;
}

/** Loads as multiples of what the first look found to be served. */
const LOADS = [0.25, 0.5, 0.75, 0.9, 1, 1.15, 1.35, 1.6, 2, 2.5, 3];
/** For those whose peak turned out to be higher. */
const FAR_LOADS = [1.5, 2.1, 2.6, 3.1];
const TARGETS: readonly Target[] = ['zstack', 'kernel', 'kernel-steered'];

/** What one run of the sender gave, per second. */
export interface Sample {
  readonly offered: number;
  readonly goodput: number;
  readonly median_us: number;
  readonly p99_us: number;
  /** How long it ran, the time that does not count included; seconds. */
  readonly total_s: number;
}

/**
 * Goodput on a CPU that server and engine have for themselves. Under more load than can be served they use all of their
 * CPU: what others took of it is missing in the goodput in proportion. Never more than was offered.
 * @param share of one CPU that server and engine used, 0 to 1
 */
export function undisturbed(sample: Pick<Sample, 'offered' | 'goodput'>, share: number): number {
  return share > 0 ? Math.max(sample.goodput, Math.min(sample.offered, sample.goodput / Math.min(share, 1))) : 0;
}

/** Reads what `load` printed. @throws LauncherError ZS1501 */
export function parseSample(stdout: string): Sample {
  const { seconds, total_seconds, sent, answered, median_us, p99_us } = JSON.parse(stdout) as Record<
    string,
    number | undefined
  >;
  if (
    seconds === undefined ||
    total_seconds === undefined ||
    sent === undefined ||
    answered === undefined ||
    !(seconds > 0)
  )
    throw new LauncherError('ZS1501', `no result: ${stdout}`);
  return {
    ...{ offered: sent / seconds, goodput: answered / seconds },
    ...{ median_us: median_us ?? 0, p99_us: p99_us ?? 0, total_s: total_seconds },
  };
}

/** Looks for a load that is more than can be served, by doubling, and twice more; returns the most that was served. */
export async function findCapacity(
  first: number,
  most: number,
  run: (rate: number) => Promise<Measured>,
): Promise<number> {
  let best = 0;
  for (let rate = first, over = 0; rate <= most && over < 3; rate *= 2) {
    const { offered, undisturbed: served } = await run(rate);
    best = Math.max(best, served);
    if (served < 0.85 * offered || offered < 0.85 * rate) over++;
  }
  return best;
}

/** The curve of one target from its points. */
export function curveOf(target: Target, points: readonly LoadPoint[]): Curve {
  return {
    ...{ target, points, ...shapeOf(points, 'goodput') },
    undisturbed: shapeOf(points, 'undisturbed'),
  };
}

type Which = 'goodput' | 'undisturbed';

function shapeOf(points: readonly LoadPoint[], which: Which): Curve['undisturbed'] {
  const peak = Math.max(...points.map((point) => point[which].median));
  const beyond = points.filter(({ offered }) => offered.median >= 2 * peak);
  const at = goodputAt(points, 2 * peak, which);
  return {
    ...{ peak, at_twice: at === undefined ? null : at / peak },
    least_beyond: beyond.length === 0 ? null : Math.min(...beyond.map((point) => point[which].median)) / peak,
  };
}

/** Goodput at an offered load between two measured ones; `undefined` beyond the last. */
export function goodputAt(points: readonly LoadPoint[], offered: number, which: Which = 'goodput'): number | undefined {
  const sorted = points.map((point) => ({ x: point.offered.median, y: point[which].median })).sort((a, b) => a.x - b.x);
  const next = sorted.findIndex(({ x }) => x >= offered);
  const [high, low] = [sorted[next], sorted[Math.max(0, next - 1)]];
  if (high === undefined || low === undefined) return undefined;
  return high.x === low.x ? high.y : low.y + ((high.y - low.y) * (offered - low.x)) / (high.x - low.x);
}

/**
 * Runs the experiment in two network namespaces of its own.
 * @throws LauncherError ZS1501 a program failed, ZS16xx the namespaces
 */
export async function runOverload(resolved: Resolved, plan: OverloadPlan): Promise<OverloadResult> {
  const allowed = allowedCpus();
  const cpus = { server: allowed[0] ?? 0, client: allowed[1] ?? allowed[0] ?? 0 };
  const bed = await Bed.open(resolved);
  try {
    const experiments: OverloadResult['experiments'][number][] = [];
    for (const protocol of plan.protocols) {
      const work = plan.work[protocol];
      experiments.push({ protocol, work_us: work, curves: await new Experiment(bed, cpus, plan, protocol).run() });
    }
    return { rounds: plan.rounds, seconds: plan.seconds, port: plan.port, cpus, experiments };
  } finally {
    await bed.remove();
  }
}

class Experiment {
  private readonly ports: Readonly<Record<'kernel' | 'zstack', number>>;
  /** Whose CPU time counts, by who serves. */
  private readonly pids: Record<'kernel' | 'zstack', () => number[]> = { kernel: () => [], zstack: () => [] };

  constructor(
    private readonly bed: Bed,
    private readonly cpus: OverloadResult['cpus'],
    private readonly plan: OverloadPlan,
    private readonly protocol: Protocol,
  ) {
    this.ports = { kernel: bed.next(), zstack: bed.next() };
  }

  async run(): Promise<Curve[]> {
    const { bed, cpus, plan } = this;
    bed.segment('kernel', true);
    const engine = await bed.startEngine(plan.port, 'near', cpus.server);
    const servers: Server[] = [];
    try {
      const [kernel, zstack] = [await this.serve('kernel', engine), await this.serve('zstack', engine)];
      servers.push(kernel, zstack);
      this.pids.kernel = () => kernel.pids();
      this.pids.zstack = () => [...zstack.pids(), engine.pid];
      bed.steer('far', 'kernel', cpus.client);
      bed.steer('far', bed.link(plan.port, 'zstack'), cpus.client);
      return await this.sweep();
    } finally {
      for (const server of servers) await server.stop();
      await bed.stopEngine(engine);
    }
  }

  private serve(world: 'kernel' | 'zstack', engine: WireEngine): Promise<Server> {
    const { bed, cpus, plan, protocol } = this;
    const work = String(Math.round(plan.work[protocol] * 1000));
    const command = [part('load'), `${protocol}-server`, String(this.ports[world]), work];
    const program = { command, cpu: cpus.server, netns: bed.names.near };
    return startServer(program, world, engine.name, (stdout) => stdout.includes('ready'));
  }

  /** Round by round all loads, and all targets for each: what else the machine does meets all of them alike. */
  private async sweep(): Promise<Curve[]> {
    const { plan, protocol } = this;
    const served = new Map<Target, number>();
    for (const target of TARGETS) {
      plan.progress(`overload, ${protocol}: what is served, ${TARGET_NAMES[target]}`);
      const first = protocol === 'udp' ? 10_000 : 1000;
      served.set(target, await findCapacity(first, 2_000_000, (rate) => this.load(target, rate)));
    }
    const points = await this.loads(LOADS, served, TARGETS);
    // The first look may have met a busy moment.
    const short = TARGETS.filter((target) => curveOf(target, points.get(target) ?? []).undisturbed.at_twice === null);
    for (const target of short) served.set(target, curveOf(target, points.get(target) ?? []).undisturbed.peak);
    const more = await this.loads(FAR_LOADS, served, short);
    return TARGETS.map((target) => curveOf(target, [...(points.get(target) ?? []), ...(more.get(target) ?? [])]));
  }

  private async loads(
    loads: readonly number[],
    served: ReadonlyMap<Target, number>,
    targets: readonly Target[],
  ): Promise<Map<Target, LoadPoint[]>> {
    const { rounds, progress } = this.plan;
    const samples = new Map<Target, Measured[][]>(targets.map((target) => [target, loads.map(() => [])]));
    const rate = (target: Target, load: number) => Math.round((served.get(target) ?? 0) * load);
    for (let round = 1; round <= rounds; round++) {
      for (const [i, load] of loads.entries()) {
        if (targets.length > 0)
          progress(`overload, ${this.protocol}: round ${round} of ${rounds}, ${load} times what is served`);
        for (const target of targets) samples.get(target)?.[i]?.push(await this.load(target, rate(target, load)));
      }
    }
    const point = (target: Target) => (each: Measured[], i: number) => pointOf(rate(target, loads[i] ?? 0), each);
    return new Map([...samples].map(([target, lists]) => [target, lists.map(point(target))]));
  }

  private async load(target: Target, rate: number): Promise<Measured> {
    const { bed, cpus, plan, protocol } = this;
    const world = target === 'zstack' ? 'zstack' : 'kernel';
    const host = bed.address(bed.link(plan.port, world), 'near');
    const command = [
      part('load'),
      protocol,
      host,
      String(this.ports[world]),
      String(plan.seconds),
      String(Math.max(1, rate)),
    ];
    if (world === 'kernel') bed.steer('near', 'kernel', target === 'kernel-steered' ? cpus.server : undefined);
    const program = { command, cpu: cpus.client, netns: bed.names.far };
    const pids = this.pids[world]();
    const before = cpuOf(pids);
    const sample = parseSample(await runProgram(program, 'kernel', '', plan.seconds * 4000 + 30_000));
    const share = (cpuOf(pids) - before) / sample.total_s;
    // What is queued at the server is to be gone before the next.
    await sleep(150);
    // Interrupts on the server's CPU are in no process' time.
    return { ...sample, undisturbed: target === 'kernel-steered' ? sample.goodput : undisturbed(sample, share) };
  }
}

export type Measured = Sample & { readonly undisturbed: number };

function pointOf(asked: number, samples: readonly Measured[]): LoadPoint {
  return {
    asked,
    offered: summarize(samples.map(({ offered }) => offered)),
    goodput: summarize(samples.map(({ goodput }) => goodput)),
    undisturbed: summarize(samples.map((sample) => sample.undisturbed)),
    median_us: median(samples.map((sample) => sample.median_us)),
    p99_us: median(samples.map((sample) => sample.p99_us)),
  };
}

/** The targets in words. */
export const TARGET_NAMES: Readonly<Record<Target, string>> = {
  zstack: 'Z-stack',
  kernel: "kernel, receive interrupts on the sender's CPU",
  'kernel-steered': "kernel, receive interrupts on the server's CPU",
};

const COLOURS: Readonly<Record<Target, string>> = { zstack: '#0b6bcb', kernel: '#8a8a8a', 'kernel-steered': '#c2410c' };
const WHAT: Readonly<Record<Protocol, string>> = {
  udp: 'UDP, requests of 64 bytes',
  tcp: 'TCP, a new connection per request',
};

/** The picture of a result. */
export function overloadChart(result: OverloadResult): Chart {
  return {
    title: 'Overload: goodput against offered load',
    panels: result.experiments.map(({ protocol, work_us, curves }) =>
      panelOf(`${WHAT[protocol]}, ${work_us} us of work each`, curves),
    ),
    notes: [
      `Z-stack over ${result.port}. Medians of ${result.rounds} runs of ${result.seconds} s, bars from smallest to largest; the sender never waits.`,
      `Server and engine together on one CPU, the sender on another one. zstack-run bench --overload`,
    ],
  };
}

function panelOf(title: string, curves: readonly Curve[]): Panel {
  const series = curves.map(({ target, points }): Series => {
    const drawn = points.map(({ offered, goodput }) => ({
      x: offered.median,
      y: goodput.median,
      min: goodput.min,
      max: goodput.max,
    }));
    return { name: TARGET_NAMES[target], colour: COLOURS[target], points: drawn, dashed: target !== 'zstack' };
  });
  const own = curves.find(({ target }) => target === 'zstack');
  const colour = COLOURS.zstack;
  const marks =
    own === undefined
      ? []
      : [
          { text: "95 % of Z-stack's peak", y: 0.95 * own.peak, colour },
          { text: 'twice the peak', x: 2 * own.peak, colour },
        ];
  return {
    title,
    xLabel: 'offered, requests/s',
    yLabel: 'goodput, answers/s',
    series,
    marks,
    diagonal: 'all answered',
  };
}
