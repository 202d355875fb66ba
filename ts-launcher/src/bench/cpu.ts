/** CPU time: of processes, and of the whole machine. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { descendants } from './processes.js';

/** The unit of the times in /proc, as the kernel shows them to programs: a hundredth of a second. */
const TICK_S = 0.01;

/** Fields of /proc/PID/stat after the name, which is in brackets and may contain anything; their sum, seconds. */
function processTicks(text: string, fields: readonly number[]): number {
  const all = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.reduce((sum, i) => sum + Number(all[i]), 0) * TICK_S;
}

/** User and system time, of all threads, in /proc/PID/stat; seconds. */
export function parseProcessStat(text: string): number {
  return processTicks(text, [11, 12]);
}

/** The same with the children that ended and were waited for; seconds. */
export function parseFamilyStat(text: string): number {
  return processTicks(text, [11, 12, 13, 14]);
}

/** The first line of /proc/stat: the sum of these fields, of all CPUs; seconds. */
function machineTicks(text: string, fields: readonly (keyof typeof MACHINE)[]): number {
  const all = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '').split(' ').map(Number);
  return fields.reduce((sum, name) => sum + (all[MACHINE[name]] ?? 0), 0) * TICK_S;
}

const MACHINE = { user: 0, nice: 1, system: 2, irq: 5, softirq: 6, steal: 7 } as const;

/** The time in /proc/stat that programs had, and other virtual machines; no interrupts; seconds. */
export function parseProgramsStat(text: string): number {
  return machineTicks(text, ['user', 'nice', 'system', 'steal']);
}

/** All the time in /proc/stat that some CPU was not idle; seconds. Interrupts and soft interrupts included. */
export function parseMachineStat(text: string): number {
  return machineTicks(text, ['user', 'nice', 'system', 'irq', 'softirq', 'steal']);
}

/** CPU time of these processes, as far as they still exist; seconds. */
export function cpuOf(pids: readonly number[], parse = parseProcessStat): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + parse(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return sum;
    }
  }, 0);
}

/** CPU time of everything on this machine; seconds. */
export function cpuOfMachine(): number {
  return parseMachineStat(readFileSync('/proc/stat', 'utf8'));
}

/** Of the line of one CPU in /proc/stat: the time that it was not idle, and all of its time; seconds. */
export function parseCpuStat(text: string, cpu: number): { readonly busy: number; readonly all: number } {
  const fields = (new RegExp(`^cpu${cpu} +(.*)$`, 'm').exec(text)?.[1] ?? '').split(' ').map(Number);
  const sum = (names: readonly number[]) => names.reduce((total, i) => total + (fields[i] ?? 0), 0) * TICK_S;
  const busy = sum(Object.values(MACHINE));
  return { busy, all: busy + sum(IDLE) };
}

/** Fields of /proc/stat: idle, and waiting for a disk. */
const IDLE = [3, 4] as const;

/** How busy one CPU is. */
export class Busy {
  private readonly before: { readonly busy: number; readonly all: number };

  constructor(private readonly cpu: number) {
    this.before = this.look();
  }

  private look() {
    return parseCpuStat(readFileSync('/proc/stat', 'utf8'), this.cpu);
  }

  /** From 0 to 1, since this object was made; NaN when no time has passed. */
  share(): number {
    const { busy, all } = this.look();
    return (busy - this.before.busy) / (all - this.before.all);
  }
}

/** What programs that have no part in a measurement take of the CPUs while it runs. */
export class Others {
  private readonly begin = performance.now();
  private readonly before: number;

  /** @param roots the processes that belong to the measurement, beside this one; their children do as well */
  constructor(private readonly roots: readonly number[]) {
    this.before = this.time();
  }

  private time(): number {
    const family = [process.pid, ...this.roots].flatMap((pid) => [pid, ...descendants(pid)]);
    return parseProgramsStat(readFileSync('/proc/stat', 'utf8')) - cpuOf([...new Set(family)], parseFamilyStat);
  }

  /** From 0 to 1, since this object was made. */
  share(): number {
    const seconds = ((performance.now() - this.begin) / 1000) * availableParallelism();
    return Math.min(Math.max((this.time() - this.before) / seconds, 0), 1);
  }
}
