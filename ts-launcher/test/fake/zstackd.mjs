#!/usr/bin/env node
// An engine for the tests of the launcher: the command line, the report on descriptor 3, the administration protocol.
// The name chooses what goes wrong: crash*, nodpdk*, noport*, slow*, mute*; and what it does: events*, wire*, maketap*.
import { execFileSync } from 'node:child_process';
import { writeSync, closeSync } from 'node:fs';
import { createServer } from 'node:net';

const args = process.argv.slice(2);
const value = (flag) => args[args.indexOf(flag) + 1];
const name = value('--name');
const linger = Number(value('--linger'));
const dpdk = !args.includes('--no-dpdk');
const ports = args.flatMap((arg, index) => (arg === '--port' ? [args[index + 1].split(',')] : []));
const ealArgs = args.includes('--') ? args.slice(args.indexOf('--') + 1) : [];
const address = `\0zstack-${process.getuid()}-${name}-admin`.padEnd(108, '\0');

function report(line) {
  try {
    writeSync(3, `${line}\n`);
    closeSync(3);
  } catch {
    // Nobody listens.
  }
}

if (name.startsWith('crash')) {
  console.error('fake: out of luck');
  process.exit(1);
}
if (name.startsWith('refuse')) {
  report('error ZS2042: the arena is too large - hint: use a smaller --memory');
  process.exit(1);
}
if (name.startsWith('nodpdk') && dpdk) {
  report('error ZS2010: EAL refused its arguments - hint: --no-dpdk');
  process.exit(4);
}

if (name.startsWith('noport') && ports.length > 0) {
  report('error ZS2120: the device does not start - hint: another one');
  process.exit(4);
}
if (name.startsWith('maketap')) {
  // Only in a namespace of the test's own: these stay until it is removed.
  for (const [device] of ports) {
    const vdev = ealArgs.find((arg) => arg.startsWith(`--vdev=${device},`));
    execFileSync('ip', ['tuntap', 'add', 'mode', 'tap', 'name', /iface=([^,]+)/.exec(vdev)[1]]);
  }
}

const started = Date.now();
const leases = new Map();
let timer;
console.error(`fake: engine ${name} serves`);

function expire() {
  clearTimeout(timer);
  if (linger > 0 && leases.size === 0) timer = setTimeout(() => process.exit(0), linger * 1000);
}

function status() {
  return {
    pid: process.pid,
    version: '0.0-fake',
    layout: 1,
    name,
    uid: process.getuid(),
    uptime_s: (Date.now() - started) / 1000,
    cpu_s: process.cpuUsage().user / 1e6,
    memory: { limit: Number(value('--memory')) << 20, used: 4096, peak: 8192 },
    sessions: { in_use: 2, tcp: 2, udp: 0, listeners: 1, accept_queued: 0 },
    waiters: 1,
    clients: [...leases.values()].map(({ run, pid }, id) => ({
      ...{ id, pid, name: 'node', run, sessions: 1, connects: 1, accepts: 1 },
      ...{ bytes_in: 1536, bytes_out: 64, wakeups: 3, sleeps: 2 },
    })),
    totals: { connects: 1, accepts: 1 },
    dpdk: { version: 'DPDK 0', enabled: dpdk, hugepages: false, args: ealArgs, ports: [] },
    ...(ports.length === 0
      ? {}
      : {
          ports: ports.map(([device, ip]) => ({
            ...{ device, driver: device.slice(0, -1), kind: device.slice(4, -1), ip: [ip.slice(3)], gateway: null },
            ...{ mac: '02:00:00:00:00:01', mtu: 1500, link: true, sleep: 'fd', rx_packets: 3, tx_packets: 4 },
            ...{ rx_bytes: 300, tx_bytes: 4096, rx_missed: 0, rx_errors: 2, tx_errors: 0, rx_nombuf: 0, copies: 1 },
          })),
          stack: { arp_replies: 2, ip_bad_checksum: 0 },
          wire: { connections: 5, own_sessions: 1, loans: 7 },
        }),
  };
}

const commands = {
  ping: () => ({ pid: process.pid, version: '0.0-fake', layout: 1 }),
  status,
  lease(request, socket) {
    leases.set(socket, { run: request.run, pid: request.pid });
    clearTimeout(timer);
    const event = {
      event: 'listen',
      pid: 77,
      name: 'node',
      proto: 'tcp',
      address: '0.0.0.0',
      port: 8080,
      verdict: 'both',
    };
    if (name.startsWith('events')) {
      for (const each of [
        event,
        event,
        { ...event, address: '::', port: 53, proto: 'udp' },
        { event: 'warning', text: 'odd\u001b[31m' },
      ]) {
        setImmediate(() => socket.write(`${JSON.stringify(each)}\n`));
      }
    }
    if (name.startsWith('wire')) {
      const wire = ports.map(([, ip]) => ip.slice(3).split('/')[0]);
      for (const each of [
        { ...event, wire },
        { ...event, pid: 78, wire },
      ]) {
        setImmediate(() => socket.write(`${JSON.stringify(each)}\n`));
      }
    }
    return {};
  },
  why(request) {
    const sockets = [
      {
        fd: 5,
        proto: 'tcp',
        verdict: 'local',
        reason: 'PAIRED',
        text: 'the listener is a session of this engine',
        local: '127.0.0.1:8080',
        remote: '127.0.0.1:40000',
        bytes_in: 10,
        bytes_out: 2048,
        peer: { pid: 9, name: 'curl' },
      },
      {
        fd: 6,
        proto: 'udp',
        verdict: 'kernel',
        reason: 'OFF',
        text: '--udp kernel',
        local: '0.0.0.0:53',
        remote: '',
        bytes_in: 0,
        bytes_out: 0,
      },
    ];
    return {
      pid: request.pid,
      attached: true,
      sockets: sockets.filter(({ fd }) => request.fd === undefined || fd === request.fd),
    };
  },
  stop(request) {
    if (leases.size > 0 && !request.force)
      throw { code: 'ZS2003', message: 'programs are attached', hint: 'end them, or --force' };
    setImmediate(() => process.exit(0));
    return {};
  },
};

const server = createServer((socket) => {
  let buffer = '';
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  socket.on('close', () => {
    leases.delete(socket);
    expire();
  });
  socket.on('data', (text) => {
    if (name.startsWith('mute')) return;
    buffer += text;
    const lines = buffer.split('\n');
    buffer = lines.pop();
    for (const line of lines) {
      const request = JSON.parse(line);
      try {
        socket.write(
          `${JSON.stringify({ id: request.id, ok: true, result: commands[request.cmd](request, socket) })}\n`,
        );
      } catch (error) {
        socket.write(`${JSON.stringify({ id: request.id, ok: false, error })}\n`);
      }
    }
  });
});

server.on('error', () => {
  report('error ZS2001: another engine has the name - hint: connect to it');
  process.exit(3);
});
server.listen({ path: address }, () => {
  setTimeout(
    () => {
      report('ready');
      expire();
    },
    name.startsWith('slow') ? 300 : 0,
  );
});
