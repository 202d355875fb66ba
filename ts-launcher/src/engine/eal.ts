/** The arguments for DPDK's EAL: huge pages, cores, prefix. */
import { readdirSync, readFileSync } from 'node:fs';
import { LauncherError } from '../errors.js';
import type { Options } from '../options/resolve.js';
import { ealDevices } from '../ports/arguments.js';
import type { PlannedPort } from '../ports/plan.js';
import { engineIdentity } from './name.js';

/**
 * Memory that DPDK itself gets (its heap, in MiB): control structures; with ports also packets that are sent, and with
 * F-Stack those that are received.
 */
const DPDK_MEMORY_MIB = { alone: 64, native: 128, fstack: 256 } as const;

/** What each worker beside the engine's thread needs of it: packets to send, tables. */
const WORKER_MEMORY_MIB = 16;

/** Huge pages of one size. `size` in KiB. */
export interface HugePages {
  readonly sizeKib: number;
  readonly total: number;
  readonly free: number;
}

/** The machine's huge pages, one entry per size; empty when the kernel has none. */
export function hugePages(root = '/sys/kernel/mm/hugepages'): HugePages[] {
  const number = (path: string) => Number(readFileSync(path, 'utf8'));
  try {
    return readdirSync(root).map((entry) => ({
      sizeKib: Number(/\d+/.exec(entry)?.[0] ?? 0),
      total: number(`${root}/${entry}/nr_hugepages`),
      free: number(`${root}/${entry}/free_hugepages`),
    }));
  } catch {
    return [];
  }
}

/** Free huge memory, MiB. */
export function freeHugeMib(pages = hugePages()): number {
  return pages.reduce((sum, { sizeKib, free }) => sum + (sizeKib * free) / 1024, 0);
}

/**
 * Expands a list of CPUs, `0,2-3`.
 * @returns the numbers, ascending as written; ranges that run backwards are empty
 */
export function parseCpuList(list: string): number[] {
  return list
    .trim()
    .split(',')
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number);
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
    });
}

/** CPUs that this process may use. */
export function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return list === undefined ? [0] : parseCpuList(list);
}

/**
 * The EAL's arguments for an engine.
 * @throws LauncherError ZS1206 huge pages required and none free, ZS1003 CPUs that are not allowed
 */
export function ealArguments(
  options: Options,
  ports: readonly PlannedPort[] = [],
  free = freeHugeMib(),
  allowed = allowedCpus(),
): string[] {
  const more = ports.length > 0 ? (options.workers - 1) * WORKER_MEMORY_MIB : 0;
  const memory = DPDK_MEMORY_MIB[ports.length > 0 ? options.stack : 'alone'] + more;
  const huge = options.hugepages === 'on' || (options.hugepages === 'auto' && free >= memory);
  if (huge && free < memory) {
    throw new LauncherError(
      'ZS1206',
      `${free} MiB of free huge pages, ${memory} MiB are needed`,
      `echo ${memory} > /proc/sys/vm/nr_hugepages as root, or --hugepages auto`,
    );
  }
  const cores = options.cores ?? String(allowed.at(-1) ?? 0);
  const forbidden = parseCpuList(cores).find((cpu) => !allowed.includes(cpu));
  if (forbidden !== undefined) {
    throw new LauncherError(
      'ZS1003',
      `--cores ${cores}: CPU ${forbidden} may not be used`,
      `allowed are ${allowed.join(',')}`,
    );
  }
  const chosen = [
    // No files shared with other DPDK processes; DPDK refuses --in-memory together with --no-huge.
    ...(huge ? ['--in-memory'] : ['--no-huge', '--no-shconf']),
    ...['-m', String(memory)],
    ...['--file-prefix', `zstack-${engineIdentity(options.engine)}`],
    '--no-pci',
    ...['-l', cores],
    `--log-level=*:${{ error: 'error', warn: 'warning', info: 'info', debug: 'debug' }[options.log]}`,
  ];
  return withDevices(chosen, [...ealDevices(ports, options.workers), ...options.eal]);
}

/** Devices and the user's arguments come last; one that asks for PCI devices takes `--no-pci` away. */
function withDevices(chosen: string[], more: readonly string[]): string[] {
  const wantsPci = more.some((arg) => arg === '-a' || arg.startsWith('--allow') || /^-a./.test(arg));
  const wantsNoPciTwice = more.includes('--no-pci');
  return [...chosen.filter((arg) => arg !== '--no-pci' || (!wantsPci && !wantsNoPciTwice)), ...more];
}
