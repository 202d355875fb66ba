/** Benchmarks: what is computed of measurements, what is read of other programs, the picture, and the namespaces. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { wireProblem } from '../src/bench/bed.js';
import { CASES, json, wrkRequests } from '../src/bench/cases.js';
import { escapeXml, short, svg, ticks, type Chart } from '../src/bench/chart.js';
import {
  cpuOf,
  parseCpuStat,
  parseFamilyStat,
  parseMachineStat,
  parseProcessStat,
  parseProgramsStat,
} from '../src/bench/cpu.js';
import {
  curveOf,
  findCapacity,
  goodputAt,
  overloadChart,
  parseSample,
  undisturbed,
  type LoadPoint,
  type OverloadResult,
} from '../src/bench/overload.js';
import { pathName, parseBulk, queueOf, usualPaths, type PathRow } from '../src/bench/path.js';
import { commandLine } from '../src/bench/processes.js';
import { parseScale } from '../src/bench/scale.js';
import { summarize } from '../src/bench/statistics.js';
import { DEFAULT_WIRE, WIRE_CASES } from '../src/bench/wire-cases.js';
import { overloadText, pathText } from '../src/commands/bench-text.js';
import { ROOT } from '../src/paths.js';
import { outcome, Sandbox } from './support.js';

const box = new Sandbox();
afterAll(() => box.remove());

function point(offered: number, goodput: number): LoadPoint {
  return {
    ...{ asked: offered, offered: summarize([offered]), goodput: summarize([goodput]) },
    ...{ undisturbed: summarize([goodput]), median_us: 1, p99_us: 2 },
  };
}

describe('CPU time', () => {
  test('of a process whose name has blanks and brackets', () => {
    const text = '12 (a) b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 1 0 1234';
    expect(parseProcessStat(text)).toBeCloseTo(3);
    expect(parseFamilyStat(text)).toBeCloseTo(3.14);
  });

  test('of programs: without interrupts', () => {
    expect(parseProgramsStat('cpu  100 10 50 9000 700 5 25 10 0 0\n')).toBeCloseTo(1.7);
  });

  test('of a family: a child that has ended counts, and its parent alone does not have it', () => {
    const times = () => [cpuOf([process.pid], parseFamilyStat), cpuOf([process.pid])] as const;
    const [family, own] = times();
    const burn = 'while (process.cpuUsage().user < 200_000);';
    execFileSync(process.execPath, ['-e', burn], { timeout: 60_000 });
    const [familyAfter, ownAfter] = times();
    expect(familyAfter - family - (ownAfter - own)).toBeGreaterThan(0.15);
  });

  test('of the machine: all but idle and waiting', () => {
    const text = 'cpu  100 10 50 9000 700 5 25 10 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nctxt 12\n';
    expect(parseMachineStat(text)).toBeCloseTo(2);
  });

  test('of one CPU: what it was busy, and all', () => {
    const text = 'cpu  100 10 50 9000 700 5 25 10 0 0\ncpu1 100 0 50 1000 700 5 25 20 0 0\ncpu11 1 1 1 1 1 1 1 1 0 0\n';
    expect(parseCpuStat(text, 1).busy).toBeCloseTo(2);
    expect(parseCpuStat(text, 1).all).toBeCloseTo(19);
  });
});

describe('what other programs print', () => {
  test('wrk', () => {
    expect(wrkRequests('  131072 requests in 1.10s, 21.0MB read\nRequests/sec: 119156.3\n')).toBe(131072);
    expect(() => wrkRequests('unable to connect')).toThrow('wrk printed no result');
  });

  test('JSON', () => {
    expect(json('round_trips')('{"round_trips":7,"median_ns":1}')).toBe(7);
    expect(() => json('x')('{"y":1}')).toThrow('no x in the result');
  });

  test('the load: only what was sent was offered', () => {
    const stdout =
      '{"seconds":2,"total_seconds":3,"sent":900,"refused":100,"answered":400,"late":0,"median_us":5,"p99_us":9}';
    expect(parseSample(stdout)).toEqual({ offered: 450, goodput: 200, median_us: 5, p99_us: 9, total_s: 3 });
    expect(() => parseSample('{"seconds":0,"sent":1,"answered":1}')).toThrow('no result');
  });
});

describe('cases over a wire', () => {
  test('every kind of port has round trips, nginx, a stream and floods; names are unique', () => {
    const names = WIRE_CASES.map(({ name }) => name);
    for (const kind of ['af_packet', 'af_xdp', 'tap', 'memif'])
      for (const what of ['round-trip', 'nginx', 'stream', 'frames-in', 'frames-out'])
        expect(names).toContain(`${kind}-${what}`);
    expect(new Set([...names, ...CASES.map(({ name }) => name)]).size).toBe(names.length + CASES.length);
    expect(names).toEqual(expect.arrayContaining([...DEFAULT_WIRE]));
  });

  test('a program in a namespace, on its CPU, in its world', () => {
    const program = { command: ['server', '80'], cpu: 1, netns: 'n' };
    const inside = ['ip', 'netns', 'exec', 'n'];
    const pinned = ['taskset', '-c', '1', 'server', '80'];
    expect(commandLine(program, 'kernel', 'e')).toEqual([...inside, ...pinned]);
    expect(commandLine(program, 'zstack', 'e')).toEqual([
      ...[...inside, join(ROOT, 'zstack-run'), '--quiet', '--engine', 'e', '--'],
      ...pinned,
    ]);
  });
});

describe('emulated paths', () => {
  const kind = { rate: 1000, rtt: 10, loss: 0.1, late: 0, by: 0 };
  const row = (ratio: number, others: number): PathRow => ({
    ...kind,
    ...{
      direction: 'send',
      kernel: summarize([100]),
      zstack: summarize([100 * ratio]),
      ratio,
      accelerated: true,
      others,
    },
  });

  test('every loss with every delay, and reordering; a queue of a round trip, 2 ms at least', () => {
    const names = usualPaths(1000).map(pathName);
    expect(names).toContain('0 ms, 0 % lost');
    expect(names).toContain('50 ms, 5 % lost');
    expect(names).toContain('10 ms, 0 % lost, 25 % late by 1 ms');
    expect(new Set(names).size).toBe(14);
    expect(queueOf(kind)).toBe(1_250_000);
    expect(queueOf({ ...kind, rtt: 0 })).toBe(250_000);
  });

  test('round trips and losses that are asked for; reordering with both of its own only', () => {
    expect(usualPaths(0, { rtt: [50, 200], loss: [0.1] }).map(pathName)).toEqual([
      '50 ms, 0.1 % lost',
      '200 ms, 0.1 % lost',
    ]);
    expect(usualPaths(100, { rtt: [10] }).map(pathName)).toContain('10 ms, 0 % lost, 1 % late by 4 ms');
    expect(usualPaths(100, { loss: [0.1, 1] })).toHaveLength(6);
  });

  test('goodput is read of what was received, in the time that it took', () => {
    expect(parseBulk('{"bytes":1000000,"seconds":2}')).toBe(4);
    expect(() => parseBulk('{"bytes":1000000,"seconds":0}')).toThrow('no result');
    expect(() => parseScale('{"connections":10}')).toThrow('no result');
  });

  test('the table says where others had a part in it', () => {
    const plan = { rounds: 1, seconds: 1, congestion: 'cubic' };
    const quiet = pathText({ ...plan, rows: [row(0.9, 0.01), row(1.2, 0.02)] });
    expect(quiet).toContain('in 50 % of the rows, the middle ratio x1.05');
    expect(quiet).not.toContain('DISTURBED');
    expect(pathText({ ...plan, rows: [row(0.9, 0.01), row(1.2, 0.3)] })).toContain('DISTURBED: in 1 of 2 rows');
  });

  test('without a bottleneck nothing is judged', () => {
    const free = pathText({ rounds: 1, seconds: 1, congestion: 'cubic', rows: [{ ...row(0.5, 0.01), rate: 0 }] });
    expect(free).toContain('x0.50');
    expect(free).toContain('no bottleneck');
    expect(free).not.toMatch(/% of the rows|middle ratio/);
  });
});

describe('overload', () => {
  const rest = { median_us: 0, p99_us: 0, total_s: 1 };

  test('what is served is found by doubling, until answers are missing, and twice more', async () => {
    const asked: number[] = [];
    const served = await findCapacity(10, 1000, (rate) => {
      asked.push(rate);
      return Promise.resolve({ offered: rate, goodput: Math.min(rate, 45), undisturbed: Math.min(rate, 50), ...rest });
    });
    expect(served).toBe(50);
    expect(asked).toEqual([10, 20, 40, 80, 160, 320]);
  });

  test('or until the sender cannot send more', async () => {
    const run = (rate: number) =>
      Promise.resolve({ offered: Math.min(rate, 30), goodput: 25, undisturbed: 25, ...rest });
    expect(await findCapacity(20, 1000, run)).toBe(25);
  });

  test('what others took of the CPU is made up for, up to what was offered', () => {
    expect(undisturbed({ offered: 100, goodput: 40 }, 0.5)).toBe(80);
    expect(undisturbed({ offered: 50, goodput: 40 }, 0.5)).toBe(50);
    expect(undisturbed({ offered: 100, goodput: 90 }, 1.02)).toBe(90);
    expect(undisturbed({ offered: 100, goodput: 0 }, 0)).toBe(0);
  });

  test('goodput between two points, and none beyond the last', () => {
    const points = [point(100, 100), point(200, 120), point(50, 50)];
    expect(goodputAt(points, 150)).toBe(110);
    expect(goodputAt(points, 50)).toBe(50);
    expect(goodputAt(points, 201)).toBeUndefined();
  });

  test('a curve: its peak, its goodput at twice the load of the peak, the least beyond', () => {
    const flat = curveOf('zstack', [point(50, 50), point(100, 100), point(200, 98), point(300, 96)]);
    expect(flat).toMatchObject({ peak: 100, at_twice: 0.98, least_beyond: 0.96 });
    expect(curveOf('kernel', [point(50, 50), point(90, 70)])).toMatchObject({ at_twice: null, least_beyond: null });
  });
});

describe('the picture', () => {
  const curve = curveOf('zstack', [point(50_000, 50_000), point(100_000, 97_000), point(200_000, 96_000)]);
  const result: OverloadResult = {
    ...{ rounds: 3, seconds: 1, port: 'af_packet', cpus: { server: 0, client: 1 } },
    experiments: [{ protocol: 'udp', work_us: 10, curves: [curve, curveOf('kernel', [point(50_000, 40_000)])] }],
  };

  test('round ticks that reach the largest value', () => {
    expect(ticks(97)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticks(0.3)).toEqual([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
    expect(ticks(0)).toEqual([0, 1]);
    for (const max of [1, 7, 33, 12_345, 2e6]) expect(ticks(max).at(-1)).toBeGreaterThanOrEqual(max * 0.999);
  });

  test('short numbers, safe text', () => {
    expect([0, 250, 1500, 120_000, 2_500_000].map(short)).toEqual(['0', '250', '1.5k', '120k', '2.5M']);
    expect(escapeXml('a<b & "c"')).toBe('a&lt;b &amp; &quot;c&quot;');
  });

  test('axes with units, legend, the line of 95 %, all inside the picture', () => {
    const picture = svg(overloadChart(result));
    for (const words of ['offered, requests/s', 'goodput, answers/s', 'Z-stack', 'all answered', 'twice the peak'])
      expect(picture).toContain(`>${words}</text>`);
    expect(picture).toContain('95 % of Z-stack');
    expect(picture.match(/<polyline/g)).toHaveLength(2);
    expect(picture).not.toMatch(/NaN|Infinity|undefined/);
    // Nothing from elsewhere but the name of the format.
    expect(picture.match(/https?:[^"]*/g)).toEqual(['http://www.w3.org/2000/svg']);
    const [, width = '0', height = '0'] = /viewBox="0 0 (\d+) (\d+)"/.exec(picture) ?? [];
    for (const [, x = '', y = ''] of picture.matchAll(/<circle cx="([\d.-]+)" cy="([\d.-]+)"/g)) {
      expect(Number(x)).toBeLessThanOrEqual(Number(width));
      expect(Number(y)).toBeLessThanOrEqual(Number(height));
    }
  });

  test('well-formed, even without a single point', () => {
    const empty: Chart = {
      title: 'a & b',
      panels: [{ title: '<none>', xLabel: '', yLabel: '', series: [], marks: [] }],
      notes: [],
    };
    for (const picture of [svg(empty), svg(overloadChart(result))]) {
      const check = 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.stdin.buffer)';
      execFileSync('python3', ['-c', check], { input: picture });
    }
  });

  test('the table says what the sender did not reach', () => {
    const text = overloadText(result);
    expect(text).toContain('at twice the peak: 99.0 % of the peak; the least beyond: 99.0 % of the peak');
    expect(text).toContain('at twice the peak: the sender did not come so far');
  });
});

describe('bench on the command line', () => {
  test('an unknown case is refused', async () => {
    const { status, stderr } = await box.run(['bench', '--only', 'tap-nothing']);
    expect(status).toBe(2);
    expect(stderr).toContain('expected one of round-trip, ');
  });

  const build = process.env['ZSTACK_BUILD_DIR'] ?? join(ROOT, 'build');
  const built = ['zstackd', 'apps/load-c/load', 'apps/echo-c/pingpong'].every((file) => existsSync(join(build, file)));
  const real = wireProblem() === undefined && built ? test : test.skip;
  const env = { ZSTACK_BUILD_DIR: build, ZSTACK_ZSTACKD: join(build, 'zstackd') };
  const left = (pid: number | undefined) =>
    execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).includes(`zsb-${pid ?? ''}-`);

  real(
    'round trips over a wire, for real, and nothing is left',
    async () => {
      const args = ['bench', '--quiet', '--rounds', '1', '--seconds', '1', '--json', '--only', 'af_packet-round-trip'];
      const child = box.start(args, { env });
      const { status, stdout, stderr } = await outcome(child);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({ wire: [{ name: 'af_packet-round-trip', accelerated: true }] });
      expect(left(child.pid)).toBe(false);
    },
    60_000,
  );

  real(
    'a signal ends it, and takes the namespaces away',
    async () => {
      const args = ['bench', '--rounds', '1', '--seconds', '20', '--only', 'af_packet-round-trip'];
      const child = box.start(args, { env });
      await new Promise<void>((resolve) => {
        child.stderr?.on('data', (chunk: Buffer) => {
          if (chunk.toString().includes('round 1')) setTimeout(resolve, 500);
        });
      });
      expect(left(child.pid)).toBe(true);
      const end = outcome(child);
      child.kill('SIGTERM');
      expect(await end).toMatchObject({ signal: 'SIGTERM' });
      expect(left(child.pid)).toBe(false);
    },
    60_000,
  );
});
