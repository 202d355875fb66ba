// SPDX-License-Identifier: BSD-3-Clause
/** epoll, poll and select over accelerated sockets: kinds of events, nesting, many sets, masks, descriptors beside them. */
import { Suite } from '../harness/case.js';
import { EPOLL, EPOLL_CTL, MSG, POLL, SHUT } from '../libc/constants.js';

export const readiness = new Suite('readiness');

readiness.wired('level', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN | EPOLL.RDHUP);
  set.wait();
  far.send('abc');
  near.readable();
  set.wait();
  set.wait();
  near.recv(10);
  set.wait();
  far.shutdown(SHUT.WR);
  near.until(POLL.RDHUP);
  set.wait();
});

readiness.wired('edge', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN | EPOLL.ET);
  far.send('abc');
  near.arrived(3);
  set.wait();
  set.wait();
  far.send('d');
  near.arrived(4);
  set.wait();
  near.recv(1);
  set.wait();
});

readiness.wired('oneshot', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN | EPOLL.ONESHOT);
  far.send('abc');
  near.readable();
  set.wait();
  set.wait();
  set.modify(near, EPOLL.IN | EPOLL.ONESHOT, 2);
  set.wait();
  set.modify(near, EPOLL.OUT | EPOLL.ONESHOT, 3);
  set.wait();
});

readiness.tcp('interests', (t) => {
  const [near, far] = t.pair();
  far.send('x');
  near.readable();
  for (const events of [
    0,
    EPOLL.OUT,
    EPOLL.PRI,
    EPOLL.RDNORM,
    EPOLL.WRNORM,
    EPOLL.RDBAND,
    EPOLL.WAKEUP | EPOLL.IN,
    EPOLL.HUP,
    0x400,
  ]) {
    const set = t.poller();
    set.add(near, events);
    set.wait();
  }
});

readiness.tcp('exclusive', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN | EPOLL.EXCLUSIVE);
  set.modify(near, EPOLL.IN);
  set.modify(near, EPOLL.IN | EPOLL.EXCLUSIVE);
  set.remove(near);
  set.add(near, EPOLL.IN | EPOLL.EXCLUSIVE | EPOLL.ONESHOT);
  set.add(near, EPOLL.IN | EPOLL.EXCLUSIVE | EPOLL.RDHUP);
  set.add(near, EPOLL.IN | EPOLL.EXCLUSIVE | EPOLL.ET);
  far.send('x');
  near.readable();
  set.wait();
  set.wait();
});

readiness.tcp('control_errors', (t) => {
  const [near] = t.pair();
  const set = t.poller();
  set.modify(near, EPOLL.IN);
  set.remove(near);
  set.add(near, EPOLL.IN);
  set.add(near, EPOLL.IN);
  set.ctl(0, near, EPOLL.IN);
  set.ctl(9, near, EPOLL.IN);
  set.add({ fd: -1, name: 'nothing' }, EPOLL.IN);
  set.add(set, EPOLL.IN);
  near.call('epoll_ctl on a socket', (fd) => t.near.libc.epoll_ctl(fd, EPOLL_CTL.ADD, set.fd, 1));
  near.call('epoll_wait on a socket', (fd) => t.near.libc.epoll_wait(fd, 1, 0));
  for (const max of [0, -1])
    t.result(`epoll_wait max ${max}`, t.near.libc.raw('epoll_wait', 'iizii', set.fd, Buffer.alloc(12), max, 0));
  near.close();
  set.wait();
});

readiness.tcp('two_sets', (t) => {
  const [near, far] = t.pair();
  const [one, two] = [t.poller(t.near, 'one'), t.poller(t.near, 'two')];
  one.add(near, EPOLL.IN, 1);
  two.add(near, EPOLL.IN | EPOLL.ET, 2);
  far.send('x');
  near.readable();
  for (const set of [one, two, one, two]) set.wait();
  near.recv(10);
  for (const set of [one, two]) set.wait();
});

readiness.tcp('nested', (t) => {
  const [near, far] = t.pair();
  const [inner, outer] = [t.poller(t.near, 'inner'), t.poller(t.near, 'outer')];
  outer.add(inner, EPOLL.IN, 7);
  inner.add(near, EPOLL.IN, 1);
  outer.wait();
  far.send('x');
  near.readable();
  outer.wait();
  inner.wait();
  outer.wait();
  near.recv(10);
  outer.wait();
  inner.add(outer, EPOLL.IN);
});

readiness.tcp('set_in_poll', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN);
  const look = (): void => {
    const polled = t.near.libc.poll([[set.fd, POLL.IN]], 0);
    t.log(`poll ${polled.r} ${polled.revents}`);
    const selected = t.near.libc.select([[set.fd], [], []], 0);
    t.log(`select ${selected.r} ${selected.read.length}`);
  };
  look();
  far.send('x');
  near.readable();
  look();
  near.recv(10);
  look();
});

readiness.tcp('beside_others', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  const event = t.keep(t.near, t.ok('eventfd', t.near.libc.eventfd(0)));
  const { fds } = t.near.libc.pipe();
  for (const fd of fds) t.keep(t.near, fd);
  set.add(near, EPOLL.IN, 1);
  set.add({ fd: event, name: 'eventfd' }, EPOLL.IN, 2);
  set.add({ fd: fds[0], name: 'pipe' }, EPOLL.IN, 3);
  set.wait();
  t.near.libc.write(fds[1], Buffer.from('x'));
  set.wait();
  far.send('x');
  near.readable();
  set.wait();
  t.near.libc.write(event, Buffer.from('0100000000000000', 'hex'));
  set.wait();
});

readiness.tcp('dup_in_set', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  const copy = t.sock(t.near, t.ok('dup', t.near.libc.dup(near.fd)), 'copy');
  set.add(near, EPOLL.IN, 1);
  set.add(copy, EPOLL.IN, 2);
  far.send('x');
  near.readable();
  set.wait();
  near.close();
  set.wait();
  copy.close();
  set.wait();
});

readiness.tcp('masks', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  set.add(near, EPOLL.IN);
  const look = (): void => {
    for (const mask of [null, [], [10, 12]]) {
      const pwait = t.near.libc.epoll_pwait(set.fd, 4, 0, mask);
      set.report('epoll_pwait', pwait.r, pwait.err, pwait.events);
      for (const time of [
        [0, 0],
        [0, 1000],
        [0, -1],
        [-1, 0],
        [0, 1_000_000_000],
      ] as const) {
        const pwait2 = t.near.libc.epoll_pwait2(set.fd, 4, time, mask);
        set.report(`epoll_pwait2 ${time}`, pwait2.r, pwait2.err, pwait2.events);
      }
      const ppoll = t.near.libc.ppoll([[near.fd, POLL.IN]], [0, 0], mask);
      t.log(`ppoll ${ppoll.r} ${ppoll.err} ${ppoll.revents}`);
      const pselect = t.near.libc.pselect([[near.fd], [], []], 0, mask);
      t.log(`pselect ${pselect.r} ${pselect.err} ${pselect.read.length}`);
    }
  };
  look();
  far.send('x');
  near.readable();
  look();
});

readiness.tcp('poll_mixture', (t) => {
  const [near, far] = t.pair();
  const fresh = t.socket(t.near, 'fresh');
  const listener = t.listener(t.near);
  far.send('x');
  near.readable();
  const all = POLL.IN | POLL.OUT;
  const { r, revents } = t.near.libc.poll(
    [
      [near.fd, all],
      [fresh.fd, all],
      [listener.fd, all],
      [-1, all],
      [99_999, all],
      [near.fd, 0],
    ],
    0,
  );
  t.log(`poll ${r} ${revents}`);
});

readiness.tcp('select_kinds', (t) => {
  const [near, far] = t.pair();
  const look = (): void => {
    const { r, read, write, except } = t.near.libc.select([[near.fd], [near.fd], [near.fd]], 0);
    t.log(`select ${r} read ${read.length} write ${write.length} except ${except.length}`);
  };
  look();
  far.send('x');
  near.readable();
  look();
  far.close();
  near.until(POLL.RDHUP);
  look();
  const closed = t.ok('dup', t.near.libc.dup(near.fd));
  t.near.libc.close(closed);
  t.result('select bad descriptor', t.near.libc.select([[near.fd, closed], [], []], 0));
  t.result('select negative', t.near.libc.raw('select', 'iizzzz', -1, 0, 0, 0, Buffer.alloc(16)));
});

readiness.wired('listener', (t) => {
  const listener = t.listener(t.near, 4);
  const set = t.poller();
  set.add(listener, EPOLL.IN);
  set.wait();
  const client = t.socket(t.far, 'far');
  t.ok('connect', t.far.libc.connect(client.fd, t.at(t.near, t.portOf(listener))));
  t.connections++;
  listener.readable();
  set.wait();
  const near = t.accept(listener, 'near');
  set.wait();
  client.send('hi');
  near.readable().recv(10);
});

readiness.wired('room_comes_back', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  near.nonblocking();
  const data = Buffer.alloc(1 << 20);
  t.eventually('no room', () => {
    for (let i = 0; i < 64; i++) if (t.near.libc.send(near.fd, data, MSG.NOSIGNAL).r < 0) return true;
    return false;
  });
  set.add(near, EPOLL.OUT | EPOLL.ET);
  t.pause(20);
  t.eventually('room', () => {
    t.far.libc.recv(far.fd, 1 << 20, MSG.DONTWAIT);
    return t.near.libc.poll([[near.fd, POLL.OUT]], 0).r === 1;
  });
  set.wait(1000);
});
