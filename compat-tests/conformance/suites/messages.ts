// SPDX-License-Identifier: BSD-3-Clause
/** Data calls on a TCP connection: flags, messages, vectors, ends. */
import { Suite } from '../harness/case.js';
import { IPPROTO, MSG, POLL, RWF, SHUT, SO, SOL_SOCKET, TCP } from '../libc/constants.js';
import { int32, time } from '../libc/struct.js';

export const messages = new Suite('messages');

const text = (...pieces: string[]): Buffer[] => pieces.map((piece) => Buffer.from(piece));
const LINGER_NOW = Buffer.from('0100000000000000', 'hex');

messages.wired('echo', (t) => {
  const [near, far] = t.pair();
  near.send('ping');
  far.readable().recv(100);
  far.send('pong');
  near.readable().recv(100);
  near.close();
  far.readable().recv(100);
});

messages.wired('peek', (t) => {
  const [near, far] = t.pair();
  far.send('0123456789');
  near.arrived(10).recv(4, MSG.PEEK);
  near.recv(100, MSG.PEEK);
  near.recv(3);
  near.recv(100, MSG.PEEK | MSG.DONTWAIT);
  near.recv(100);
  near.recv(100, MSG.PEEK | MSG.DONTWAIT);
});

messages.wired('peek_waitall_nonblocking', (t) => {
  const [near, far] = t.pair();
  far.send('abc');
  near.arrived(3).recv(10, MSG.PEEK | MSG.WAITALL | MSG.DONTWAIT);
  near.recv(10, MSG.WAITALL | MSG.DONTWAIT);
});

messages.wired('peek_waitall_whole', (t) => {
  const [near, far] = t.pair();
  far.send('abcdef');
  near.arrived(6).recv(6, MSG.PEEK | MSG.WAITALL);
  near.recv(6, MSG.WAITALL);
});

messages.wired('peek_off', (t) => {
  const [near, far] = t.pair();
  near.set(SOL_SOCKET, SO.PEEK_OFF, 'SO_PEEK_OFF', 2);
  near.get(SOL_SOCKET, SO.PEEK_OFF, 'SO_PEEK_OFF');
  far.send('0123456789');
  near.arrived(10).recv(3, MSG.PEEK);
  near.recv(3, MSG.PEEK);
  near.get(SOL_SOCKET, SO.PEEK_OFF, 'SO_PEEK_OFF');
  near.recv(2);
  near.recv(3, MSG.PEEK);
  near.set(SOL_SOCKET, SO.PEEK_OFF, 'SO_PEEK_OFF', -1);
  near.recv(3, MSG.PEEK);
});

messages.wired('trunc', (t) => {
  const [near, far] = t.pair();
  far.send('0123456789');
  near.arrived(10).recv(4, MSG.TRUNC);
  near.recv(3, MSG.PEEK | MSG.TRUNC);
  near.recv(100);
});

messages.wired('dontwait_empty', (t) => {
  const [near] = t.pair();
  near.recv(10, MSG.DONTWAIT);
  near.recv(0, MSG.DONTWAIT);
  near.recvfrom(10, MSG.DONTWAIT);
  near.recvmsg({ sizes: [10] }, MSG.DONTWAIT);
  near.nonblocking().recv(10);
  near.read(10);
});

messages.wired('zero_sizes', (t) => {
  const [near, far] = t.pair();
  near.send('');
  near.write('');
  far.send('x');
  near.readable().recv(0);
  near.read(0);
  near.recvmsg({ sizes: [] });
  near.recvmsg({ sizes: [0, 0] });
  near.call('readv', (fd) => near.side.libc.readv(fd, []));
  near.call('writev', (fd) => near.side.libc.writev(fd, []));
  near.recv(10);
});

messages.wired('vectors', (t) => {
  const [near, far] = t.pair();
  near.call('writev', (fd) => near.side.libc.writev(fd, text('one', '', 'two', 'three')));
  far.arrived(11).call('readv', (fd) => far.side.libc.readv(fd, [2, 0, 5, 100]));
  near.sendmsg({ pieces: text('a', 'bc', 'def') });
  far.arrived(6).recvmsg({ sizes: [1, 1, 1, 1] });
  far.recvmsg({ sizes: [1, 10] });
});

messages.wired('many_vectors', (t) => {
  const [near, far] = t.pair();
  const pieces = Array.from({ length: 1024 }, (_, i) => Buffer.from(String(i % 10)));
  near.call('writev 1024', (fd) => near.side.libc.writev(fd, pieces));
  far.arrived(1024).call('readv 1024', (fd) => far.side.libc.readv(fd, Array<number>(1024).fill(1)));
  near.call('writev 1025', (fd) => near.side.libc.writev(fd, [...pieces, ...text('x')]));
  near.call('sendmsg 1025', (fd) => near.side.libc.sendmsg(fd, { pieces: [...pieces, ...text('x')] }));
  near.recvmsg({ sizes: Array<number>(1025).fill(1) }, MSG.DONTWAIT);
});

messages.wired('sendto_connected', (t) => {
  const [near, far] = t.pair();
  const elsewhere = { family: 2, host: '192.0.2.77', port: 9 };
  near.call('sendto', (fd) => near.side.libc.sendto(fd, Buffer.from('abc'), 0, elsewhere));
  far.readable().recvfrom(10);
  near.sendmsg({ pieces: text('def'), to: elsewhere });
  far.readable().recvmsg({ sizes: [10] });
});

messages.wired('names_of_messages', (t) => {
  const [near, far] = t.pair();
  far.send('abcdef');
  near.arrived(6).recvmsg({ sizes: [1], name: 128, control: 100 });
  near.recvmsg({ sizes: [1], name: 4, control: 4 });
  near.recvmsg({ sizes: [1], name: 0, control: 0 });
  near.recvfrom(1);
});

messages.wired('mmsg', (t) => {
  const [near, far] = t.pair();
  const sent = near.side.libc.sendmmsg(near.fd, [
    { pieces: text('one') },
    { pieces: text('two', 'three') },
    { pieces: [] },
  ]);
  t.result(`sendmmsg ${sent.lengths}`, sent);
  const got = far
    .arrived(11)
    .side.libc.recvmmsg(far.fd, [{ sizes: [4] }, { sizes: [4] }, { sizes: [100] }], MSG.WAITFORONE);
  t.result(`recvmmsg ${got.messages.map((m) => m.r)}`, got);
  const none = near.side.libc.recvmmsg(near.fd, [{ sizes: [4] }], MSG.DONTWAIT);
  t.result('recvmmsg', none);
  t.result('sendmmsg nothing', near.side.libc.sendmmsg(near.fd, []));
  t.result('recvmmsg nothing', near.side.libc.recvmmsg(near.fd, []));
});

messages.wired('mmsg_stops_at_end', (t) => {
  const [near, far] = t.pair();
  far.send('abc');
  far.shutdown(SHUT.WR);
  near.until(POLL.RDHUP);
  const got = near.side.libc.recvmmsg(near.fd, [{ sizes: [10] }, { sizes: [10] }, { sizes: [10] }]);
  t.result(`recvmmsg ${got.messages.map((m) => m.r)}`, got);
});

messages.wired('mmsg_timeout', (t) => {
  const [near, far] = t.pair();
  far.send('abc');
  near.arrived(3);
  const got = near.side.libc.recvmmsg(near.fd, [{ sizes: [1] }, { sizes: [1] }, { sizes: [10] }], 0, 0);
  t.result(`recvmmsg ${got.messages.map((m) => m.r)}`, got);
  t.result('recvmmsg bad time', near.side.libc.raw('recvmmsg', 'iizuiz', near.fd, Buffer.alloc(64), 1, 0, time(0, -1)));
  near.recv(10);
});

messages.wired('flags_accepted', (t) => {
  const [near, far] = t.pair();
  for (const flag of [
    MSG.DONTROUTE,
    MSG.CONFIRM,
    MSG.EOR,
    MSG.MORE,
    MSG.NOSIGNAL,
    MSG.WAITALL,
    0x80000,
    MSG.CMSG_CLOEXEC,
  ])
    near.send('x', flag);
  near.send('y');
  far.arrived(9).recv(100);
});

messages.wired('receive_flags_accepted', (t) => {
  const [near, far] = t.pair();
  for (const flag of [MSG.EOR, MSG.CONFIRM, MSG.DONTROUTE, MSG.NOSIGNAL, MSG.CMSG_CLOEXEC, MSG.MORE, 0x80000]) {
    far.send('x');
    near.readable().recv(10, flag);
    far.send('x');
    near.readable().recvmsg({ sizes: [10] }, flag);
  }
});

messages.wired('preadv2', (t) => {
  const [near, far] = t.pair();
  const { libc } = near.side;
  far.send('0123456789');
  near.arrived(10);
  t.result('preadv2 offset 0', libc.preadv2(near.fd, [4], 0, 0));
  for (const flags of [0, RWF.HIPRI, RWF.NOWAIT, RWF.DSYNC, RWF.SYNC, RWF.APPEND, 0x100])
    near.call(`preadv2 flags ${flags}`, (fd) => libc.preadv2(fd, [1], -1, flags));
  near.recv(100);
  near.call('preadv2 nowait', (fd) => libc.preadv2(fd, [1], -1, RWF.NOWAIT));
  near.call('preadv2 -2', (fd) => libc.preadv2(fd, [1], -2, 0));
  near.call('pread', (fd) => libc.pread(fd, 1, 0));
});

messages.wired('pwritev2', (t) => {
  const [near, far] = t.pair();
  const { libc } = near.side;
  t.result('pwritev2 offset 0', libc.pwritev2(near.fd, text('abc'), 0, 0));
  for (const flags of [0, RWF.HIPRI, RWF.NOWAIT, RWF.DSYNC, RWF.SYNC, RWF.APPEND, 0x100])
    near.call(`pwritev2 flags ${flags}`, (fd) => libc.pwritev2(fd, text('x'), -1, flags));
  near.call('pwritev2 -2', (fd) => libc.pwritev2(fd, text('x'), -2, 0));
  near.call('pwrite', (fd) => libc.pwrite(fd, Buffer.from('x'), 0));
  near.shutdown(SHUT.WR);
  far.until(POLL.RDHUP).recv(100);
});

messages.wired('half_close', (t) => {
  const [near, far] = t.pair();
  near.shutdown(SHUT.WR);
  near.send('x');
  far.readable().recv(10);
  far.send('still');
  near.readable().recv(10);
  far.close();
  near.readable().recv(10);
  near.recv(10);
  near.shutdown(SHUT.RD);
});

messages.wired('shutdown_read', (t) => {
  const [near, far] = t.pair();
  far.send('before');
  near.arrived(6).shutdown(SHUT.RD);
  near.recv(3);
  near.recv(100);
  near.recv(100, MSG.DONTWAIT);
  near.send('out');
  far.readable().recv(100);
});

messages.wired('shutdown_twice', (t) => {
  const [near, far] = t.pair();
  for (const how of [SHUT.WR, SHUT.WR, SHUT.RD, SHUT.RD, SHUT.RDWR, 3, -1]) near.shutdown(how);
  far.readable().recv(10);
});

messages.wired('reset', (t) => {
  const [near, far] = t.pair();
  far.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', LINGER_NOW);
  far.close();
  near.until(POLL.ERR | POLL.HUP).poll();
  near.recv(10);
  near.recv(10);
  near.send('x');
  near.shutdown(SHUT.WR);
  near.names();
});

messages.wired('reset_before_write', (t) => {
  const [near, far] = t.pair();
  far.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', LINGER_NOW);
  far.close();
  near.until(POLL.ERR | POLL.HUP).send('x');
  near.send('x');
  near.recv(10);
});

messages.wired('reset_by_unread', (t) => {
  const [near, far] = t.pair();
  near.send('never read');
  far.arrived(10).close();
  near.until(POLL.ERR | POLL.HUP).poll();
  near.recv(10);
  near.send('x');
});

messages.wired('reset_loses_unread', (t) => {
  const [near, far] = t.pair();
  far.send('data');
  near.arrived(4);
  far.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', LINGER_NOW);
  far.close();
  near.until(POLL.ERR | POLL.HUP).recv(10);
  near.recv(10);
});

messages.wired('linger_zero_near', (t) => {
  const [near, far] = t.pair();
  near.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', LINGER_NOW);
  near.send('data');
  near.delivered().close();
  far.until(POLL.ERR | POLL.HUP).poll();
  far.recv(10);
  far.recv(10);
});

messages.wired('fin_keeps_data', (t) => {
  const [near, far] = t.pair();
  far.send('first');
  far.send('second');
  far.close();
  near.until(POLL.RDHUP).recv(5);
  near.recv(100);
  near.recv(100);
  near.recv(100);
});

messages.wired('write_after_peer_closed', (t) => {
  const [near, far] = t.pair();
  far.close();
  near.until(POLL.RDHUP).send('one');
  near.until(POLL.HUP | POLL.ERR).send('two');
  near.recv(10);
});

messages.wired('server_side', (t) => {
  const [near, far] = t.pair({ server: 'near' });
  near.names();
  far.send('hello');
  near.readable().recv(10);
  near.send('bye');
  near.close();
  far.until(POLL.RDHUP).recv(10);
  far.recv(10);
});

messages.wired('names_client', (t) => {
  const [near, far] = t.pair();
  near.names();
  far.names();
});

messages.wired('names_v6', (t) => {
  const [near, far] = t.pair({ family: 10 });
  near.names();
  far.names();
  far.send('six');
  near.readable().recvfrom(10);
});

messages.wired('large', (t) => {
  const [near, far] = t.pair();
  const data = Buffer.alloc(100_000, 'abcdefg');
  near.nonblocking();
  for (let done = 0; done < 1_000_000;) {
    const { r, err } = near.side.libc.send(near.fd, data, MSG.NOSIGNAL);
    if (r > 0) done += r;
    else if (err !== 'EAGAIN') throw new Error(err);
    const got = far.side.libc.recv(far.fd, 1 << 20, MSG.DONTWAIT);
    if (got.r > 0) done -= 0;
    t.eventually(
      'room',
      () =>
        near.side.libc.poll([[near.fd, POLL.OUT]], 0).r === 1 ||
        far.side.libc.recv(far.fd, 1 << 20, MSG.DONTWAIT).r > 0,
    );
  }
  near.shutdown(SHUT.WR);
  t.eventually('the end', () => far.side.libc.recv(far.fd, 1 << 20, MSG.DONTWAIT).r === 0);
  t.log('all of it');
});

messages.wired('exact_bytes', (t) => {
  const [near, far] = t.pair();
  const data = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
  near.send(data);
  t.log(far.take(60_000).equals(data) ? 'as they were sent' : 'other bytes');
  far.send(data);
  t.log(near.take(60_000).equals(data) ? 'as they were sent' : 'other bytes');
});

messages.wired('cork', (t) => {
  const [near, far] = t.pair();
  near.set(IPPROTO.TCP, TCP.CORK, 'TCP_CORK', 1);
  near.send('a');
  near.send('b');
  near.set(IPPROTO.TCP, TCP.CORK, 'TCP_CORK', 0);
  far.arrived(2).recv(10);
});

messages.wired('more_then_rest', (t) => {
  const [near, far] = t.pair();
  near.send('head ', MSG.MORE);
  near.send('tail');
  far.arrived(9).recv(100);
});

messages.wired('queues', (t) => {
  const [near, far] = t.pair();
  near.call('SIOCINQ', (fd) => near.side.libc.ioctl(fd, 0x541b));
  far.send('12345');
  near.arrived(5);
  t.log(`SIOCINQ ${near.side.libc.ioctl(near.fd, 0x541b).value}`);
  near.recv(2);
  t.log(`SIOCINQ ${near.side.libc.ioctl(near.fd, 0x541b).value}`);
  far.shutdown(SHUT.WR);
  near.until(POLL.RDHUP);
  t.log(`SIOCINQ ${near.side.libc.ioctl(near.fd, 0x541b).value}`);
  near.recv(10);
  t.log(`SIOCINQ ${near.side.libc.ioctl(near.fd, 0x541b).value}`);
});

messages.wired('rcvlowat', (t) => {
  const [near, far] = t.pair();
  near.set(SOL_SOCKET, SO.RCVLOWAT, 'SO_RCVLOWAT', 5);
  far.send('123');
  near.arrived(3).poll(POLL.IN);
  near.recv(10, MSG.DONTWAIT);
  far.send('45678');
  near.until(POLL.IN).recv(10);
  near.get(SOL_SOCKET, SO.RCVLOWAT, 'SO_RCVLOWAT');
});

messages.wired('timeouts', (t) => {
  const [near] = t.pair();
  near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(0, 30_000));
  near.recv(10);
  near.read(10);
  near.recvmsg({ sizes: [4] });
  near.recv(10, MSG.WAITALL);
  near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(0, 1_000_000));
  near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(0, -1));
  near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', int32(1));
});

messages.wired('timeout_gives_part', (t) => {
  const [near, far] = t.pair();
  near.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(0, 50_000));
  far.send('part');
  near.arrived(4).recv(10, MSG.WAITALL);
  near.recv(10);
});

messages.wired('send_timeout', (t) => {
  const [near] = t.pair();
  near.set(SOL_SOCKET, SO.SNDTIMEO, 'SO_SNDTIMEO', time(0, 50_000));
  const data = Buffer.alloc(1 << 20);
  let last = near.side.libc.send(near.fd, data, MSG.NOSIGNAL);
  for (let i = 0; i < 64 && last.r >= 0; i++) last = near.side.libc.send(near.fd, data, MSG.NOSIGNAL);
  t.result('send to a peer that does not read', last);
});

messages.wired('at_mark_none', (t) => {
  const [near, far] = t.pair();
  near.call('sockatmark', (fd) => near.side.libc.sockatmark(fd));
  near.recv(1, MSG.OOB);
  far.send('x');
  near.readable().call('sockatmark', (fd) => near.side.libc.sockatmark(fd));
  near.recv(1, MSG.OOB);
});
