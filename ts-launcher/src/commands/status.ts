/** `zstack-run engine status` for people. */
import { portNameOf } from '../engine/port-names.js';
import type { EngineStatus, PortStatus } from '../engine/protocol.js';
import { bytes, duration, plainTable } from './format.js';

/** The status for people. */
export function statusText(status: EngineStatus): string {
  return [headText(status), portsText(status), clientsText(status)].filter((text) => text !== '').join('\n\n');
}

/** What programs have for the buffers of zero-copy sockets; nothing when none has. */
function buffersLine(buffers: EngineStatus['memory']['buffers']): [string, string][] {
  if (buffers === undefined || buffers.segments === 0) return [];
  const { segments, bytes: size, resident } = buffers;
  return [['buffers', `${bytes(size)} of it, in ${segments} segments; ${bytes(resident)} touched`]];
}

function headText(status: EngineStatus): string {
  const { memory, sessions, dpdk, ports = [], wire } = status;
  const lines: [string, string][] = [
    [
      'engine',
      `${status.name} (uid ${status.uid}), pid ${status.pid}, version ${status.version}, layout ${String(status.layout)}`,
    ],
    ['up', `${duration(status.uptime_s)}, ${duration(status.cpu_s)} of CPU time`],
    ['memory', `${bytes(memory.used)} of ${bytes(memory.limit)}, at most ${bytes(memory.peak)}`],
    ...buffersLine(memory.buffers),
    [
      'sockets',
      `${sessions.in_use} (${sessions.tcp} TCP, ${sessions.udp} UDP, ${sessions.listeners} listening), ${sessions.accept_queued} waiting to be accepted`,
    ],
    [
      'DPDK',
      dpdk.enabled
        ? `${dpdk.version}, ${ports.length} ports, ${dpdk.args.join(' ')}`
        : 'not used: same-host sockets only',
    ],
  ];
  if (wire !== undefined && ports.length > 0) {
    const {
      stack = 'native',
      connections = 0,
      own_sessions: own = 0,
      loans = 0,
      rx_copies: rx = 0,
      tx_copies: tx = 0,
    } = wire;
    lines.push([
      'wire',
      `${stack} stack, ${connections} connections, ${own} sessions of the engine's own, ${loans} buffers lent`,
    ]);
    lines.push(['copies', `${rx.toFixed(3)} per byte received, ${tx.toFixed(3)} per byte sent, by the engine`]);
  }
  const counted = Object.entries(status.stack ?? {}).filter(([, value]) => value !== 0);
  if (counted.length > 0) lines.push(['stack', counted.map(([name, value]) => `${name} ${value}`).join(', ')]);
  return plainTable(['', ''], lines).split('\n').slice(1).join('\n');
}

/** A row per port; columns that no port has something for are left out. */
function portsText({ ports = [], dpdk }: EngineStatus): string {
  if (ports.length === 0) return '';
  const traffic = (packets = 0, size = 0) => `${packets} (${bytes(size)})`;
  const columns: [head: string, cell: (port: PortStatus) => string][] = [
    ['port', ({ device, kind, driver }) => portNameOf(device, kind ?? driver ?? 'port', dpdk.args)],
    ['address', ({ ip = [] }) => ip.join(' ')],
    ['gateway', ({ gateway }) => gateway ?? ''],
    ['mac', ({ mac = '' }) => mac],
    ['mtu', ({ mtu }) => (mtu === undefined ? '' : String(mtu))],
    ['link', ({ link }) => (link === undefined ? '' : link ? 'up' : 'down')],
    ['in', ({ rx_packets, rx_bytes }) => traffic(rx_packets, rx_bytes)],
    ['out', ({ tx_packets, tx_bytes }) => traffic(tx_packets, tx_bytes)],
    ['lost', lostText],
  ];
  const rows = ports.map((port) => columns.map(([, cell]) => cell(port)));
  const kept = columns.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ''));
  return plainTable(
    kept.map((column) => columns[column]?.[0] ?? ''),
    rows.map((row) => kept.map((column) => row[column] ?? '')),
  );
}

/** Packets that a port lost, by where: nothing when there are none. */
function lostText(port: PortStatus): string {
  const losses: [string, number | undefined][] = [
    ['missed', port.rx_missed],
    ['in errors', port.rx_errors],
    ['no buffer', port.rx_nombuf],
    ['out errors', port.tx_errors],
  ];
  return losses
    .filter(([, count = 0]) => count > 0)
    .map(([name, count = 0]) => `${count} ${name}`)
    .join(', ');
}

function clientsText(status: EngineStatus): string {
  if (status.clients.length === 0) return 'no program is attached';
  return plainTable(
    ['pid', 'program', 'sockets', 'connects', 'accepts', 'in', 'out', 'wakeups', 'sleeps'],
    status.clients.map((client) => [
      String(client.pid),
      client.name,
      ...[client.sessions, client.connects, client.accepts].map(String),
      ...[client.bytes_in, client.bytes_out].map(bytes),
      ...[client.wakeups, client.sleeps].map(String),
    ]),
    [0, 2, 3, 4, 5, 6, 7, 8],
  );
}
