/** CPU time: of processes, and of the whole machine. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { descendants } from './processes.js';

/** The unit of the times in /proc, as the kernel shows them to programs: a hundredth of a second. */
const TICK_S = 0.01;

/** User and system time, of all threads, in /proc/PID/stat; seconds. */
export function parseProcessStat(text: string): number {
  // The name, in brackets, may contain anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_S;
}

/** The same with the children that ended and were waited for; seconds. */
export function parseFamilyStat(text: string): number {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0) * TICK_S;
}

/** The time in /proc/stat that programs had, and other virtual machines; no interrupts; seconds. */
export function parseProgramsStat(text: string): number {
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '')
    .split(' ')
    .map(Number);
  return (user + nice + system + steal) * TICK_S;
}

/** All the time in /proc/stat that some CPU was not idle; seconds. Interrupts and soft interrupts included. */
export function parseMachineStat(text: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '')
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * TICK_S;
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
