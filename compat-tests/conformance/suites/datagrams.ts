// SPDX-License-Identifier: BSD-3-Clause
/** UDP: messages and their bounds, addresses, vectors of messages, what comes along with a datagram, readiness. */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { EPOLL, IPPROTO, MSG, POLL, SHUT, SO, SOL_SOCKET } from '../libc/constants.js';
import type { ReceivedMessage } from '../libc/sockets.js';
import { AF, type Address, int32, time } from '../libc/struct.js';

export const datagrams = new Suite('datagrams');

const text = (...pieces: string[]): Buffer[] => pieces.map((piece) => Buffer.from(piece));
const IP = { TOS: 1, TTL: 2, PKTINFO: 8, RECVTOS: 13, RECVTTL: 12 } as const;
const IPV6 = {
  RECVPKTINFO: 49,
  RECVHOPLIMIT: 51,
  PKTINFO: 50,
  HOPLIMIT: 52,
  UNICAST_HOPS: 16,
  TCLASS: 67,
  RECVTCLASS: 66,
} as const;

/** An unconnected socket at each side, and where the far one is. */
function unconnected(t: Case, family: number = AF.INET): [near: Sock, far: Sock, to: Address] {
  const [near, far] = [t.datagram(t.near, 'near', family), t.datagram(t.far, 'far', family)];
  return [near, far, t.at(t.far, t.portOf(far), family)];
}

/** Waits for a datagram of the kernel's own time, so that what follows does not depend on it. */
function came(...socks: Sock[]): void {
  for (const sock of socks) sock.readable();
}

/** What came along, without what differs from world to world: times, numbers of interfaces. */
function ancillary(t: Case, { control }: ReceivedMessage): void {
  for (const { level, type, data } of control) {
    const short = data.length <= 4 ? ` ${data.readUIntLE(0, data.length)}` : '';
    t.log(`  ${level}/${type} ${data.length} bytes${short}`);
  }
}

datagrams.udp(
  'connected',
  (t) => {
    const [near, far] = t.datagrams();
    near.send('ping');
    far.readable().recvfrom(100);
    far.write('pong');
    near.readable().read(100);
    near.names();
  },
  { wire: true },
);

datagrams.udp(
  'unconnected',
  (t) => {
    const [near, far, to] = unconnected(t);
    near.call('sendto', (fd) => t.near.libc.sendto(fd, Buffer.from('hello'), 0, to));
    far.readable().recvfrom(100);
    near.send('nowhere');
    near.sendmsg({ pieces: text('nowhere') });
    near.write('nowhere');
    near.sendmsg({ pieces: text('one', '', 'two'), to });
    far.readable().recvmsg({ sizes: [2, 2, 100] });
  },
  { wire: true },
);

datagrams.udp(
  'bounds_are_kept',
  (t) => {
    const [near, far] = t.datagrams();
    for (const size of [1, 2, 500, 1000, 0, 3]) near.send(Buffer.alloc(size, 'x'));
    for (let i = 0; i < 6; i++) far.readable().recv(2000);
    far.recv(10, MSG.DONTWAIT);
  },
  { wire: true },
);

datagrams.udp(
  'too_small_a_buffer',
  (t) => {
    const [near, far] = t.datagrams();
    for (let i = 0; i < 5; i++) near.send('0123456789');
    came(far);
    far.recv(4);
    far.readable().recv(4, MSG.TRUNC);
    far.readable().recvmsg({ sizes: [2, 2] });
    far.readable().recvmsg({ sizes: [2, 2] }, MSG.TRUNC);
    far.readable().recv(0);
    far.recv(10, MSG.DONTWAIT);
  },
  { wire: true },
);

datagrams.udp(
  'peek',
  (t) => {
    const [near, far] = t.datagrams();
    near.send('first');
    near.send('second');
    came(far);
    far.recv(100, MSG.PEEK);
    far.recv(2, MSG.PEEK);
    far.recv(2, MSG.PEEK | MSG.TRUNC);
    far.recvmsg({ sizes: [3] }, MSG.PEEK);
    far.recv(100);
    far.readable().recv(100, MSG.PEEK | MSG.DONTWAIT);
    far.recv(100);
    far.recv(100, MSG.PEEK | MSG.DONTWAIT);
  },
  { wire: true },
);

datagrams.udp(
  'zero_length',
  (t) => {
    const [near, far] = t.datagrams();
    near.send('');
    far.readable().recv(10);
    near.sendmsg({ pieces: [] });
    far.readable().recvmsg({ sizes: [10] });
    near.write('');
    far.readable().poll(POLL.IN);
    near.send('');
    t.log(`FIONREAD ${t.far.libc.ioctl(far.readable().fd, 0x541b).value}`);
    far.recv(0);
    far.readable().read(0);
    far.recv(10, MSG.DONTWAIT);
  },
  { wire: true },
);

datagrams.udp(
  'names',
  (t) => {
    const [near, far, to] = unconnected(t);
    for (let i = 0; i < 4; i++) near.call('sendto', (fd) => t.near.libc.sendto(fd, Buffer.from(`${i}`), 0, to));
    came(far);
    far.recvmsg({ sizes: [10], name: 0 });
    far.readable().recvmsg({ sizes: [10], name: 4 });
    far.readable().recvmsg({ sizes: [10], name: 16 });
    far.readable().recvfrom(10);
  },
  { wire: true },
);

datagrams.udp(
  'sendmmsg',
  (t) => {
    const [near, far, to] = unconnected(t);
    const messages = ['one', 'two', '', 'four'].map((piece) => ({ pieces: text(piece), to }));
    const sent = t.near.libc.sendmmsg(near.fd, messages);
    t.log(`sendmmsg ${sent.r} ${sent.lengths.join(' ')}`);
    for (let i = 0; i < 4; i++) far.readable().recv(100);
    const mixed = t.near.libc.sendmmsg(near.fd, [
      { pieces: text('good'), to },
      { pieces: text('nowhere') },
      { pieces: text('late'), to },
    ]);
    t.log(`sendmmsg with a bad one ${mixed.r} ${mixed.lengths.join(' ')}`);
    far.readable().recv(100);
    t.result('sendmmsg the bad one first', t.near.libc.sendmmsg(near.fd, [{ pieces: text('nowhere') }]));
    t.result('sendmmsg none', t.near.libc.sendmmsg(near.fd, []));
  },
  { wire: true },
);

datagrams.udp(
  'recvmmsg',
  (t) => {
    const [near, far] = t.datagrams();
    const receive = (what: string, count: number, flags = 0, timeout?: number): void => {
      const { r, err, messages } = t.near.libc.recvmmsg(
        near.fd,
        Array<{ sizes: number[] }>(count).fill({ sizes: [4] }),
        flags,
        timeout,
      );
      t.log(`${what} = ${r} ${err}`);
      for (const m of messages) t.log(`  ${m.r} ${m.data.toString()} flags ${m.flags} from ${t.address(m.from)}`);
    };
    receive('nothing', 3, MSG.DONTWAIT);
    for (const word of ['a', 'bc', 'longer']) far.send(word);
    t.eventually(
      'all three',
      () =>
        t.near.libc.recvmmsg(near.fd, Array<{ sizes: number[] }>(3).fill({ sizes: [9] }), MSG.PEEK | MSG.DONTWAIT).r >
        0,
    );
    came(near);
    t.pause(50);
    receive('two of three', 2);
    receive('the rest', 5, MSG.DONTWAIT);
    far.send('one');
    came(near);
    receive('wait for one', 5, MSG.WAITFORONE);
    far.send('last');
    came(near);
    receive('a timeout, looked at after a message', 1, 0, 1000);
    receive('none asked for', 0);
  },
  { wire: true },
);

datagrams.udp(
  'connect_again',
  (t) => {
    const [near, far, to] = unconnected(t);
    const other = t.datagram(t.far, 'other');
    near.call('connect', (fd) => t.near.libc.connect(fd, to));
    near.send('to far');
    far.readable().recv(100);
    near.call('connect', (fd) => t.near.libc.connect(fd, t.at(t.far, t.portOf(other))));
    near.send('to other');
    other.readable().recv(100);
    near.call('sendto', (fd) => t.near.libc.sendto(fd, Buffer.from('by name'), 0, to));
    far.readable().recv(100);
    near.call('connect AF_UNSPEC', (fd) => t.near.libc.connect(fd, { family: AF.UNSPEC, host: '0.0.0.0', port: 0 }));
    near.send('nowhere');
  },
  { wire: true },
);

datagrams.udp(
  'ephemeral_port',
  (t) => {
    const far = t.datagram(t.far, 'far');
    const near = t.socket(t.near, 'near', 2);
    t.log(`port ${t.portOf(near)}`);
    near.call('sendto', (fd) => t.near.libc.sendto(fd, Buffer.from('x'), 0, t.at(t.far, t.portOf(far))));
    t.log(`has one ${t.portOf(near) !== 0}`);
    far.readable().recvfrom(10);
    far.call('answer', (fd) => t.far.libc.sendto(fd, Buffer.from('back'), 0, t.at(t.near, t.portOf(near))));
    near.readable().recvfrom(10);
  },
  { wire: true },
);

datagrams.udp(
  'packet_info',
  (t) => {
    const [near, far] = t.datagrams();
    for (const option of [IP.PKTINFO, IP.RECVTTL, IP.RECVTOS]) near.set(IPPROTO.IP, option, `option ${option}`, 1);
    far.set(IPPROTO.IP, IP.TTL, 'IP_TTL', 33);
    far.set(IPPROTO.IP, IP.TOS, 'IP_TOS', 0x10);
    far.send('x');
    const got = t.near.libc.recvmsg(near.readable().fd, { sizes: [10] });
    ancillary(t, got);
    const info = got.control.find((c) => c.type === IP.PKTINFO)?.data ?? Buffer.alloc(12);
    const own = t.near.host.split('.').map(Number);
    t.log(`for ${info.subarray(8, 12).equals(Buffer.from(own))}, interface ${info.readInt32LE(0) > 0}`);
    near.set(IPPROTO.IP, IP.PKTINFO, 'IP_PKTINFO', 0);
    far.send('y');
    ancillary(t, t.near.libc.recvmsg(near.readable().fd, { sizes: [10] }));
  },
  { wire: true },
);

datagrams.udp(
  'packet_info_cut',
  (t) => {
    const [near, far] = t.datagrams();
    near.set(IPPROTO.IP, IP.PKTINFO, 'IP_PKTINFO', 1);
    near.set(IPPROTO.IP, IP.RECVTTL, 'IP_RECVTTL', 1);
    for (const room of [0, 8, 20, 28, 32, 48]) {
      far.send('x');
      const { flags, controlLength, control } = t.near.libc.recvmsg(near.readable().fd, { sizes: [10], control: room });
      t.log(
        `room ${room}: flags ${flags} length ${controlLength} objects ${control.map((c) => `${c.type}:${c.data.length}`).join(' ')}`,
      );
    }
  },
  { wire: true },
);

datagrams.udp(
  'source_by_control',
  (t) => {
    const [near, far, to] = unconnected(t);
    const address = Buffer.from(t.near.host.split('.').map(Number));
    const info = Buffer.concat([int32(0), address, Buffer.alloc(4)]);
    near.sendmsg({ pieces: text('from it'), to, control: [{ level: IPPROTO.IP, type: IP.PKTINFO, data: info }] });
    far.readable().recvfrom(10);
    near.sendmsg({ pieces: text('with a TTL'), to, control: [{ level: IPPROTO.IP, type: IP.TTL, data: int32(20) }] });
    far.set(IPPROTO.IP, IP.RECVTTL, 'IP_RECVTTL', 1);
    far.readable().recvfrom(20);
    near.sendmsg({ pieces: text('no such TTL'), to, control: [{ level: IPPROTO.IP, type: IP.TTL, data: int32(256) }] });
  },
  { wire: true },
);

datagrams.udp(
  'packet_info_v6',
  (t) => {
    const [near, far] = t.datagrams(AF.INET6);
    for (const option of [IPV6.RECVPKTINFO, IPV6.RECVHOPLIMIT, IPV6.RECVTCLASS])
      near.set(IPPROTO.IPV6, option, `option ${option}`, 1);
    far.set(IPPROTO.IPV6, IPV6.UNICAST_HOPS, 'IPV6_UNICAST_HOPS', 33);
    far.set(IPPROTO.IPV6, IPV6.TCLASS, 'IPV6_TCLASS', 0x20);
    far.send('x');
    ancillary(t, t.near.libc.recvmsg(near.readable().fd, { sizes: [10] }));
  },
  { wire: true },
);

datagrams.udp(
  'timestamps',
  (t) => {
    const [near, far] = t.datagrams();
    for (const [name, option, unit] of [
      ['SO_TIMESTAMP', SO.TIMESTAMP, 1000],
      ['SO_TIMESTAMPNS', SO.TIMESTAMPNS, 1],
    ] as const) {
      near.set(SOL_SOCKET, option, name, 1);
      const before = Date.now() - 1000;
      far.send('x');
      const { control } = t.near.libc.recvmsg(near.readable().fd, { sizes: [10] });
      for (const { level, type, data } of control) {
        const ms = Number(data.readBigInt64LE(0)) * 1000 + (Number(data.readBigInt64LE(8)) * unit) / 1_000_000;
        t.log(`${name}: ${level}/${type} ${data.length} bytes, now ${ms > before && ms < Date.now() + 1000}`);
      }
      near.get(SOL_SOCKET, option, name);
      near.set(SOL_SOCKET, option, name, 0);
    }
    far.send('y');
    ancillary(t, t.near.libc.recvmsg(near.readable().fd, { sizes: [10] }));
  },
  { wire: true },
);

datagrams.udp(
  'readiness',
  (t) => {
    const [near, far] = t.datagrams();
    const [level, edge] = [t.poller(), t.poller(t.near, 'edge')];
    level.add(near, EPOLL.IN);
    edge.add(near, EPOLL.IN | EPOLL.ET, 2);
    level.wait();
    near.poll();
    far.send('one');
    came(near);
    near.poll();
    level.wait();
    level.wait();
    edge.wait();
    edge.wait();
    far.send('two');
    t.eventually('the second edge', () => t.near.libc.epoll_wait(edge.fd, 4, 100).r === 1);
    near.recv(10);
    near.recv(10);
    level.wait();
    near.poll(POLL.IN);
  },
  { wire: true },
);

datagrams.udp(
  'timeout',
  (t) => {
    const [near, far] = t.datagrams();
    near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(0, 30_000));
    near.recv(10);
    near.recvmsg({ sizes: [10] });
    far.send('x');
    came(near);
    near.recv(10);
  },
  { wire: true },
);

datagrams.udp(
  'sizes',
  (t) => {
    const [near, far] = t.datagrams();
    for (const size of [1400, 5000, 40_000]) {
      near.send(Buffer.alloc(size, 'abc'));
      far.readable().recv(65_536);
    }
    near.send(Buffer.alloc(65_508));
    near.send(Buffer.alloc(70_000));
  },
  { wire: true },
);

datagrams.udp('shutdown', (t) => {
  const [near, far] = t.datagrams();
  far.send('before');
  came(near);
  near.shutdown(SHUT.RD);
  near.recv(10);
  near.recv(10);
  near.shutdown(SHUT.WR);
  near.send('late');
  near.poll();
});

datagrams.udp('other_flags', (t) => {
  const [near, far] = t.datagrams();
  near.send('oob', MSG.OOB);
  near.recv(10, MSG.OOB | MSG.DONTWAIT);
  near.send('confirmed', 0x800);
  far.readable().recv(20, MSG.WAITALL);
  near.send('routed', 0x4);
  far.readable().poll(POLL.IN, 0);
  near.recv(10, MSG.ERRQUEUE);
});

datagrams.udp(
  'blocked_reader',
  (t) => {
    const [near, far] = t.datagrams();
    if (t.far.begin === undefined) throw new Error('another process is needed');
    for (const name of ['recv', 'read'] as const) {
      const waiting = t.far.begin(name, far.fd, 10);
      t.pause(20);
      near.send('wake');
      const { r, data } = waiting() as { r: number; data: Buffer };
      t.log(`${name} gives ${r} ${data.toString()}`);
    }
  },
  { processes: true, wire: true },
);
