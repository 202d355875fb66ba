/**
 * Can these ports be had on this machine? Each check tells one fact and one remedy. Pure: what there is to know of the
 * machine comes as a {@link Host}.
 */
import { LauncherError } from '../errors.js';
import { nearest } from '../options/table.js';
import {
  contains,
  formatAddress,
  formatPrefix,
  notHost,
  overlaps,
  sameAddress,
  type Address,
  type Prefix,
} from './address.js';
import type { Capability } from './capabilities.js';
import type { Host } from './host.js';
import type { Network } from './ip.js';
import type { PortSpec } from './spec.js';

/** `sockaddr_un` has 108 bytes, the last a NUL; the bell's path is the socket's with five characters more. */
export const SOCKET_PATH_MAX = 107 - '.bell'.length;

const SAME_HOST = 'or --port none: same-host sockets only';

/**
 * Checks ports against each other and against the machine. What they leave out, a TAP's name and addresses, is chosen
 * afterwards so that it fits.
 * @throws LauncherError ZS1602 to ZS1615
 */
export function checkPorts(specs: readonly PortSpec[], netns: string | undefined, host: Host): void {
  for (const [index, spec] of specs.entries()) {
    const twin = specs.slice(0, index).find((earlier) => sameDevice(earlier, spec));
    if (twin !== undefined)
      throw new LauncherError('ZS1602', `port ${spec.text}: the same device as ${twin.text}`, 'leave out one of them');
    privileges(spec, netns, host);
    device(spec, host);
  }
  namespace(netns, specs, host);
  for (const [index, spec] of specs.entries()) {
    addressesOf(spec);
    unused(spec, host);
    for (const earlier of specs.slice(0, index)) apart(earlier, spec);
  }
}

/** One device has one port; af_xdp ports have queues of their own. */
function sameDevice(a: PortSpec, b: PortSpec): boolean {
  if (a.device === undefined || a.device !== b.device) return false;
  if (a.kind !== 'af_xdp' || b.kind !== 'af_xdp') return true;
  return (a.queue ?? 0) <= lastQueue(b) && (b.queue ?? 0) <= lastQueue(a);
}

function lastQueue({ queue = 0, queues = 1 }: PortSpec): number {
  return queue + queues - 1;
}

const NEEDED: Readonly<Record<PortSpec['kind'], readonly Capability[]>> = {
  tap: ['CAP_NET_ADMIN'],
  af_packet: ['CAP_NET_RAW', 'CAP_NET_ADMIN'],
  af_xdp: ['CAP_NET_RAW', 'CAP_NET_ADMIN'],
  pci: [],
  memif: [],
};

function privileges(spec: PortSpec, netns: string | undefined, host: Host): void {
  const needed = [...NEEDED[spec.kind]];
  // `ip` enters the other namespace.
  if (spec.kind === 'tap' && netns !== undefined) needed.push('CAP_SYS_ADMIN');
  if (spec.kind === 'af_xdp' && !host.capabilities.has('CAP_SYS_ADMIN')) needed.push('CAP_BPF');
  const missing = needed.filter((name) => !host.capabilities.has(name));
  if (missing.length === 0) return;
  throw new LauncherError('ZS1608', `port ${spec.text} needs ${missing.join(' and ')}`, `run it as root, ${SAME_HOST}`);
}

function device(spec: PortSpec, host: Host): void {
  switch (spec.kind) {
    case 'tap':
      return tap(spec, host);
    case 'af_packet':
    case 'af_xdp':
      return networkInterface(spec, host.network);
    case 'pci':
      return pci(spec, host);
    case 'memif':
      return memif(spec, host);
  }
}

function tap(spec: PortSpec, host: Host): void {
  if (host.tunProblem !== undefined)
    throw new LauncherError('ZS1609', `port ${spec.text}: ${host.tunProblem}`, `modprobe tun, ${SAME_HOST}`);
  const taken = [host.network, host.kernelNetwork].some(({ interfaces }) =>
    interfaces.some(({ name }) => name === spec.device),
  );
  if (taken)
    throw new LauncherError(
      'ZS1607',
      `port ${spec.text}: there is an interface ${spec.device ?? ''} already`,
      'use another name, or tap without one: a free name is chosen',
    );
}

function networkInterface(spec: PortSpec, { interfaces }: Network): void {
  const found = interfaces.find(({ name }) => name === spec.device);
  const usable = interfaces.filter(({ loopback }) => !loopback).map(({ name }) => name);
  if (found === undefined) {
    const near = nearest(spec.device ?? '', usable);
    throw new LauncherError(
      'ZS1605',
      `port ${spec.text}: there is no interface ${spec.device ?? ''} in this network namespace`,
      `${near === undefined ? '' : `did you mean ${near}? `}there are ${usable.join(', ') || 'none but lo'}`,
    );
  }
  if (found.loopback)
    throw new LauncherError(
      'ZS1605',
      `port ${spec.text}: ${found.name} leads to this host only`,
      'same-host sockets need no port: --port none',
    );
  if (!found.up)
    throw new LauncherError(
      'ZS1606',
      `port ${spec.text}: interface ${found.name} is down`,
      `ip link set ${found.name} up`,
    );
  if (lastQueue(spec) >= found.queues)
    throw new LauncherError(
      'ZS1605',
      `port ${spec.text}: ${found.name} has no queue ${lastQueue(spec)}`,
      `its queues are 0 to ${found.queues - 1}`,
    );
  if (spec.mtu !== undefined && spec.mtu > found.mtu)
    throw new LauncherError(
      'ZS1605',
      `port ${spec.text}: ${found.name} has an MTU of ${found.mtu}`,
      `mtu=${found.mtu} or less, or ip link set ${found.name} mtu ${spec.mtu}`,
    );
}

/** Drivers that leave the device to a program, and those that share it with one. */
const FOR_USERS = /^(vfio-pci|uio_pci_generic|igb_uio|mlx4_core|mlx5_core|mana)$/;

function pci(spec: PortSpec, host: Host): void {
  const address = spec.device ?? '';
  const found = host.pci.get(address);
  if (found === undefined) {
    const all = host.pciNetworkDevices;
    const hint = all.length === 0 ? 'there is no network controller on a PCI bus' : `there are ${all.join(', ')}`;
    throw new LauncherError('ZS1614', `port ${spec.text}: there is no PCI device ${address}`, hint);
  }
  if (found.driver !== undefined && FOR_USERS.test(found.driver)) return;
  const has = found.driver === undefined ? 'no driver has it' : `the kernel's driver ${found.driver} has it`;
  const names = found.interfaces.length === 0 ? '' : ` (${found.interfaces.join(', ')})`;
  throw new LauncherError(
    'ZS1614',
    `port ${spec.text}: ${has}${names}`,
    `modprobe vfio-pci; dpdk-devbind.py --bind=vfio-pci ${address}; its interface then is gone`,
  );
}

function memif(spec: PortSpec, host: Host): void {
  const path = spec.device ?? '';
  const length = Buffer.byteLength(path);
  const refuse = (what: string, hint: string) => new LauncherError('ZS1611', `port ${spec.text}: ${what}`, hint);
  if (length > SOCKET_PATH_MAX)
    throw refuse(`the path has ${length} bytes`, `at most ${SOCKET_PATH_MAX} fit into a socket's address`);
  const state = host.sockets.get(path);
  const directory = path.slice(0, path.lastIndexOf('/')) || '/';
  if (state === 'no directory') throw refuse(`there is no directory ${directory}`, `mkdir -p ${directory}`);
  if (state === 'not writable') throw refuse(`directory ${directory} is not writable`, 'name a path in another one');
  if (state === 'no socket') throw refuse(`${path} is there and no socket`, 'name another path');
  if (state === 'served' && spec.role !== 'client')
    throw new LauncherError(
      'ZS1615',
      `port ${spec.text}: another engine serves that socket`,
      'add role=client to connect to it, or name another path',
    );
}

function namespace(netns: string | undefined, specs: readonly PortSpec[], host: Host): void {
  if (netns === undefined) return;
  if (!host.namespaces.includes(netns)) {
    const all = host.namespaces;
    const near = nearest(netns, all);
    throw new LauncherError(
      'ZS1610',
      `--netns ${netns}: there is no such network namespace`,
      `${near === undefined ? '' : `did you mean ${near}? `}${all.length === 0 ? `there are none: ip netns add ${netns}` : `there are ${all.join(', ')}`}`,
    );
  }
  if (!specs.some(({ kind }) => kind === 'tap'))
    throw new LauncherError(
      'ZS1602',
      `--netns ${netns} without a TAP: it names where the kernel's end of a TAP goes`,
      'add --port tap, or leave it out',
    );
}

/** The addresses that a port is given fit its prefixes. */
function addressesOf(spec: PortSpec): void {
  family(spec, spec.address, spec.gateway, spec.kernel);
  family(spec, spec.address6, spec.gateway6, spec.kernel6);
}

function family(spec: PortSpec, own?: Prefix, gateway?: Address, kernel?: Prefix | 'none'): void {
  if (own === undefined) return;
  const refuse = (what: string, hint: string) => new LauncherError('ZS1603', `port ${spec.text}: ${what}`, hint);
  const suffix = own.family === 4 ? '' : '6';
  const wrong = notHost(own);
  if (wrong !== undefined) throw refuse(`${formatPrefix(own)} ${wrong}`, 'choose another address');
  if (gateway !== undefined) {
    const linkLocal = gateway.family === 6 && gateway.value >> 118n === 0x3fan;
    if (!contains(own, gateway) && !linkLocal)
      throw refuse(`gateway ${formatAddress(gateway)} is not in ${formatPrefix(own)}`, 'it must be a neighbour');
    const not = linkLocal ? undefined : notHost({ ...gateway, length: own.length });
    if (not !== undefined) throw refuse(`gateway ${formatAddress(gateway)} ${not}`, 'choose another address');
    if (sameAddress(own, gateway))
      throw refuse(
        `gateway ${formatAddress(gateway)} is the engine's own address`,
        'leave it out, or name a neighbour',
      );
  }
  if (spec.kind !== 'tap' || kernel === 'none') return;
  if (own.length === (own.family === 4 ? 32 : 128))
    throw refuse(
      `${formatPrefix(own)} has no room for the kernel's end`,
      `use a shorter prefix, or kernel${suffix}=none`,
    );
  if (kernel === undefined) return;
  const not = notHost(kernel);
  if (not !== undefined) throw refuse(`kernel${suffix}=${formatPrefix(kernel)} ${not}`, 'choose another address');
  if (kernel.length !== own.length || !contains(own, kernel))
    throw refuse(
      `kernel${suffix}=${formatPrefix(kernel)} is not in the network of ${formatPrefix(own)}`,
      'both ends of a TAP are in one network',
    );
  if (sameAddress(own, kernel)) throw refuse(`both ends have ${formatAddress(own)}`, `leave out kernel${suffix}=`);
}

/** Nobody on this host has the addresses; a TAP's network is in nobody else's. */
function unused(spec: PortSpec, host: Host): void {
  for (const [own, kernel] of [
    [spec.address, spec.kernel],
    [spec.address6, spec.kernel6],
  ] as const) {
    if (own === undefined) continue;
    for (const { interfaces } of [host.network, host.kernelNetwork]) {
      for (const { name, addresses } of interfaces) {
        const taken = [own, ...(kernel === undefined || kernel === 'none' ? [] : [kernel])];
        const same = taken.find((address) => addresses.some((other) => sameAddress(address, other)));
        if (same !== undefined)
          throw new LauncherError(
            'ZS1604',
            `port ${spec.text}: ${name} of this host has ${formatAddress(same)}`,
            'the engine is a host of its own: choose an address that nobody has',
          );
        // The kernel's end of a TAP that gets no address may be put into a bridge, beside others of that network.
        const near = addresses.find((other) => overlaps(own, other));
        if (spec.kind === 'tap' && kernel !== 'none' && near !== undefined)
          throw new LauncherError(
            'ZS1604',
            `port ${spec.text}: ${formatPrefix(own)} overlaps ${formatPrefix(near)} of ${name}`,
            'choose another network; for a TAP in a bridge: kernel=none',
          );
      }
    }
  }
}

/** Two ports of an engine are in two networks. */
function apart(a: PortSpec, b: PortSpec): void {
  for (const [one, other] of [
    [a.address, b.address],
    [a.address6, b.address6],
  ] as const) {
    if (one === undefined || other === undefined || !overlaps(one, other)) continue;
    throw new LauncherError(
      'ZS1604',
      `port ${b.text}: ${formatPrefix(other)} overlaps ${formatPrefix(one)} of port ${a.text}`,
      'give each port a network of its own',
    );
  }
}
