/** What the native stack itself costs, on a simulated wire, by the number of connections (engine-native/bench). */
import { allowedCpus } from '../engine/eal.js';
import { LauncherError } from '../errors.js';
import { part } from '../paths.js';
import { runProgram } from './processes.js';
import { summarize, type Summary } from './statistics.js';

export const SCALE_CONNECTIONS = [10, 1000, 100_000, 1_000_000] as const;

/** What one run of `stack_bench` prints. */
export interface ScaleSample {
  readonly connections: number;
  /** Nanoseconds per received segment, the bursts' look-up off and on. */
  readonly one_by_one_ns: number;
  readonly together_ns: number;
  /** What a second of virtual time costs in which nothing happens. */
  readonly idle_second_ns: number;
  /** Pairs of sessions that the connections share. */
  readonly pairs: number;
  /** Engine memory of an idle connection: its state with its share of the tables, its session in the arena, and the sum. */
  readonly connection_bytes: number;
  readonly session_bytes: number;
  readonly idle_bytes: number;
}

/** Several runs with the same number of connections. */
export interface ScaleRow extends Pick<
  ScaleSample,
  'connections' | 'pairs' | 'connection_bytes' | 'session_bytes' | 'idle_bytes'
> {
  readonly oneByOne: Summary;
  readonly together: Summary;
  readonly idle: Summary;
}

/** Reads what `stack_bench` printed. @throws LauncherError ZS1501 */
export function parseScale(stdout: string): ScaleSample {
  const sample = JSON.parse(stdout) as Partial<ScaleSample>;
  if (!(sample.together_ns !== undefined && sample.together_ns > 0))
    throw new LauncherError('ZS1501', `no result: ${stdout}`);
  return sample as ScaleSample;
}

/** @throws LauncherError ZS1501 the program failed */
export async function runScale(
  rounds: number,
  segments: number,
  progress: (text: string) => void,
): Promise<ScaleRow[]> {
  const cpu = allowedCpus()[0] ?? 0;
  const rows: ScaleRow[] = [];
  for (const connections of SCALE_CONNECTIONS) {
    const samples: ScaleSample[] = [];
    for (let round = 1; round <= rounds; round++) {
      progress(`${connections.toLocaleString('en')} connections: round ${round} of ${rounds}`);
      const command = [part('stackBench'), String(connections), String(segments)];
      samples.push(parseScale(await runProgram({ command, cpu }, 'kernel', '', 600_000)));
    }
    const [first] = samples;
    if (first === undefined) continue;
    const { pairs, connection_bytes, session_bytes, idle_bytes } = first;
    rows.push({
      ...{ connections, pairs, connection_bytes, session_bytes, idle_bytes },
      oneByOne: summarize(samples.map((sample) => sample.one_by_one_ns)),
      together: summarize(samples.map((sample) => sample.together_ns)),
      idle: summarize(samples.map((sample) => sample.idle_second_ns)),
    });
  }
  return rows;
}
