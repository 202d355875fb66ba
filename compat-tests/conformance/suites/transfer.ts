// SPDX-License-Identifier: BSD-3-Clause
/** Bytes between sockets, pipes and files; completions of MSG_ZEROCOPY; streams of stdio; descriptors as such. */
import { type Case, Suite } from '../harness/case.js';
import { EPOLL, F, MSG, O, POLL, SHUT, SO, SOL_SOCKET, SPLICE } from '../libc/constants.js';
import { time } from '../libc/struct.js';

export const transfer = new Suite('transfer');

function pipe(t: Case): readonly [number, number] {
  const { fds } = t.near.libc.pipe();
  for (const fd of fds) t.keep(t.near, fd);
  return fds;
}

function file(t: Case, content: string): number {
  const fd = t.keep(t.near, t.ok('memfd', t.near.libc.memfd_create('file')));
  t.near.libc.write(fd, Buffer.from(content));
  t.near.libc.lseek(fd, 0, 0);
  return fd;
}

transfer.wired('splice_in', (t) => {
  const [near, far] = t.pair();
  const [out, into] = pipe(t);
  far.send('0123456789');
  near.arrived(10).call('splice 4', (fd) => t.near.libc.splice(fd, into, 4));
  near.call('splice 100', (fd) => t.near.libc.splice(fd, into, 100));
  t.result(`pipe ${t.near.libc.read(out, 100).data.toString()}`, { r: 0, err: '' });
  near.nonblocking().call('splice nothing', (fd) => t.near.libc.splice(fd, into, 10, SPLICE.NONBLOCK));
  far.shutdown(SHUT.WR);
  near.until(POLL.RDHUP).call('splice end', (fd) => t.near.libc.splice(fd, into, 10));
});

transfer.wired('splice_out', (t) => {
  const [near, far] = t.pair();
  const [out, into] = pipe(t);
  t.near.libc.write(into, Buffer.from('from a pipe'));
  near.call('splice', (fd) => t.near.libc.splice(out, fd, 100));
  far.arrived(11).recv(100);
  near.call('splice empty', (fd) => t.near.libc.splice(out, fd, 100, SPLICE.NONBLOCK));
  t.near.libc.write(into, Buffer.from('abc'));
  near.call('splice nothing', (fd) => t.near.libc.splice(out, fd, 0));
  near.shutdown(SHUT.WR);
});

transfer.tcp('splice_errors', (t) => {
  const [near] = t.pair();
  const [out, into] = pipe(t);
  const other = file(t, 'content');
  near.call('to a file', (fd) => t.near.libc.splice(fd, other, 4));
  near.call('from a file', (fd) => t.near.libc.splice(other, fd, 4));
  near.call('to itself', (fd) => t.near.libc.splice(fd, fd, 4));
  near.call('to the read end', (fd) => t.near.libc.splice(fd, out, 4, SPLICE.NONBLOCK));
  near.call('from the write end', (fd) => t.near.libc.splice(into, fd, 4, SPLICE.NONBLOCK));
  near.call('bad flags', (fd) => t.near.libc.splice(fd, into, 4, 0x100));
  near.call('tee', (fd) => t.near.libc.tee(fd, into, 4));
  near.call('tee to it', (fd) => t.near.libc.tee(out, fd, 4));
  near.call('vmsplice', (fd) => t.near.libc.vmsplice(fd, Buffer.from('abc')));
  near.call('copy_file_range', (fd) => t.near.libc.copy_file_range(other, fd, 4));
  near.call('copy_file_range from', (fd) => t.near.libc.copy_file_range(fd, other, 4));
  near.call('splice offset', (fd) => t.near.libc.raw('splice', 'lizizzu', fd, Buffer.alloc(8), into, 0, 4, 0));
});

transfer.wired('tee_then_splice', (t) => {
  const [near, far] = t.pair();
  const [first, second] = [pipe(t), pipe(t)];
  far.send('both');
  near.arrived(4).call('splice', (fd) => t.near.libc.splice(fd, first[1], 100));
  t.result('tee', t.near.libc.tee(first[0], second[1], 100));
  near.call('splice back', (fd) => t.near.libc.splice(first[0], fd, 100));
  far.arrived(4).recv(100);
  t.log(t.near.libc.read(second[0], 100).data.toString());
});

transfer.wired('sendfile', (t) => {
  const [near, far] = t.pair();
  const from = file(t, '0123456789');
  for (const [offset, count] of [
    [2, 3],
    [null, 4],
    [null, 100],
    [null, 5],
    [100, 5],
    [-1, 5],
    [0, 0],
  ] as const) {
    const result = t.near.libc.sendfile(near.fd, from, offset, count);
    t.log(`sendfile ${offset} ${count} = ${result.r} ${result.err} offset ${result.offset}`);
  }
  near.shutdown(SHUT.WR);
  far.until(POLL.RDHUP).recv(100);
});

transfer.tcp('sendfile_kinds', (t) => {
  const [near, far] = t.pair();
  const [out] = pipe(t);
  far.send('x');
  near.readable();
  near.call('from a pipe', (fd) => t.near.libc.sendfile(fd, out, null, 4));
  near.call('from a socket', (fd) => t.near.libc.sendfile(fd, fd, null, 4));
  near.call('from nothing', (fd) => t.near.libc.sendfile(fd, 99_999, null, 4));
  const to = file(t, '');
  near.call('to a file', (fd) => t.near.libc.sendfile(to, fd, null, 4));
});

transfer.wired('zerocopy', (t) => {
  const [near, far] = t.pair();
  near.send('without', MSG.ZEROCOPY);
  near.set(SOL_SOCKET, SO.ZEROCOPY, 'SO_ZEROCOPY', 1);
  near.send('with option', MSG.ZEROCOPY);
  far.arrived(18).recv(100);
});

transfer.wired('error_queue_empty', (t) => {
  const [near, far] = t.pair();
  far.send('x');
  near.readable().recv(10, MSG.ERRQUEUE);
  near.recvmsg({ sizes: [10] }, MSG.ERRQUEUE);
  near.recv(10, MSG.ERRQUEUE | MSG.DONTWAIT);
  near.recv(10);
});

transfer.wired('stdio', (t) => {
  const [near, far] = t.pair();
  const copy = t.ok('dup', t.near.libc.dup(near.fd));
  const [input, output] = [t.near.libc.fdopen(near.fd, 'r').r, t.near.libc.fdopen(copy, 'w').r];
  t.result('fputs', t.near.libc.fputs('a line\n', output).r >= 0 ? { r: 0, err: '' } : { r: -1, err: '' });
  t.result('fflush', t.near.libc.fflush(output));
  far.arrived(7).recv(100);
  far.send('one\ntwo\nrest');
  near.arrived(12);
  t.log(JSON.stringify(t.near.libc.fgets(input, 100).text));
  t.log(JSON.stringify(t.near.libc.fgets(input, 3).text));
  t.log(JSON.stringify(t.near.libc.fgets(input, 100).text));
  t.log(`numbers ${t.near.libc.fileno(input).r === near.fd} ${t.near.libc.fileno(output).r === copy}`);
  far.close();
  near.until(POLL.RDHUP);
  t.log(
    `${t.near.libc.fread(input, 10).data.toString()} ${t.near.libc.feof(input).r !== 0} ${t.near.libc.ferror(input).r}`,
  );
  t.forget(t.near, near.fd);
  t.result('fclose', t.near.libc.fclose(output));
  t.result('fclose', t.near.libc.fclose(input));
});

transfer.tcp('status_flags', (t) => {
  const [near] = t.pair();
  const look = (): void =>
    t.log(`flags ${t.near.libc.fcntl(near.fd, F.GETFL).r.toString(8)} ${t.near.libc.fcntl(near.fd, F.GETFD).r}`);
  look();
  for (const flags of [O.NONBLOCK, O.APPEND, O.ASYNC, O.DIRECT, 0, O.NONBLOCK | O.APPEND]) {
    near.call(`F_SETFL ${flags.toString(8)}`, (fd) => t.near.libc.fcntl(fd, F.SETFL, flags));
    look();
  }
  near.call('F_SETFD', (fd) => t.near.libc.fcntl(fd, F.SETFD, 1));
  look();
  for (const on of [1, 0]) {
    near.call(`FIONBIO ${on}`, (fd) => t.near.libc.ioctl(fd, 0x5421, on));
    look();
    near.call(`FIOCLEX ${on}`, (fd) => t.near.libc.ioctl(fd, on === 1 ? 0x5451 : 0x5450));
    look();
  }
});

transfer.tcp('fcntl_kinds', (t) => {
  const [near] = t.pair();
  for (const command of [
    F.GETOWN,
    F.GETSIG,
    F.GETLEASE,
    F.GETPIPE_SZ,
    F.GET_SEALS,
    F.ADD_SEALS,
    9999,
    F.GETLK,
    F.SETLK,
  ])
    near.call(`fcntl ${command}`, (fd) => t.near.libc.fcntl(fd, command, 0));
  near.call('F_SETOWN', (fd) => t.near.libc.fcntl(fd, F.SETOWN, process.pid));
  t.log(`owner ${t.near.libc.fcntl(near.fd, F.GETOWN).r === process.pid}`);
  near.call('F_SETSIG', (fd) => t.near.libc.fcntl(fd, F.SETSIG, 40));
  near.call('F_GETSIG', (fd) => t.near.libc.fcntl(fd, F.GETSIG));
  near.call('F_SETSIG 99', (fd) => t.near.libc.fcntl(fd, F.SETSIG, 99));
  const copy = t.near.libc.fcntl(near.fd, F.DUPFD, 1500);
  t.log(`F_DUPFD ${copy.r >= 1500}`);
  t.keep(t.near, copy.r);
  near.call('F_DUPFD -1', (fd) => t.near.libc.fcntl(fd, F.DUPFD, -1));
});

transfer.tcp('high_descriptor', (t) => {
  const [near, far] = t.pair();
  const high = t.sock(t.near, t.ok('dup3', t.near.libc.dup3(near.fd, 3000, O.CLOEXEC)), 'high');
  near.close();
  high.send('through it');
  far.readable().recv(100);
  const set = t.poller();
  set.add(high, EPOLL.IN);
  far.send('back');
  high.readable();
  set.wait();
  t.log(`select ${t.near.libc.select([[high.fd], [], []], 0).r}`);
  high.recv(10);
});

transfer.wired(
  'close_while_blocked',
  (t) => {
    const [near, far] = t.pair();
    if (t.far.begin === undefined) throw new Error('another process is needed');
    const waiting = t.far.begin('recv', far.fd, 10, 0);
    t.pause(20);
    near.close();
    const { r, err } = waiting() as { r: number; err: string };
    t.log(`the reader gets ${r} ${err}`);
  },
  { processes: true },
);

transfer.wired(
  'data_while_blocked',
  (t) => {
    const [near, far] = t.pair();
    if (t.far.begin === undefined) throw new Error('another process is needed');
    for (const name of ['recv', 'read'] as const) {
      const waiting = t.far.begin(name, far.fd, 10);
      t.pause(20);
      near.send('wake');
      const { r, data } = waiting() as { r: number; data: Buffer };
      t.log(`${name} gives ${r} ${data.toString()}`);
    }
    const polled = t.far.begin('poll', [[far.fd, POLL.IN]], 5000);
    t.pause(20);
    near.send('x');
    t.log(`poll gives ${JSON.stringify(polled())}`);
    far.set(SOL_SOCKET, SO.RCVTIMEO, 'SO_RCVTIMEO', time(5, 0));
    far.recv(10);
  },
  { processes: true },
);
