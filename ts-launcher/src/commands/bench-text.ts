/** Results of benchmarks for people. */
import { TARGET_NAMES, type OverloadResult } from '../bench/overload.js';
import { atLeast, disturbed, middleRatio, pathName, QUIET, type PathResult } from '../bench/path.js';
import type { BenchResult, CaseResult } from '../bench/run.js';
import type { AdapterResult, StackResult } from '../bench/stacks.js';
import type { Summary } from '../bench/statistics.js';
import type { ScaleRow } from '../bench/scale.js';
import type { WireResult } from '../bench/wire.js';
import { plainTable } from './format.js';

/** The results on this host. */
export function benchText(result: BenchResult): string {
  const { server, client } = result.cpus;
  const foot = [
    `medians of ${result.rounds} rounds of ${result.seconds} s, alternating; server on CPU ${server}, client on CPU ${client}`,
  ];
  if (result.raw_round_trip_ns !== null)
    foot.push(`a cache line there and back between the two CPUs: ${result.raw_round_trip_ns} ns`);
  const median = (name: string) => result.cases.find((each) => each.name === name)?.zstack.median;
  const [posix, zero] = [median('stream'), median('stream-zero')];
  if (posix !== undefined && zero !== undefined)
    foot.push(`stream: the zero-copy calls are ${(zero / posix).toFixed(2)} times as fast as read and write`);
  const growth = (world: 'kernel' | 'zstack') => {
    const [few, most] = ['messages-10', 'messages-50000'].map((name) =>
      result.cases.find((each) => each.name === name),
    );
    return few && most ? most[world].median / few[world].median : undefined;
  };
  const [grown, kernelGrown] = [growth('zstack'), growth('kernel')];
  if (grown !== undefined && kernelGrown !== undefined)
    foot.push(
      `a message costs ${grown.toFixed(2)} times as much with 50,000 connections as with 10 (kernel: ${kernelGrown.toFixed(2)})`,
    );
  for (const { name, lines } of result.cases)
    if (lines !== undefined)
      foot.push(
        `${name}: ${lines.median.toFixed(2)} times the cache line's (${lines.min.toFixed(2)} to ${lines.max.toFixed(2)})`,
      );
  if (result.cases.some(({ accelerated }) => !accelerated)) {
    foot.push('NO: the engine saw no accelerated pair, both columns are the kernel; see `zstack-run why`');
  }
  return `${caseTable(result.cases)}\n\n${foot.join('\n')}`;
}

function caseTable(cases: readonly CaseResult[]): string {
  const rows = cases.map(({ name, unit, kernel, zstack, ratio, accelerated }) => [
    name,
    unit,
    figure(kernel.median),
    spread(kernel),
    figure(zstack.median),
    spread(zstack),
    `x${ratio.toFixed(2)}`,
    accelerated ? 'yes' : 'NO',
  ]);
  return plainTable(
    ['case', 'unit', 'kernel', '(min..max)', 'Z-stack', '(min..max)', 'better', 'accelerated'],
    rows,
    [2, 4, 6],
  );
}

/** The results over a wire. */
export function wireText(
  results: readonly WireResult[],
  { rounds, seconds }: { rounds: number; seconds: number },
): string {
  const foot = [
    `over a wire: medians of ${rounds} rounds of ${seconds} s, alternating; two network namespaces, server and engine on one CPU, client on another one`,
    'kernel: a kernel server behind a veth, with frames of 1514 bytes but for -large; memif: a Z-stack client with an engine of its own',
  ];
  const texts = [caseTable(results), cpuTable(results), frameTable(results), foot.join('\n')];
  return texts.filter((text) => text !== '').join('\n\n');
}

/** The results of both TCP/IP stacks. */
export function stackText(
  results: readonly StackResult[],
  { rounds, seconds }: { rounds: number; seconds: number },
): string {
  const rows = results.map(({ name, unit, native, fstack, ratio, clientBusy }) => [
    ...[name, unit, figure(native.median), spread(native), figure(fstack.median), spread(fstack)],
    ...[times(ratio), `${percent(clientBusy.native)}, ${percent(clientBusy.fstack)}`],
  ]);
  const table = plainTable(
    ['case', 'unit', 'native', '(min..max)', 'F-Stack', '(min..max)', 'better', "client's CPU busy"],
    rows,
    [2, 4, 6],
  );
  const foot = results.flatMap((result) => (result.adapter === undefined ? [] : [besideText(result, result.adapter)]));
  return `${[table, ...foot].join('\n\n')}\n\nboth under Z-stack over a wire: medians of ${rounds} rounds of ${seconds} s, alternating; server and engine on one CPU, client on another one`;
}

const PLACED = {
  'one CPU': 'stack and nginx on the one CPU of the rows above',
  'two CPUs': 'the stack alone on that CPU, nginx beside the client, as its documentation asks for',
} as const;

/** F-Stack under Z-stack and under its own adapter, with the same CPUs each. */
function besideText({ name, unit, ratio: ofNative }: StackResult, results: readonly AdapterResult[]): string {
  const rows = results.map(({ placement, adapter, fstack, ratio, clientBusy }) => [
    ...[PLACED[placement], figure(adapter.median), spread(adapter), figure(fstack.median), spread(fstack)],
    ...[times(ratio), `${percent(clientBusy.adapter)}, ${percent(clientBusy.fstack)}`],
  ]);
  const head = [
    `${name}, ${unit}`,
    'own adapter',
    '(min..max)',
    'Z-stack',
    '(min..max)',
    'better',
    "client's CPU busy",
  ];
  const best = (side: 'adapter' | 'fstack') => Math.max(...results.map((each) => each[side].median));
  const cheapest = (side: 'adapter' | 'fstack') => Math.max(...results.map(({ perCpu }) => perCpu[side]));
  const shares = results.map(({ placement, perCpu }) => [
    ...[PLACED[placement], figure(perCpu.adapter), figure(perCpu.fstack), times(perCpu.fstack / perCpu.adapter)],
  ]);
  const goals = [
    `the better placement of each: ${times(best('fstack') / best('adapter'))}, goal ${times(ADAPTER_GOAL)}`,
    `of the native stack: ${times(ofNative)}, goal ${times(NATIVE_GOAL)}`,
    "a client's CPU that is full bounds what is measured, whatever serves it; what the CPUs of stack and program would serve if it did not:",
    plainTable(['requests for each second of their CPU time', 'own adapter', 'Z-stack', 'better'], shares, [1, 2, 3]),
    `the better placement of each: ${times(cheapest('fstack') / cheapest('adapter'))}`,
  ];
  return `F-Stack under its own adapter and under Z-stack, on the same CPUs\n${plainTable(head, rows, [1, 3, 5])}\n${goals.join('\n')}`;
}

/** How many times F-Stack's own adapter, and how much of the native stack, F-Stack under Z-stack is meant to be. */
const ADAPTER_GOAL = 3;
const NATIVE_GOAL = 0.8;

const times = (ratio: number) => `x${ratio.toFixed(2)}`;
const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

function cpuTable(results: readonly WireResult[]): string {
  const rows = results.flatMap(({ name, cpu }) => {
    if (cpu === undefined) return [];
    const { kernel, zstack } = cpu;
    const sides = [kernel.server, zstack.server, kernel.machine, zstack.machine];
    return [[name, ...sides.flatMap((side) => [fine(side.median), `(${fine(side.min)}..${fine(side.max)})`])]];
  });
  if (rows.length === 0) return '';
  const sides = ['server: kernel', 'server + engine: Z-stack', 'machine: kernel', 'machine: Z-stack'];
  const head = ['CPU us per request', ...sides.flatMap((side) => [side, '(min..max)'])];
  return `${plainTable(head, rows, [1, 3, 5, 7])}\nmachine: all CPU time that was not idle, the client's and interrupts' included`;
}

function frameTable(results: readonly WireResult[]): string {
  const rows = results.flatMap(({ name, frames }) =>
    frames === undefined
      ? []
      : (['kernel', 'zstack'] as const).map((world) => {
          const { sent, port, delivered } = frames[world];
          return [
            ...[name, world === 'kernel' ? 'kernel' : 'Z-stack', figure(sent.median)],
            ...[figure(port.median), spread(port), figure(delivered.median)],
          ];
        }),
  );
  if (rows.length === 0) return '';
  return plainTable(
    ['frames/s', 'served by', 'handed over', 'at the port', '(min..max)', 'delivered'],
    rows,
    [2, 3, 5],
  );
}

/** The stack's cost by the number of connections. */
export function scaleText(rows: readonly ScaleRow[], rounds: number): string {
  const cells = rows.map((row) => [
    ...[figure(row.connections), figure(row.oneByOne.median), spread(row.oneByOne), figure(row.together.median)],
    ...[spread(row.together), figure(row.idle.median), figure(row.connection_bytes), figure(row.session_bytes)],
    figure(row.idle_bytes),
  ]);
  const head = ['connections', 'ns, one by one', '(min..max)', 'ns, together', '(min..max)', 'idle second, ns'];
  const foot = [
    `medians of ${rounds} rounds: a received segment of 64 bytes with its delivery, timer and ACK, each for a connection chosen at random, bursts of 32`,
    'together: what a burst needs is looked up and fetched before it is worked on; memory per idle connection: its state and share of the tables, the session in the arena, and both (with few, what the stack has once is most of it)',
  ];
  const table = plainTable([...head, 'state, B', 'session, B', 'sum, B'], cells, [0, 1, 3, 5, 6, 7, 8]);
  return `${table}\n\n${foot.join('\n')}`;
}

/** Bulk goodput over emulated paths. */
export function pathText(result: PathResult): string {
  const rows = result.rows.map(({ direction, kernel, zstack, ratio, accelerated, ...kind }) => [
    ...[pathName(kind), direction, kernel.median.toFixed(1), tenths(kernel), zstack.median.toFixed(1), tenths(zstack)],
    ...[`x${ratio.toFixed(2)}`, accelerated ? 'yes' : 'NO', `${(100 * kind.others).toFixed(0)} %`],
  ]);
  const head = [
    'round trip and loss',
    'near end',
    'kernel',
    '(min..max)',
    'Z-stack',
    '(min..max)',
    'ratio',
    'engine',
    'others',
  ];
  const rate = result.rows[0]?.rate ?? 0;
  const bottleneck =
    rate === 0 ? 'no bottleneck' : `a bottleneck of ${rate} Mbit/s with a queue of one round trip (2 ms at least)`;
  // Without a limit it is the CPUs that are shared: a figure, no comparison of the stacks.
  const verdict = `at least the kernel's in ${(100 * atLeast(result)).toFixed(0)} % of the rows, the middle ratio x${middleRatio(result).toFixed(2)}`;
  const foot = [
    `Mbit/s of payload, every byte checked: medians of ${result.rounds} rounds of ${result.seconds} s, alternating; ${result.congestion}, ${bottleneck}`,
    `both ends' kernels and the emulated path share this machine's CPUs; Z-stack over af_packet; ${rate === 0 ? 'not judged, for these limit it' : verdict}`,
  ];
  const busy = disturbed(result);
  if (busy > 0)
    foot.push(
      `DISTURBED: in ${busy} of ${result.rows.length} rows other programs took more than ${100 * QUIET} % of the CPUs; measure again on a quiet machine`,
    );
  return `${plainTable(head, rows, [2, 4, 6, 8])}\n\n${foot.join('\n')}`;
}

function tenths({ min, max }: Summary): string {
  return `(${min.toFixed(1)}..${max.toFixed(1)})`;
}

/** The overload experiment: a table per protocol and server. */
export function overloadText(result: OverloadResult): string {
  const { cpus } = result;
  const tables = result.experiments.flatMap(({ protocol, work_us, curves }) =>
    curves.map(({ target, points, peak, at_twice, least_beyond, undisturbed }) => {
      const rows = points.map(({ offered, goodput, undisturbed, median_us, p99_us }) => [
        ...[
          figure(offered.median),
          figure(goodput.median),
          spread(goodput),
          `${((100 * goodput.median) / peak).toFixed(1)} %`,
          figure(undisturbed.median),
        ],
        ...[`x${(offered.median / peak).toFixed(2)}`, figure(median_us), figure(p99_us)],
      ]);
      const head = ['offered/s', 'goodput/s', '(min..max)', 'of peak', 'undisturbed', 'load', 'median us', '99 % us'];
      const share = (value: number | null) =>
        value === null ? 'the sender did not come so far' : `${(100 * value).toFixed(1)} % of the peak`;
      const name = target === 'zstack' ? `Z-stack over ${result.port}` : TARGET_NAMES[target];
      return [
        `${protocol.toUpperCase()}, ${work_us} us of work per request, ${name}`,
        plainTable(head, rows, [0, 1, 3, 4, 5, 6, 7]),
        `at twice the peak: ${share(at_twice)}; the least beyond: ${share(least_beyond)}`,
        `undisturbed (what others took of the server's CPU made up for): ${share(undisturbed.at_twice)}; ${share(undisturbed.least_beyond)}`,
      ].join('\n');
    }),
  );
  const foot = `medians of ${result.rounds} rounds of ${result.seconds} s, alternating; server and engine on CPU ${cpus.server}, sender on CPU ${cpus.client}`;
  return [...tables, foot].join('\n\n');
}

function figure(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function fine(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : '?';
}

function spread({ min, max }: Summary): string {
  return `(${figure(min)}..${figure(max)})`;
}
