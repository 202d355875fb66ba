// SPDX-License-Identifier: BSD-3-Clause
/**
 * What lies between an engine with a port and its peer: two network namespaces, the near one with the engine and its
 * programs, the far one with a kernel's address or, over memif, with another engine.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { EngineOptions } from './engine.js';
import { NetworkNamespace } from './netns.js';
import { until } from './wait.js';

export type LinkKind = 'tap' | 'af_packet' | 'af_xdp' | 'memif';

/** Addresses of documentation (RFC 5737): the engine's and its peer's. */
export const NEAR = '192.0.2.2';
export const FAR = '192.0.2.1';
/** The same of IPv6 (RFC 3849). */
export const NEAR6 = '2001:db8::2';
export const FAR6 = '2001:db8::1';

/** Huge pages and PCI devices are none of a test's business. */
const EAL = ['--no-huge', '--no-shconf', '--no-pci', '-m', '256'];

/** The far interface, whatever made it. */
const FAR_INTERFACE = 'far0';

export class Link {
  readonly near: NetworkNamespace;
  readonly far: NetworkNamespace;

  /** @param relay the two ends are not one cable: a program between them is to pass the packets on, see {@link relay} */
  constructor(
    readonly kind: LinkKind,
    private readonly directory: string,
    readonly relay = false,
    /** Further keys of the engines' ports, `mtu=1280,tso=on`. */
    private readonly keys = '',
    /** Of an af_packet device. A TAP is made with as many as the engine has workers; DPDK takes one of a veth for af_xdp. */
    private readonly queues = 1,
  ) {
    this.near = new NetworkNamespace();
    try {
      this.far = new NetworkNamespace();
    } catch (error) {
      this.near.remove();
      throw error;
    }
    try {
      if (kind === 'af_packet' || kind === 'af_xdp') this.cables();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Whether the far end is another engine. */
  get engines(): boolean {
    return this.kind === 'memif';
  }

  /** No super-frames: what the engine's port gets are frames of a network. */
  private cable(near: string, far: string): void {
    const large = ['gso_max_segs', '1', 'gso_max_size', '1514'];
    this.near.ip('link', 'add', near, ...large, 'type', 'veth', 'peer', 'name', far);
    this.near.ip('link', 'set', near, 'up');
  }

  private cables(): void {
    this.cable('near0', this.relay ? 'middle0' : FAR_INTERFACE);
    if (this.relay) {
      this.cable('middle1', FAR_INTERFACE);
      this.near.ip('link', 'set', 'middle0', 'up');
    }
    this.takeFar();
  }

  /** The kernel's end of the link goes to the far namespace and gets its address. */
  private takeFar(): void {
    this.near.ip('link', 'set', FAR_INTERFACE, 'netns', this.far.name);
    this.far.ip('addr', 'add', `${FAR}/24`, 'dev', FAR_INTERFACE);
    this.far.ip('addr', 'add', `${FAR6}/64`, 'dev', FAR_INTERFACE, 'nodad');
    this.far.ip('link', 'set', FAR_INTERFACE, 'gso_max_segs', '1');
    this.far.ip('link', 'set', FAR_INTERFACE, 'up');
  }

  /** For the engine of the near end or, over memif, of the far one. */
  engine(end: 'near' | 'far' = 'near'): EngineOptions {
    const device = `net_${this.kind}0`;
    const socket = join(this.directory, 'memif');
    const role = end === 'near' ? 'server' : 'client';
    const detail = {
      tap: `iface=${FAR_INTERFACE}`,
      af_packet: `iface=near0,qpairs=${this.queues}`,
      af_xdp: 'iface=near0',
      memif: `role=${role},socket=${socket},socket-abstract=no`,
    }[this.kind];
    const bell = this.engines ? `,bell=${socket}.bell` : '';
    return {
      namespace: this[end],
      port: {
        port: `${device},ip=${end === 'near' ? NEAR : FAR}/24,ip6=${end === 'near' ? NEAR6 : FAR6}/64${bell}${this.keys && `,${this.keys}`}`,
        eal: [...EAL, `--vdev=${device},${detail}`],
      },
    };
  }

  /** After the near engine started: a tap is there only now. */
  connect(): void {
    if (this.kind === 'tap') this.takeFar();
  }

  /** Waits until the interface is gone that an engine made. */
  async gone(): Promise<void> {
    if (this.kind !== 'tap') return;
    await until('the interface of the engine is gone', () => !this.interfaces().includes(FAR_INTERFACE));
  }

  /** The interfaces of both namespaces without the loopback ones. */
  private interfaces(): string[] {
    return [this.near, this.far].flatMap((namespace) => {
      const text = execFileSync('ip', ['-n', namespace.name, '-j', 'link'], { encoding: 'utf8' });
      const links = JSON.parse(text) as { ifname: string }[];
      return links.map((link) => link.ifname).filter((name) => name !== 'lo');
    });
  }

  /** Takes all of it away; the interfaces go with their namespaces. */
  remove(): void {
    try {
      this.near.remove();
    } finally {
      this.far.remove();
    }
    const left = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    for (const { name } of [this.near, this.far]) if (left.includes(name)) throw new Error(`namespace ${name} is left`);
  }
}
