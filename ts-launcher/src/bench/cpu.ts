/** CPU time: of processes, and of the whole machine. */
import { readFileSync } from 'node:fs';

/** The unit of the times in /proc, as the kernel shows them to programs: a hundredth of a second. */
const TICK_S = 0.01;

/** User and system time, of all threads, in /proc/PID/stat; seconds. */
export function parseProcessStat(text: string): number {
  // The name, in brackets, may contain anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_S;
}

/** All the time in /proc/stat that some CPU was not idle; seconds. Interrupts and soft interrupts included. */
export function parseMachineStat(text: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '')
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * TICK_S;
}

/** CPU time of these processes, as far as they still exist; seconds. */
export function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return sum;
    }
  }, 0);
}

/** CPU time of everything on this machine; seconds. */
export function cpuOfMachine(): number {
  return parseMachineStat(readFileSync('/proc/stat', 'utf8'));
}
