/** What this process may do, as /proc tells it. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { textOf } from '../errors.js';

/** Capabilities that parts of Z-stack ask for, with their numbers (linux/capability.h). */
export const CAPABILITIES = {
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof CAPABILITIES;

/** The effective capabilities among {@link CAPABILITIES}. */
export function capabilities(): Set<Capability> {
  let mask = 0n;
  try {
    mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  } catch {
    // Without /proc nothing is known: nothing is promised.
  }
  const names = Object.keys(CAPABILITIES) as Capability[];
  return new Set(names.filter((name) => (mask & (1n << BigInt(CAPABILITIES[name]))) !== 0n));
}

/** Why TUN devices cannot be made here, or `undefined` when they can. */
export function tunProblem(path = '/dev/net/tun'): string | undefined {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return textOf(error);
  }
}
