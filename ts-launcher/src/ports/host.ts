/** What the checks of ports want to know of the machine: gathered once, so that the checks themselves only compute. */
import { accessSync, constants, existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { errnoOf } from '../errors.js';
import { capabilities, tunProblem, type Capability } from './capabilities.js';
import { readNetwork, type Network } from './ip.js';
import type { PortSpec } from './spec.js';

/** A PCI device: the kernel driver that has it, and its interfaces. */
export interface PciDevice {
  readonly driver: string | undefined;
  readonly interfaces: readonly string[];
}

/** The state of a path for a memif socket. `dead`: a socket that nobody listens at any more. */
export type SocketState = 'absent' | 'dead' | 'served' | 'no socket' | 'no directory' | 'not writable';

export interface Host {
  readonly uid: number;
  readonly capabilities: ReadonlySet<Capability>;
  readonly tunProblem: string | undefined;
  /** The namespace that the engine is to run in. */
  readonly network: Network;
  /** The namespace of `--netns`: there the kernel's end of a TAP goes. The same as `network` without. */
  readonly kernelNetwork: Network;
  /** The names of namespaces that `ip netns` made. */
  readonly namespaces: readonly string[];
  /** Identifies the namespace of the engine. */
  readonly namespaceId: string;
  readonly pci: ReadonlyMap<string, PciDevice | undefined>;
  /** PCI devices of the class of network controllers. */
  readonly pciNetworkDevices: readonly string[];
  readonly sockets: ReadonlyMap<string, SocketState>;
}

/**
 * Looks at the machine for what these ports need.
 * @throws LauncherError ZS1612 `ip` is missing or fails
 */
export async function readHost(specs: readonly PortSpec[], netns: string | undefined): Promise<Host> {
  const of = (kind: PortSpec['kind']) =>
    specs.filter((spec) => spec.kind === kind).flatMap(({ device }) => (device === undefined ? [] : [device]));
  const names = namespaces();
  // A namespace that is not there is an error of the checks.
  const foreign = netns !== undefined && names.includes(netns);
  const [network, kernelNetwork, sockets] = await Promise.all([
    readNetwork(),
    foreign ? readNetwork(netns) : undefined,
    Promise.all(of('memif').map(async (path) => [path, await socketState(path)] as const)),
  ]);
  return {
    uid: process.getuid?.() ?? 0,
    capabilities: capabilities(),
    tunProblem: tunProblem(),
    network,
    kernelNetwork: kernelNetwork ?? network,
    namespaces: names,
    namespaceId: namespaceId(),
    pci: new Map(of('pci').map((address) => [address, pciDevice(address)])),
    pciNetworkDevices: pciNetworkDevices(),
    sockets: new Map(sockets),
  };
}

/** The namespaces that `ip netns` knows. */
export function namespaces(): string[] {
  return list('/run/netns').sort();
}

function namespaceId(): string {
  return linkOf('/proc/self/ns/net') ?? '';
}

/** A PCI device, or `undefined` when there is none of that address. */
function pciDevice(address: string): PciDevice | undefined {
  const path = `/sys/bus/pci/devices/${address}`;
  if (!existsSync(path)) return undefined;
  const driver = linkOf(`${path}/driver`);
  return { driver: driver === undefined ? undefined : basename(driver), interfaces: list(`${path}/net`) };
}

function pciNetworkDevices(): string[] {
  return list('/sys/bus/pci/devices').filter((address) => {
    try {
      return readFileSync(`/sys/bus/pci/devices/${address}/class`, 'utf8').startsWith('0x02');
    } catch {
      return false;
    }
  });
}

/** Who is at the path: a stream socket cannot connect to memif's sequenced packets, but the refusal tells. */
export function socketState(path: string): Promise<SocketState> {
  const directory = dirname(path);
  if (!existsSync(directory)) return Promise.resolve('no directory');
  try {
    accessSync(directory, constants.R_OK | constants.W_OK);
  } catch {
    return Promise.resolve('not writable');
  }
  try {
    if (!lstatSync(path).isSocket()) return Promise.resolve('no socket');
  } catch {
    return Promise.resolve('absent');
  }
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve('served');
    });
    socket.once('error', (error) => resolve(errnoOf(error) === 'ECONNREFUSED' ? 'dead' : 'served'));
  });
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
