/**
 * What an engine that is started gets: DPDK, ports, or less. What nobody asked for may be missing, with one line about
 * it; what was asked for is an error.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherError, type ErrorCode } from '../errors.js';
import type { Resolved } from '../options/resolve.js';
import type { Say } from '../output.js';
import { isElected } from './owner.js';
import type { Extent } from './start.js';

/** What is in the way only until an engine that starts or ends has done so: names, addresses, sockets. */
const PASSING: readonly ErrorCode[] = ['ZS1604', 'ZS1607', 'ZS1615'];
/** How often and how long, in milliseconds, to wait for that when no engine is to be seen. */
const PATIENCE = 3;
const PATIENCE_MS = 100;

/** Decides, attempt by attempt. */
export class ExtentPlanner {
  private dpdk: boolean;
  private ports = true;
  private patience = PATIENCE;

  constructor(
    private readonly resolved: Resolved,
    private readonly say: Say,
  ) {
    this.dpdk = resolved.options.dpdk;
  }

  /**
   * What the next attempt to start is to have.
   * @returns `undefined` when somebody else has been elected meanwhile, or to try again at once
   * @throws LauncherError ZS16xx for ports that were asked for
   */
  async next(): Promise<Extent | undefined> {
    const { dpdk } = this;
    const { options, origins } = this.resolved;
    const { wantsPorts } = await import('../ports/spec.js');
    if (!this.ports) return { dpdk, ports: [] };
    if (!wantsPorts(options.port)) {
      if (origins.netns.kind !== 'flag') return { dpdk, ports: [] };
      throw new LauncherError(
        'ZS1602',
        `--netns ${options.netns ?? ''} without a port: it names where the kernel's end of a TAP goes`,
        'add --port tap, or leave it out',
      );
    }
    if (!dpdk) {
      if (options.dpdk || !this.portsAsked()) return { dpdk, ports: [] };
      throw new LauncherError(
        'ZS1602',
        'ports need DPDK, and --no-dpdk leaves it out',
        'one of the two, or --port none',
      );
    }
    try {
      const { planPorts } = await import('../ports/plan.js');
      const ports = await planPorts(options, process.cwd());
      const { removeLeftovers } = await import('../ports/kernel-end.js');
      await removeLeftovers(ports);
      return { dpdk, ports };
    } catch (error) {
      return this.without(error);
    }
  }

  /** Takes up that the engine did not start with that because of DPDK. @throws the error for what was asked for */
  refused(extent: Extent, error: LauncherError): void {
    const { options } = this.resolved;
    if (extent.ports.length > 0) {
      if (this.portsAsked()) throw error;
      this.say.warn(`no port (${error.what}): same-host sockets only`);
      this.ports = false;
      return;
    }
    if (this.asked('dpdk') || options.eal.length > 0 || options.hugepages === 'on') throw error;
    this.say.warn(`DPDK does not start here (${error.what}): same-host sockets only`);
    this.dpdk = false;
  }

  /**
   * Completes an engine that serves: sets up what it cannot do by itself.
   * @throws LauncherError ZS1613 for ports that were asked for; the engine is told to end
   */
  async complete({ ports }: Extent, pid: number): Promise<void> {
    if (ports.length === 0) return;
    try {
      const { setUpKernelEnds } = await import('../ports/kernel-end.js');
      await setUpKernelEnds(ports);
    } catch (error) {
      if (!(error instanceof LauncherError)) throw error;
      if (!this.portsAsked()) return this.say.warn(error.message);
      process.kill(pid, 'SIGTERM');
      throw error;
    }
  }

  private async without(error: unknown): Promise<Extent | undefined> {
    if (!(error instanceof LauncherError)) throw error;
    if (!this.portsAsked()) {
      this.say.note(`no port (${error.what}): same-host sockets only`);
      this.ports = false;
      return { dpdk: this.dpdk, ports: [] };
    }
    if (!PASSING.includes(error.code)) throw error;
    if (!isElected(this.resolved.options.engine) && this.patience-- <= 0) throw error;
    await sleep(PATIENCE_MS);
    return undefined;
  }

  private portsAsked(): boolean {
    return this.asked('port') || this.asked('netns');
  }

  private asked(name: 'port' | 'netns' | 'dpdk'): boolean {
    return this.resolved.origins[name].kind !== 'default';
  }
}
