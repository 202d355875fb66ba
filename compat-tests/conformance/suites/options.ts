// SPDX-License-Identifier: BSD-3-Clause
/** One case for each socket option: its answer, format and errors in every state of a socket, and what may be set. */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { IP, IPPROTO, IPV6, MSG, SHUT, SO, SOL_SOCKET, TCP, named } from '../libc/constants.js';
import { AF } from '../libc/struct.js';

export const options = new Suite('options');

const UDP = { CORK: 1, ENCAP: 100, NO_CHECK6_TX: 101, NO_CHECK6_RX: 102, SEGMENT: 103, GRO: 104 } as const;

/** What differs from socket to socket or from moment to moment on the kernel itself: only the length and the error are compared. */
const VARIES = new Set([
  'SO_COOKIE',
  'SO_INCOMING_CPU',
  'SO_INCOMING_NAPI_ID',
  'SO_MEMINFO',
  'SO_NETNS_COOKIE',
  'SO_SNDBUF',
  'SO_RCVBUF',
  'TCP_INFO',
  'TCP_CC_INFO',
  'TCP_TIMESTAMP',
  'TCP_QUICKACK',
  'TCP_WINDOW_CLAMP',
  'TCP_MAXSEG',
  'IP_MTU',
  'IP_PROTOCOL',
  'SO_PEERNAME',
  'IPV6_MTU',
  'IPV6_PATHMTU',
]);

/** Options that a case of their own is for, since they change what the socket is. */
const APART = new Set([
  'TCP_REPAIR',
  'SO_ATTACH_FILTER',
  'IPV6_ADDRFORM',
  'TCP_ULP',
  'TCP_CM_INQ',
  'TCP_ZEROCOPY_RECEIVE',
]);

interface Option {
  readonly label: string;
  readonly level: number;
  readonly name: number;
}

function table(level: number, prefix: string, names: Readonly<Record<string, number>>): Option[] {
  return named(prefix, names)
    .map(([label, name]) => ({ label, level, name }))
    .filter(({ label }) => !APART.has(label));
}

function look(t: Case, sock: Sock, { label, level, name }: Option): void {
  for (const size of [4, 0, 1, 64, -1]) {
    const { r, err, length, value } = sock.side.libc.getsockopt(sock.fd, level, name, size);
    const text = VARIES.has(label) ? '' : ` ${value.toString('hex')}`;
    t.log(`${sock.name} get ${label} size ${size} = ${r} ${err} length ${length}${text}`);
  }
}

function change(t: Case, sock: Sock, option: Option): void {
  const { label, level, name } = option;
  for (const value of [1, 0, 7, -1]) {
    sock.set(level, name, label, value);
    look(t, sock, option);
  }
  for (const length of [0, 1, 3, 8, 16]) sock.set(level, name, label, Buffer.alloc(16, 1), length);
  look(t, sock, option);
  sock.set(level, name, label, 0); // or the connection carries nothing any more
}

function everyState(t: Case, option: Option, family: number): void {
  const fresh = t.socket(t.near, 'fresh', 1, family);
  const listener = t.listener(t.near, 4, family);
  const [near, far] = t.pair({ family });
  for (const sock of [fresh, listener, near, far]) look(t, sock, option);
  change(t, fresh, option);
  change(t, near, option);
  far.shutdown(SHUT.WR);
  near.readable();
  look(t, near, option);
  far.close();
  look(t, near, option);
}

const LEVELS = [...table(SOL_SOCKET, 'SO', SO), ...table(IPPROTO.TCP, 'TCP', TCP), ...table(IPPROTO.IP, 'IP', IP)];

for (const option of LEVELS) options.tcp(option.label, (t) => everyState(t, option, AF.INET));
for (const option of table(IPPROTO.IPV6, 'IPV6', IPV6))
  options.tcp(option.label, (t) => everyState(t, option, AF.INET6));

/* ---- Datagrams ---- */

function everyDatagram(t: Case, option: Option, family: number): void {
  const fresh = t.socket(t.near, 'fresh', 2, family);
  const [near, far] = t.datagrams(family);
  near.send('x');
  far.readable().recv(10);
  for (const sock of [fresh, near]) look(t, sock, option);
  change(t, fresh, option);
  change(t, near, option);
}

for (const option of [
  ...table(SOL_SOCKET, 'SO', SO),
  ...table(IPPROTO.IP, 'IP', IP),
  ...table(IPPROTO.UDP, 'UDP', UDP),
])
  options.udp(`udp_${option.label}`, (t) => everyDatagram(t, option, AF.INET));
for (const option of table(IPPROTO.IPV6, 'IPV6', IPV6))
  options.udp(`udp_${option.label}`, (t) => everyDatagram(t, option, AF.INET6));

/* ---- Levels and names that are none ---- */

options.tcp('unknown', (t) => {
  const [near] = t.pair();
  for (const level of [-1, 2, 3, 132, 255, 41, 17, 263, 271, 280, 287])
    for (const name of [0, 1, 9999, -1]) {
      near.set(level, name, `${level}/${name}`, 1);
      near.get(level, name, `${level}/${name}`);
    }
});

options.tcp('error_after_reset', (t) => {
  const [near, far] = t.pair();
  far.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', Buffer.from('0100000000000000', 'hex'));
  far.close();
  near.readable();
  near.get(SOL_SOCKET, SO.ERROR, 'SO_ERROR');
  near.get(SOL_SOCKET, SO.ERROR, 'SO_ERROR');
  near.recv(10, MSG.DONTWAIT);
  near.send('x');
});

options.tcp('attach_filter', (t) => {
  const [near, far] = t.pair();
  near.set(SOL_SOCKET, SO.ATTACH_FILTER, 'SO_ATTACH_FILTER', Buffer.alloc(16));
  near.set(SOL_SOCKET, SO.ATTACH_FILTER, 'SO_ATTACH_FILTER', 1);
  near.set(SOL_SOCKET, SO.DETACH_FILTER, 'SO_DETACH_FILTER', 1);
  far.send('still works');
  near.readable().recv(100);
});

options.tcp('ulp', (t) => {
  const [near] = t.pair();
  near.set(IPPROTO.TCP, TCP.ULP, 'TCP_ULP', Buffer.from('nothing\0'));
  near.get(IPPROTO.TCP, TCP.ULP, 'TCP_ULP', 16);
  const fresh = t.socket(t.near, 'fresh');
  fresh.set(IPPROTO.TCP, TCP.ULP, 'TCP_ULP', Buffer.from('tls\0'));
});
