// SPDX-License-Identifier: BSD-3-Clause
/**
 * Signals of sockets with O_ASYNC. They are blocked and taken by sigtimedwait; the owner is the thread that does so, since Node has
 * others. With F_SETSIG each is queued and says what it is about, without only that there was one is told.
 */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { bits, F, MSG, O, POLL, SHUT, SO, SOL_SOCKET } from '../libc/constants.js';
import { AF, int32 } from '../libc/struct.js';

export const async_ = new Suite('async');

const SIGIO = 29;
const SIGURG = 23;
const OWN = 40; // a real-time signal
const OWNER = { THREAD: 0, PROCESS: 1 } as const;
const CODES: Readonly<Record<number, string>> = {
  1: 'IN',
  2: 'OUT',
  3: 'MSG',
  4: 'ERR',
  5: 'PRI',
  6: 'HUP',
  128: 'KERNEL',
};

function own(t: Case, sock: Sock, signal = 0): Sock {
  t.ok('sigprocmask', t.near.libc.sigprocmask([SIGIO, SIGURG, OWN]));
  t.ok(
    'F_SETOWN_EX',
    t.near.libc.fcntlBytes(sock.fd, F.SETOWN_EX, Buffer.concat([int32(OWNER.THREAD), int32(process.pid)])),
  );
  t.ok('F_SETSIG', t.near.libc.fcntl(sock.fd, F.SETSIG, signal));
  return sock;
}

/** Asks for signals, and takes what is pending. */
function start(t: Case, sock: Sock, signal = 0): Sock {
  own(t, sock, signal);
  t.ok('F_SETFL', t.near.libc.fcntl(sock.fd, F.SETFL, O.ASYNC));
  none(t);
  return sock;
}

/** Takes a signal that comes, or tells that none does. */
function take(t: Case, sock: Sock, wait = 5000): void {
  const { r, err, code, fd, band } = t.near.libc.sigtimedwait([SIGIO, SIGURG, OWN], wait);
  if (r < 0) t.log(`no signal: ${err}`);
  else if (r === OWN)
    t.log(`signal ${r} ${CODES[code] ?? code} ${bits(band, POLL)} ${fd === sock.fd ? sock.name : `descriptor ${fd}`}`);
  else t.log(`signal ${r} ${CODES[code] ?? code}`);
}

/** Takes all that are pending, untraced. */
function none(t: Case): void {
  while (t.near.libc.sigtimedwait([SIGIO, SIGURG, OWN], 0).r > 0);
}

async_.tcp('sigio', (t) => {
  const [near, far] = t.pair();
  start(t, near);
  far.send('x');
  near.readable();
  take(t, near);
  near.recv(10);
  t.near.libc.fcntl(near.fd, F.SETFL, 0);
  none(t);
  far.send('x');
  near.readable();
  take(t, near, 0);
});

async_.wired('data', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  for (const text of ['one', 'two']) {
    far.send(text);
    take(t, near);
    near.recv(10);
  }
  take(t, near, 0);
});

async_.wired(
  'data_from_another_process',
  (t) => {
    const [near, far] = t.pair({ server: 'near' });
    start(t, near, OWN);
    far.send('x');
    take(t, near);
    near.recv(10);
  },
  { processes: true },
);

async_.wired('end', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  far.shutdown(SHUT.WR);
  take(t, near);
  near.recv(10);
});

async_.wired('end_of_both', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  near.shutdown(SHUT.WR);
  far.until(POLL.RDHUP);
  none(t);
  far.close();
  take(t, near);
});

async_.tcp('reset', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  far.set(SOL_SOCKET, SO.LINGER, 'SO_LINGER', Buffer.concat([int32(1), int32(0)]));
  far.close();
  near.until(POLL.HUP);
  take(t, near);
  near.recv(10);
});

async_.tcp('room', (t) => {
  const [near, far] = t.pair();
  own(t, near, OWN);
  t.near.libc.fcntl(near.fd, F.SETFL, O.ASYNC | O.NONBLOCK);
  const piece = Buffer.alloc(1 << 16);
  let sent = 0;
  for (let r = 0; r >= 0; sent += Math.max(r, 0)) r = t.near.libc.send(near.fd, piece, MSG.NOSIGNAL).r;
  none(t);
  far.take(sent);
  near.until(POLL.OUT);
  take(t, near);
});

async_.tcp('connection', (t) => {
  const listener = start(t, t.listener(t.near), OWN);
  const client = t.socket(t.near, 'client');
  t.ok('connect', t.near.libc.connect(client.fd, t.at(t.near, t.portOf(listener))));
  t.connections++;
  take(t, listener);
  const accepted = t.accept(listener, 'accepted');
  t.log(
    `accepted ${t.near.libc.fcntl(accepted.fd, F.GETFL).r & O.ASYNC} ${t.near.libc.fcntl(accepted.fd, F.GETOWN).r}`,
  );
  none(t);
  client.send('x');
  accepted.readable();
  take(t, accepted, 0);
});

async_.tcp('set_before_listen', (t) => {
  const listener = t.socket(t.near, 'listener');
  start(t, listener, OWN);
  t.ok('bind', t.near.libc.bind(listener.fd, t.at(t.near, 0)));
  t.ok('listen', t.near.libc.listen(listener.fd, 4));
  t.log(`flags ${t.near.libc.fcntl(listener.fd, F.GETFL).r & (O.ASYNC | O.NONBLOCK)}`);
  none(t);
  const client = t.socket(t.near, 'client');
  t.ok('connect', t.near.libc.connect(client.fd, t.at(t.near, t.portOf(listener))));
  t.connections++;
  take(t, listener);
});

async_.tcp('set_before_connect', (t) => {
  const listener = t.listener(t.far);
  const near = start(t, t.socket(t.near, 'near'), OWN);
  t.ok('connect', t.near.libc.connect(near.fd, t.at(t.far, t.portOf(listener))));
  t.connections++;
  take(t, near);
  none(t);
  const far = t.accept(listener, 'far');
  far.send('x');
  take(t, near);
});

async_.udp('datagram', (t) => {
  const [near, far] = t.datagrams();
  start(t, near, OWN);
  far.send('x');
  take(t, near);
  near.recv(10);
  take(t, near, 0);
});

async_.tcp('ioctls', (t) => {
  const [near, far] = t.pair();
  own(t, near);
  near.call('FIOASYNC 1', (fd) => t.near.libc.ioctl(fd, 0x5452, 1));
  t.log(`flags ${t.near.libc.fcntl(near.fd, F.GETFL).r & O.ASYNC}`);
  none(t);
  far.send('x');
  near.readable();
  take(t, near);
  near.call('FIOASYNC 0', (fd) => t.near.libc.ioctl(fd, 0x5452, 0));
  none(t);
  far.send('x');
  near.arrived(2);
  take(t, near, 0);
});

async_.tcp('owners', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  near.call('F_SETOWN nobody', (fd) => t.near.libc.fcntl(fd, F.SETOWN, 0));
  far.send('x');
  near.readable();
  take(t, near, 0);
  near.call('F_SETOWN no such process', (fd) => t.near.libc.fcntl(fd, F.SETOWN, 999_999));
  far.send('x');
  near.arrived(2);
  take(t, near, 0);
  own(t, near, 0);
  far.send('x');
  near.arrived(3);
  take(t, near);
  near.call('F_SETSIG too large', (fd) => t.near.libc.fcntl(fd, F.SETSIG, 65));
  near.call('F_GETSIG', (fd) => t.near.libc.fcntl(fd, F.GETSIG));
});

async_.tcp('a_duplicate', (t) => {
  const [near, far] = t.pair();
  start(t, near, OWN);
  const copy = t.sock(t.near, t.ok('dup', t.near.libc.dup(near.fd)), 'copy');
  far.send('x');
  take(t, near); // the descriptor by which it was asked for
  t.near.libc.fcntl(copy.fd, F.SETFL, 0);
  far.send('x');
  near.arrived(2);
  take(t, near, 0);
});

async_.tcp('urgent', (t) => {
  const [near, far] = t.pair();
  own(t, near);
  none(t);
  far.send('!', MSG.OOB);
  near.until(POLL.PRI);
  const { r } = t.near.libc.sigtimedwait([SIGURG], 5000);
  t.log(`signal ${r}`);
});

async_.tcp('family6', (t) => {
  const [near, far] = t.pair({ family: AF.INET6 });
  start(t, near, OWN);
  far.send('x');
  take(t, near);
});
