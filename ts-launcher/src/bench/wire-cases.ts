/** What is measured over a wire: the same programs per kind of port, and floods of datagrams. */
import { LauncherError } from '../errors.js';
import { part } from '../paths.js';
import { PORT_KINDS, type WireKind } from './bed.js';
import { CASES, json, wrkRequests, type Case } from './cases.js';

/** One benchmark over a wire. The kernel's side of it is a veth each time. */
export interface WireCase extends Case {
  readonly kind: WireKind;
  /** The kernel's veth passes frames of a network, not the super-frames of two kernels on one host. */
  readonly frames: boolean;
  /** Who floods whom with datagrams: `in` the far end the near one. Absent for cases with requests. */
  readonly flood?: 'in' | 'out';
  /** The server says `ready`, instead of being connected to. */
  readonly says: boolean;
  /** How many requests there were, for the CPU time of one. */
  requests?(stdout: string): number;
}

const REQUESTS: Readonly<Record<string, (stdout: string) => number>> = {
  'round-trip': json('round_trips'),
  nginx: wrkRequests,
};

function like(name: string, kind: WireKind, frames: boolean, suffix = ''): WireCase {
  const original = CASES.find((each) => each.name === name);
  if (original === undefined) throw new LauncherError('ZS1999', `no case ${name}`);
  const requests = REQUESTS[name];
  return {
    ...original,
    name: `${kind}-${name}${suffix}`,
    text: `${original.text}, ${TEXTS[kind]}`,
    ...{ kind, frames, says: false, ...(requests && { requests }) },
  };
}

const TEXTS: Readonly<Record<WireKind, string>> = {
  af_packet: 'kernel client, server over af_packet',
  af_xdp: 'kernel client, server over af_xdp',
  tap: 'kernel client, server over a TAP',
  memif: 'two engines over memif, two kernels over veth',
};

/** A flood of datagrams of 64 bytes for as long as a measurement is. The server is the one that receives. */
function flood(kind: WireKind, direction: 'in' | 'out'): WireCase {
  return {
    name: `${kind}-frames-${direction}`,
    text: `UDP datagrams of 64 bytes, ${direction === 'in' ? 'received' : 'sent'} over ${kind}`,
    ...{ unit: 'frames/s', better: 'higher', needs: [], kind, frames: true, flood: direction, says: true },
    server: ({ port }) => ({ command: [part('load'), 'sink', String(port)] }),
    client: ({ host, port, seconds }) => [part('load'), 'udp', host, String(port), String(seconds), '0'],
    // Counted at the ports, not by the sender.
    value: json('sent'),
  };
}

/** All cases over a wire, in the order in which they are run. */
export const WIRE_CASES: readonly WireCase[] = [
  ...PORT_KINDS.flatMap((kind) => [
    like('round-trip', kind, true),
    like('nginx', kind, true),
    like('stream', kind, true),
    // What two programs on one host would have otherwise: a veth with all that kernels do on it.
    ...(kind === 'memif' ? [like('stream', kind, false, '-large')] : []),
    flood(kind, 'in'),
    flood(kind, 'out'),
  ]),
];

/** Those that belong to every run, where they are permitted. */
export const DEFAULT_WIRE: readonly string[] = [
  'af_packet-round-trip',
  'af_packet-nginx',
  'memif-round-trip',
  'memif-nginx',
];
