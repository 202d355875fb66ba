/** From what was asked for to what is started: names, addresses and DPDK devices, all checked. */
import { createHash } from 'node:crypto';
import type { Options } from '../options/resolve.js';
import { LauncherError } from '../errors.js';
import { formatPrefix, nextHost, overlaps, type Address, type Prefix } from './address.js';
import { checkPorts } from './check.js';
import { readHost, type Host } from './host.js';
import { parsePorts, type PortKind, type PortSpec } from './spec.js';

/** A port that is to be started. */
export interface PlannedPort {
  readonly kind: PortKind;
  /** DPDK's name for it: `net_tap0`. */
  readonly device: string;
  /** The interface, PCI address or socket path. */
  readonly place: string;
  readonly address: Prefix;
  readonly address6: Prefix | undefined;
  readonly gateway: Address | undefined;
  readonly gateway6: Address | undefined;
  readonly ra: 'on' | 'off' | undefined;
  readonly route: string | undefined;
  readonly tso: PortSpec['tso'];
  readonly gro: PortSpec['gro'];
  readonly probe: PortSpec['probe'];
  readonly redirects: PortSpec['redirects'];
  readonly mtu: number | undefined;
  readonly mac: string | undefined;
  /** The first queue of the interface that is the port's, and how many are (af_xdp). */
  readonly queue: number;
  readonly queues: number;
  readonly role: 'server' | 'client';
  readonly id: number;
  /** Where the kernel's end of a TAP goes, and its addresses. */
  readonly kernelEnd: { readonly netns: string | undefined; readonly addresses: readonly Prefix[] } | undefined;
  /** A socket that a killed engine left behind and that is in the way. */
  readonly leftover: string | undefined;
}

/** RFC 2544: for measurements between devices, on no public network. */
const BENCHMARKING: Prefix = { family: 4, value: (198n << 24n) | (18n << 16n), length: 15 };
const DEFAULT_LENGTH = 30;
/** Routes so short are another way to write a default route. */
const SHORTEST_ROUTE = 8;
const ETHERNET_MTU = 1500;

/**
 * Plans the ports of an engine that is to be started.
 * @param cwd what paths are relative to
 * @throws LauncherError ZS16xx
 */
export async function planPorts(options: Options, cwd: string): Promise<PlannedPort[]> {
  const specs = parsePorts(options.port, cwd);
  if (specs.length === 0) return [];
  return plan(specs, options.engine, options.netns, await readHost(specs, options.netns));
}

/**
 * The same for a machine that is known.
 * @throws LauncherError ZS16xx
 */
export function plan(specs: readonly PortSpec[], engine: string, netns: string | undefined, host: Host): PlannedPort[] {
  checkPorts(specs, netns, host);
  const identity = `${host.uid}:${engine}`;
  const counts = new Map<PortKind, number>();
  const names = new Set([
    ...[...host.network.interfaces, ...host.kernelNetwork.interfaces].map(({ name }) => name),
    ...specs.flatMap(({ device }) => device ?? []),
  ]);
  const networks = [
    ...[host.network, host.kernelNetwork].flatMap(({ interfaces, routes }) => [
      ...interfaces.flatMap(({ addresses }) => addresses),
      ...routes.filter(({ length }) => length >= SHORTEST_ROUTE),
    ]),
    ...specs.flatMap(({ address }) => address ?? []),
  ];
  return specs.map((spec): PlannedPort => {
    const index = counts.get(spec.kind) ?? 0;
    counts.set(spec.kind, index + 1);
    const place = spec.device ?? freeName(`${identity}:${host.namespaceId}`, names);
    names.add(place);
    const address = spec.address ?? freeNetwork(spec, identity, networks);
    networks.push(address);
    const found = host.network.interfaces.find(({ name }) => name === place);
    const served = spec.kind === 'memif' && spec.role !== 'client' && host.sockets.get(place) === 'dead';
    return {
      kind: spec.kind,
      device: spec.kind === 'pci' ? place : `net_${spec.kind}${index}`,
      ...{ place, address, address6: spec.address6, gateway: spec.gateway, gateway6: spec.gateway6 },
      ...{ ra: spec.ra, route: spec.route, tso: spec.tso, gro: spec.gro, probe: spec.probe, redirects: spec.redirects },
      mtu: spec.mtu ?? ethernetAtMost(found?.mtu),
      ...{
        mac: spec.mac,
        queue: spec.queue ?? 0,
        queues: spec.queues ?? 1,
        role: spec.role ?? 'server',
        id: spec.id ?? 0,
      },
      kernelEnd: spec.kind === 'tap' ? { netns, addresses: kernelAddresses(spec, address) } : undefined,
      leftover: served ? place : undefined,
    };
  });
}

/** The engine takes an interface's MTU, but its buffers are for Ethernet unless a larger one is asked for. */
function ethernetAtMost(mtu: number | undefined): number | undefined {
  return mtu !== undefined && mtu > ETHERNET_MTU ? ETHERNET_MTU : undefined;
}

/** A name for a TAP: the same for an engine each time, unless it is taken. */
function freeName(identity: string, taken: ReadonlySet<string>): string {
  for (let attempt = 0; ; attempt++) {
    const name = `zs-${digest(`${identity}:${attempt}`).toString(16).padStart(8, '0')}`;
    if (!taken.has(name)) return name;
  }
}

/**
 * A small network for a TAP: the same for an engine each time, unless something on this host overlaps.
 * @throws LauncherError ZS1604 when there is none left
 */
function freeNetwork(spec: PortSpec, identity: string, taken: readonly Prefix[]): Prefix {
  const size = 1n << BigInt(32 - DEFAULT_LENGTH);
  const count = 1n << BigInt(DEFAULT_LENGTH - BENCHMARKING.length);
  const near = taken.filter((prefix) => overlaps(prefix, BENCHMARKING));
  const start = BigInt(digest(identity));
  for (let i = 0n; i < count; i++) {
    // The second address of the two: the first is the kernel's.
    const value = BENCHMARKING.value + ((start + i) % count) * size + 2n;
    const candidate: Prefix = { family: 4, value, length: DEFAULT_LENGTH };
    if (!near.some((prefix) => overlaps(prefix, candidate))) return candidate;
  }
  throw new LauncherError(
    'ZS1604',
    `port ${spec.text}: nothing of ${formatPrefix(BENCHMARKING)} is free on this host`,
    'give it a network: address=A.B.C.D/LENGTH',
  );
}

/** The first 32 bits of a hash. */
function digest(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0);
}

/** What the kernel's end of a TAP gets: what was asked for, else the gateway, else the next address. */
function kernelAddresses(spec: PortSpec, address: Prefix): Prefix[] {
  const end = (own: Prefix | undefined, asked: Prefix | 'none' | undefined, gateway: Address | undefined) => {
    if (own === undefined || asked === 'none') return [];
    if (asked !== undefined) return [asked];
    // A link-local gateway is an address that the interface has by itself.
    if (gateway !== undefined) return gateway.value >> 118n === 0x3fan ? [] : [{ ...gateway, length: own.length }];
    return nextHost(own, []) ?? [];
  };
  return [
    ...[end(address, spec.kernel, spec.gateway)].flat(),
    ...[end(spec.address6, spec.kernel6, spec.gateway6)].flat(),
  ];
}

/** `tap zs-1a2b3c4d`, `memif /run/a.sock`: a port as users know it. */
export function portName({ kind, place }: PlannedPort): string {
  return `${kind} ${place}`;
}

/** One line about a port: its addresses, and those of the kernel's end. */
export function portText(port: PlannedPort): string {
  const own = [port.address, ...(port.address6 === undefined ? [] : [port.address6])].map(formatPrefix).join(' ');
  if (port.kernelEnd === undefined) return `port ${portName(port)}: ${own}`;
  const { addresses, netns } = port.kernelEnd;
  const where = netns === undefined ? '' : ` in network namespace ${netns}`;
  const theirs = addresses.length === 0 ? 'without address' : addresses.map(formatPrefix).join(' ');
  return `port ${portName(port)}: ${own}; the kernel's end${where} ${theirs}`;
}
