/** The kernel's end of a TAP: where it goes, its addresses, up. The engine makes it, and it goes away with the engine. */
import { unlinkSync } from 'node:fs';
import { LauncherError } from '../errors.js';
import { formatPrefix } from './address.js';
import { socketState } from './host.js';
import { inside, ip } from './ip.js';
import { portName, type PlannedPort } from './plan.js';

/** The commands for `ip -batch`, in the namespace where the interface is to be. */
export function kernelEndCommands({ place, mtu, kernelEnd }: PlannedPort): string[] {
  if (kernelEnd === undefined) return [];
  return [
    ...(mtu === undefined ? [] : [`link set dev ${place} mtu ${mtu}`]),
    // Nobody else is on that wire: no need to ask whether the address is taken.
    ...kernelEnd.addresses.map(
      (prefix) => `address add ${formatPrefix(prefix)} dev ${place}${prefix.family === 6 ? ' nodad' : ''}`,
    ),
    `link set dev ${place} up`,
  ];
}

/**
 * Sets up the kernel's ends of all TAPs of an engine that serves.
 * @throws LauncherError ZS1613
 */
export async function setUpKernelEnds(ports: readonly PlannedPort[]): Promise<void> {
  for (const port of ports) {
    const { kernelEnd, place } = port;
    if (kernelEnd === undefined) continue;
    try {
      if (kernelEnd.netns !== undefined) await ip(['link', 'set', 'dev', place, 'netns', kernelEnd.netns]);
      await ip([...inside(kernelEnd.netns), '-batch', '-'], `${kernelEndCommands(port).join('\n')}\n`);
    } catch (error) {
      if (!(error instanceof LauncherError)) throw error;
      throw new LauncherError(
        'ZS1613',
        `the kernel's end of port ${portName(port)} cannot be set up: ${error.what}`,
        error.hint,
      );
    }
  }
}

/** Takes away what killed engines left at the paths where sockets are to be made. */
export async function removeLeftovers(ports: readonly PlannedPort[]): Promise<void> {
  for (const { leftover } of ports) {
    // Asked again: another launcher may have started an engine there since the ports were planned.
    if (leftover === undefined || (await socketState(leftover)) !== 'dead') continue;
    try {
      unlinkSync(leftover);
    } catch {
      // DPDK tells, if it is in the way.
    }
  }
}
