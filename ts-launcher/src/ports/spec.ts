/**
 * The form of `--port`: `KIND[:DEVICE][,key=value...]`. Only what the text itself tells is checked here; what the machine
 * has to say comes in `check.ts`.
 */
import { resolve } from 'node:path';
import { LauncherError } from '../errors.js';
import { nearest } from '../options/table.js';
import { parseAddress, parsePrefix, type Address, type Prefix } from './address.js';

export type PortKind = 'tap' | 'af_packet' | 'af_xdp' | 'pci' | 'memif';

/** What a user wrote. */
export interface PortSpec {
  /** As it was written, for messages. */
  readonly text: string;
  readonly kind: PortKind;
  /** The interface, the PCI address, or the path of the socket; a TAP may leave its name to us. */
  readonly device: string | undefined;
  readonly address?: Prefix;
  readonly address6?: Prefix;
  readonly gateway?: Address;
  readonly gateway6?: Address;
  /** The addresses of the kernel's end of a TAP; `none`: it gets none, as a port of a bridge has none. */
  readonly kernel?: Prefix | 'none';
  readonly kernel6?: Prefix | 'none';
  /** Router advertisements are believed. */
  readonly ra?: 'on' | 'off';
  /** Static routes, as the engine takes them. */
  readonly route?: string;
  readonly mtu?: number;
  /** Long TCP segments, cut by the device or by the port. */
  readonly tso?: 'on' | 'off' | 'auto';
  /** Segments that arrive together are merged before TCP sees them. */
  readonly gro?: 'on' | 'off';
  /** Addresses are probed for conflicts before they are announced. */
  readonly probe?: 'on' | 'off';
  /** Routers may name better first hops. */
  readonly redirects?: 'on' | 'off';
  /** Lower case, or `device`. */
  readonly mac?: string;
  readonly queue?: number;
  readonly queues?: number;
  readonly role?: 'server' | 'client';
  readonly id?: number;
}

/** The engine takes no more. */
export const MAX_PORTS = 8;
export const MTU_MIN = 68;
export const MTU_MIN_IPV6 = 1280;
export const MTU_MAX = 9000;

interface Kind {
  /** What the device is, for messages, and the form of its name. */
  readonly device: string;
  readonly form: RegExp;
  readonly optional?: true;
  readonly keys: readonly string[];
}

const INTERFACE = /^(?!\.{1,2}$)[^\s/:,=[\]()%]{1,15}$/;
const COMMON = ['address', 'gateway', 'mtu', 'mac', 'address6', 'gateway6', 'ra', 'route', 'gro', 'probe', 'redirects'];

const KINDS: Readonly<Record<PortKind, Kind>> = {
  tap: {
    device: 'a name for the interface, at most 15 characters',
    form: INTERFACE,
    optional: true,
    keys: [...COMMON, 'tso', 'kernel', 'kernel6'],
  },
  af_packet: { device: 'an interface, af_packet:eth1', form: INTERFACE, keys: [...COMMON, 'tso'] },
  af_xdp: { device: 'an interface, af_xdp:eth1', form: INTERFACE, keys: [...COMMON, 'queue', 'queues'] },
  pci: {
    device: 'a PCI address, pci:0000:03:00.0',
    form: /^([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i,
    keys: [...COMMON, 'tso'],
  },
  memif: {
    device: 'the path of a socket, memif:/run/zstack/a.sock',
    // EAL separates by commas and takes brackets for lists.
    form: /^[^\s,[\]()]+$/,
    keys: [...COMMON, 'tso', 'role', 'id'],
  },
};

/** A key: reads its value, `undefined` when it is not of the form. */
interface Key {
  readonly form: string;
  read(text: string): unknown;
}

const integer = (min: number, max: number): Key => ({
  form: `a whole number from ${min} to ${max}`,
  read: (text) => (/^\d{1,5}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined),
});
const prefix = (family: 4 | 6, none: boolean): Key => ({
  form: `${family === 4 ? 'A.B.C.D/LENGTH' : 'an IPv6 address/LENGTH'}${none ? ', or none' : ''}`,
  read: (text) => (none && text === 'none' ? text : ofFamily(family, parsePrefix(text))),
});
const address = (family: 4 | 6): Key => ({
  form: family === 4 ? 'A.B.C.D' : 'an IPv6 address',
  read: (text) => ofFamily(family, parseAddress(text)),
});

const KEYS: Readonly<Record<string, Key>> = {
  address: prefix(4, false),
  address6: prefix(6, false),
  gateway: address(4),
  gateway6: address(6),
  ra: oneOf('on', 'off'),
  tso: oneOf('on', 'off', 'auto'),
  gro: oneOf('on', 'off'),
  probe: oneOf('on', 'off'),
  redirects: oneOf('on', 'off'),
  route: { form: 'PREFIX/LENGTH[@GATEWAY], at most 8 with + between them', read: readRoutes },
  kernel: prefix(4, true),
  kernel6: prefix(6, true),
  mtu: integer(MTU_MIN, MTU_MAX),
  mac: { form: 'XX:XX:XX:XX:XX:XX of one host (not multicast, not zero), or device', read: readMac },
  queue: integer(0, 1023),
  queues: integer(1, 16),
  role: oneOf('server', 'client'),
  id: integer(0, 65535),
};

/** One of these words; the form lists them, `on, off or auto`. */
function oneOf(...words: readonly string[]): Key {
  const form = `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
  return { form, read: (text) => (words.includes(text) ? text : undefined) };
}

function ofFamily<T extends Address>(family: 4 | 6, value: T | undefined): T | undefined {
  return value?.family === family ? value : undefined;
}

function readMac(text: string): string | undefined {
  const mac = text.toLowerCase();
  if (mac === 'device') return mac;
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) || mac === '00:00:00:00:00:00') return undefined;
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 ? mac : undefined;
}

function readRoutes(text: string): string | undefined {
  const routes = text.split('+');
  const good = routes.every((route) => {
    const [network = '', gateway, ...more] = route.split('@');
    const at = /^([^/]+)\/(\d{1,3})$/.exec(network);
    const from = at === null ? undefined : parseAddress(at[1] ?? '');
    const hop = gateway === undefined ? from : parseAddress(gateway);
    if (more.length > 0 || from === undefined || hop === undefined) return false;
    return from.family === hop.family && Number(at?.[2]) <= (from.family === 4 ? 32 : 128);
  });
  return good && routes.length <= 8 ? text : undefined;
}

/** True when `--port` asks for ports at all. */
export function wantsPorts(texts: readonly string[]): boolean {
  return texts.length > 1 || (texts[0] ?? 'none') !== 'none';
}

/**
 * Reads all that was given for `--port`.
 * @param cwd what the path of a memif socket is relative to
 * @returns the ports, none for `none`
 * @throws LauncherError ZS1601 malformed, ZS1602 more than fit or `none` among others
 */
export function parsePorts(texts: readonly string[], cwd: string): PortSpec[] {
  if (!wantsPorts(texts)) return [];
  if (texts.includes('none')) {
    throw new LauncherError('ZS1602', '--port none together with other ports', 'leave out none, or the others');
  }
  if (texts.length > MAX_PORTS) {
    throw new LauncherError('ZS1602', `${texts.length} ports: an engine has at most ${MAX_PORTS}`, 'use two engines');
  }
  return texts.map((text) => parsePort(text, cwd));
}

/**
 * Reads one port.
 * @throws LauncherError ZS1601
 */
export function parsePort(text: string, cwd: string): PortSpec {
  const malformed = (what: string, hint: string) => new LauncherError('ZS1601', `--port ${text}: ${what}`, hint);
  const [head = '', ...settings] = text.split(',');
  const colon = head.indexOf(':');
  const name = colon < 0 ? head : head.slice(0, colon);
  const device = colon < 0 ? undefined : head.slice(colon + 1);
  if (!Object.hasOwn(KINDS, name)) {
    const known = [...Object.keys(KINDS), 'none'];
    const near = nearest(name, known);
    throw malformed(
      `unknown kind '${name}'`,
      near === undefined ? `the kinds are ${known.join(', ')}` : `did you mean ${near}?`,
    );
  }
  const kind = name as PortKind;
  const { device: what, form, optional, keys } = KINDS[kind];
  if (device === undefined ? optional !== true : !form.test(device)) throw malformed('no device', `expected ${what}`);

  const values: Record<string, unknown> = {};
  for (const setting of settings) {
    const [key = '', ...rest] = setting.split('=');
    const value = rest.join('=');
    if (!keys.includes(key)) {
      const near = nearest(key, keys);
      const hint = near === undefined ? `the keys of ${kind} are ${keys.join(', ')}` : `did you mean ${near}?`;
      throw malformed(`unknown key '${key}' for ${kind}`, hint);
    }
    if (Object.hasOwn(values, key)) throw malformed(`${key} is given twice`, 'give it once');
    const read = KEYS[key]?.read(value);
    if (read === undefined) throw malformed(`${key}=${value}`, `expected ${KEYS[key]?.form ?? ''}`);
    values[key] = read;
  }
  const spec: PortSpec = { text, kind, device: deviceOf(kind, device, cwd), ...values };
  const wrong = disagreement(spec);
  if (wrong !== undefined) throw malformed(...wrong);
  return spec;
}

/** The device as DPDK knows it. */
function deviceOf(kind: PortKind, device: string | undefined, cwd: string): string | undefined {
  if (device === undefined) return undefined;
  if (kind === 'memif') return resolve(cwd, device);
  if (kind === 'pci') return device.length < 12 ? `0000:${device.toLowerCase()}` : device.toLowerCase();
  return device;
}

/** What does not go together, with a remedy. */
function disagreement(spec: PortSpec): [what: string, hint: string] | undefined {
  const { kind, mtu, mac } = spec;
  if (kind !== 'tap' && spec.address === undefined) {
    return [
      'address= is missing',
      `the engine is a host of its own on ${NETWORKS[kind]}: add address=A.B.C.D/LENGTH, one that nobody there has`,
    ];
  }
  if (kind === 'tap' && mac === 'device') {
    return ['mac=device', "the interface is the kernel's end of the TAP: the engine needs a MAC address of its own"];
  }
  if (mtu !== undefined && mtu < MTU_MIN_IPV6 && spec.address6 !== undefined) {
    return [`mtu=${mtu}`, `IPv6 needs at least ${MTU_MIN_IPV6}`];
  }
  if (spec.gateway6 !== undefined && spec.address6 === undefined) return ['gateway6= without address6=', 'give both'];
  if (spec.kernel6 !== undefined && spec.address6 === undefined) return ['kernel6= without address6=', 'give both'];
  if (spec.kernel !== undefined && spec.kernel !== 'none' && spec.address === undefined)
    return ['kernel= without address=', 'give both, or none of them'];
  return undefined;
}

const NETWORKS = {
  af_packet: "the interface's network",
  af_xdp: "the interface's network",
  pci: "the device's network",
  memif: 'the network of the two engines',
} as const;
