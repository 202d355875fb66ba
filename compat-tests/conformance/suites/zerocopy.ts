// SPDX-License-Identifier: BSD-3-Clause
/** MSG_ZEROCOPY and its completions on the error queue. On the kernel they come with the acknowledgement: each case waits for them. */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { EPOLL, MSG, POLL, SHUT, SO, SOCK, SOL_SOCKET } from '../libc/constants.js';
import { AF, int32 } from '../libc/struct.js';

export const zerocopy = new Suite('zerocopy');

function on(sock: Sock, value = 1): void {
  sock.set(SOL_SOCKET, SO.ZEROCOPY, 'SO_ZEROCOPY', value);
}

/** Fetches one notification, traced as struct sock_extended_err: the range of sends, and whether they were copied. */
function fetch(t: Case, sock: Sock): number {
  const { r, err, flags, control, length } = t.near.libc.recvmsg(sock.fd, { sizes: [10], control: 100 }, MSG.ERRQUEUE);
  if (r < 0) {
    t.log(`nothing: ${err}`);
    return -1;
  }
  const [{ level, type, data } = { level: 0, type: 0, data: Buffer.alloc(32) }] = control;
  t.log(
    `${r} bytes flags ${flags.toString(16)} name ${length} level ${level} type ${type} ${data.length} bytes: errno ${data.readUInt32LE(0)} ` +
      `origin ${data[4]} type ${data[5]} code ${data[6]} sends ${data.readUInt32LE(8)} to ${data.readUInt32LE(12)} offender ${data.subarray(16).every((b) => b === 0)}`,
  );
  return data.readUInt32LE(12);
}

/** Fetches, untraced, until send number `last` is complete; the numbers have no gap. */
function all(t: Case, sock: Sock, first: number, last: number): void {
  let next = first;
  while (next <= last) {
    sock.until(POLL.ERR);
    const { control } = t.near.libc.recvmsg(sock.fd, { sizes: [10], control: 100 }, MSG.ERRQUEUE);
    const data = control[0]?.data ?? Buffer.alloc(16);
    if (data.readUInt32LE(8) !== next) throw new Error(`${data.readUInt32LE(8)} comes where ${next} should`);
    next = data.readUInt32LE(12) + 1;
  }
  t.log(`complete: ${first} to ${next - 1}`);
}

zerocopy.wired('one_by_one', (t) => {
  const [near, far] = t.pair();
  on(near);
  for (let i = 0; i < 3; i++) {
    near.send(`number ${i}`, MSG.ZEROCOPY);
    near.until(POLL.ERR).poll(POLL.IN | POLL.OUT);
    fetch(t, near);
    near.poll(POLL.IN | POLL.OUT);
    fetch(t, near);
    near.get(SOL_SOCKET, SO.ERROR, 'SO_ERROR');
  }
  far.arrived(24).recv(100);
});

zerocopy.wired('several', (t) => {
  const [near, far] = t.pair();
  on(near);
  for (let i = 0; i < 5; i++) near.send('0123456789', MSG.ZEROCOPY);
  near.send('without the flag');
  near.sendmsg({ pieces: [Buffer.from('a'), Buffer.from('b')] }, MSG.ZEROCOPY | MSG.DONTWAIT);
  all(t, near, 0, 5);
  far.arrived(68).recv(100);
});

zerocopy.tcp('not_asked_for', (t) => {
  const [near, far] = t.pair();
  near.get(SOL_SOCKET, SO.ZEROCOPY, 'SO_ZEROCOPY');
  near.send('x', MSG.ZEROCOPY);
  on(near);
  near.get(SOL_SOCKET, SO.ZEROCOPY, 'SO_ZEROCOPY');
  near.send('y');
  near.send('', MSG.ZEROCOPY);
  near.delivered();
  near.poll(POLL.IN);
  fetch(t, near);
  on(near, 0);
  near.send('z', MSG.ZEROCOPY);
  far.arrived(3);
  near.delivered().poll(POLL.IN);
  for (const value of [2, -1]) on(near, value);
});

zerocopy.tcp('failed_sends', (t) => {
  const [near] = t.pair();
  on(near);
  near.nonblocking();
  const piece = Buffer.alloc(1 << 16);
  while (t.near.libc.send(near.fd, piece, MSG.NOSIGNAL).r > 0);
  near.send('no room', MSG.ZEROCOPY);
  near.shutdown(SHUT.WR);
  near.send('too late', MSG.ZEROCOPY);
  fetch(t, near);
});

zerocopy.wired('large', (t) => {
  const [near, far] = t.pair();
  on(near);
  const piece = Buffer.alloc(100_000, 'abc');
  for (let i = 0; i < 4; i++) {
    near.send(piece, MSG.ZEROCOPY);
    if (!far.take(piece.length).equals(piece)) t.log('other bytes');
    all(t, near, i, i);
  }
});

zerocopy.wired('epoll', (t) => {
  const [near] = t.pair();
  on(near);
  const [level, edge] = [t.poller(), t.poller(t.near, 'edge')];
  level.add(near, EPOLL.IN);
  edge.add(near, EPOLL.IN | EPOLL.ET, 2);
  for (let i = 0; i < 2; i++) {
    near.send('x', MSG.ZEROCOPY);
    near.until(POLL.ERR);
    level.wait();
    level.wait();
    edge.wait();
    edge.wait();
  }
  all(t, near, 0, 1);
  level.wait();
  edge.wait();
});

zerocopy.tcp('inherited', (t) => {
  const [near, far] = t.pair({ server: 'near', before: (listener) => on(listener) });
  near.get(SOL_SOCKET, SO.ZEROCOPY, 'SO_ZEROCOPY');
  near.send('x', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  fetch(t, near);
  far.readable().recv(10);
});

zerocopy.tcp('other_ways', (t) => {
  const [near, far] = t.pair();
  on(near);
  near.send('one', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  t.log(`select ${JSON.stringify(t.near.libc.select([[near.fd], [], [near.fd]], 0).r)}`);
  near.recv(10, MSG.ERRQUEUE);
  near.send('two', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  near.recvmsg({ sizes: [10] }, MSG.ERRQUEUE);
  near.send('three', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  far.send('answer');
  near.readable().recv(10);
  far.close();
  near.until(POLL.RDHUP).recv(10);
  fetch(t, near);
});

zerocopy.tcp('family6', (t) => {
  const [near] = t.pair({ family: AF.INET6 });
  on(near);
  near.send('x', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  fetch(t, near);
});

zerocopy.udp('datagrams', (t) => {
  const [near, far] = t.datagrams();
  on(near);
  for (let i = 0; i < 3; i++) {
    near.send(`number ${i}`, MSG.ZEROCOPY);
    far.readable().recv(20);
    near.until(POLL.ERR);
    fetch(t, near);
  }
  near.send('', MSG.ZEROCOPY);
  far.readable().recv(20);
  near.poll(POLL.IN);
  near.send('without');
  near.poll(POLL.IN);
});

zerocopy.udp('first_of_an_unbound', (t) => {
  const far = t.datagram(t.far, 'far');
  const near = t.socket(t.near, 'near', SOCK.DGRAM);
  on(near);
  for (let i = 0; i < 2; i++) {
    near.call('sendto', (fd) =>
      t.near.libc.sendto(fd, Buffer.from(`number ${i}`), MSG.ZEROCOPY, t.at(t.far, t.portOf(far))),
    );
    far.readable().recv(20);
    near.until(POLL.ERR);
    fetch(t, near);
  }
});

zerocopy.tcp('with_signals', (t) => {
  const [near] = t.pair();
  on(near);
  t.ok('sigprocmask', t.near.libc.sigprocmask([40]));
  t.ok('F_SETOWN_EX', t.near.libc.fcntlBytes(near.fd, 15, Buffer.concat([int32(0), int32(process.pid)])));
  t.ok('F_SETSIG', t.near.libc.fcntl(near.fd, 10, 40));
  t.ok('F_SETFL', t.near.libc.fcntl(near.fd, 4, 0o20000));
  near.send('x', MSG.ZEROCOPY);
  near.until(POLL.ERR);
  const { r, code } = t.near.libc.sigtimedwait([40], 5000);
  t.log(`signal ${r} code ${code}`);
});
