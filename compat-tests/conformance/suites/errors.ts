// SPDX-License-Identifier: BSD-3-Clause
/** What cannot be: memory that is not there, bad lengths, descriptors of other kinds, sockets in the wrong state. */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { EPOLL, MSG, SHUT, SO, SOCK, SOL_SOCKET } from '../libc/constants.js';
import type { Arg } from '../libc/ffi.js';
import { AF, int32, iovec, msghdr, sockaddr, time } from '../libc/struct.js';

export const errors = new Suite('errors');

/** Addresses that are not there: none, the first page, the kernel's half; and a page of ours that may not be touched. */
function badPointers(t: Case): (readonly [string, number])[] {
  const page = t.ok('mmap', t.near.libc.mmap(4096, 0));
  return [
    ['null', 0],
    ['1', 1],
    ['the last page', 0x7fff_ffff_f000],
    ['no access', page],
  ];
}

function everyPointer(
  t: Case,
  sock: Sock,
  what: string,
  name: string,
  signature: string,
  args: (bad: number) => Arg[],
): void {
  for (const [label, address] of badPointers(t))
    sock.call(`${what} ${label}`, () => t.near.libc.raw(name, signature, ...args(address)));
}

/** A connection with data to read. */
function loaded(t: Case): Sock {
  const [near, far] = t.pair();
  far.send('0123456789');
  return near.arrived(10);
}

const receive: readonly (readonly [string, string, (fd: number, bad: number) => Arg[]])[] = [
  ['read', 'lizz', (fd, bad) => [fd, bad, 4]],
  ['recv', 'lizzi', (fd, bad) => [fd, bad, 4, 0]],
  ['recvfrom', 'lizzizz', (fd, bad) => [fd, bad, 4, 0, 0, 0]],
  ['recvmsg', 'lizi', (fd, bad) => [fd, bad, 0]],
  ['recvmmsg', 'iizuiz', (fd, bad) => [fd, bad, 1, 0, 0]],
  ['readv', 'lizi', (fd, bad) => [fd, bad, 1]],
];
for (const [name, signature, args] of receive)
  errors.wired(`fault_${name}`, (t) => {
    const near = loaded(t);
    everyPointer(t, near, name, name, signature, (bad) => args(near.fd, bad));
    near.recv(100);
  });

const transmit: readonly (readonly [string, string, (fd: number, bad: number) => Arg[]])[] = [
  ['write', 'lizz', (fd, bad) => [fd, bad, 4]],
  ['send', 'lizzi', (fd, bad) => [fd, bad, 4, 0]],
  ['sendto', 'lizzizu', (fd, bad) => [fd, bad, 4, 0, 0, 0]],
  ['sendmsg', 'lizi', (fd, bad) => [fd, bad, 0]],
  ['sendmmsg', 'iizui', (fd, bad) => [fd, bad, 1, 0]],
  ['writev', 'lizi', (fd, bad) => [fd, bad, 1]],
];
for (const [name, signature, args] of transmit)
  errors.wired(`fault_${name}`, (t) => {
    const [near, far] = t.pair();
    everyPointer(t, near, name, name, signature, (bad) => args(near.fd, bad));
    near.send('after');
    far.readable().recv(100);
  });

errors.wired('fault_in_vector', (t) => {
  const near = loaded(t);
  for (const [label, address] of badPointers(t)) {
    const iov = iovec([Buffer.alloc(4)]);
    iov.writeBigUInt64LE(BigInt(address), 0);
    near.call(`readv into ${label}`, (fd) => t.near.libc.raw('readv', 'lizi', fd, iov, 1));
    near.call(`writev from ${label}`, (fd) => t.near.libc.raw('writev', 'lizi', fd, iov, 1));
    near.call(`recvmsg into ${label}`, (fd) => t.near.libc.raw('recvmsg', 'lizi', fd, msghdr({ iov, count: 1 }), 0));
    near.call(`sendmsg from ${label}`, (fd) => t.near.libc.raw('sendmsg', 'lizi', fd, msghdr({ iov, count: 1 }), 0));
  }
  near.recv(100);
});

errors.wired('fault_without_data', (t) => {
  const [near] = t.pair();
  near.call('recv into null', (fd) => t.near.libc.raw('recv', 'lizzi', fd, 0, 4, MSG.DONTWAIT));
  near.call('recv nothing into null', (fd) => t.near.libc.raw('recv', 'lizzi', fd, 0, 0, MSG.DONTWAIT));
  near.call('send nothing from null', (fd) => t.near.libc.raw('send', 'lizzi', fd, 0, 0, 0));
});

errors.wired('fault_read_only', (t) => {
  const near = loaded(t);
  const page = t.ok('mmap', t.near.libc.mmap(4096, 1));
  near.call('recv into read-only memory', (fd) => t.near.libc.raw('recv', 'lizzi', fd, page, 4, 0));
  near.recv(100);
});

errors.wired('fault_behind_page', (t) => {
  const [near, far] = t.pair();
  const page = t.ok('mmap', t.near.libc.mmap(8192, 3));
  t.ok('mprotect', t.near.libc.mprotect(page + 4096, 4096, 0));
  near.call('send across', (fd) => t.near.libc.raw('send', 'lizzi', fd, page + 4090, 100, 0));
  near.send('after');
  far.readable();
  far.send(Buffer.alloc(100, 'x'));
  near.arrived(100).call('recv across', (fd) => t.near.libc.raw('recv', 'lizzi', fd, page + 4090, 100, 0));
});

errors.tcp('fault_names', (t) => {
  const [near] = t.pair();
  everyPointer(t, near, 'getsockname', 'getsockname', 'iizz', (bad) => [near.fd, bad, int32(16)]);
  everyPointer(t, near, 'getsockname length', 'getsockname', 'iizz', (bad) => [near.fd, Buffer.alloc(16), bad]);
  everyPointer(t, near, 'getpeername', 'getpeername', 'iizz', (bad) => [near.fd, bad, int32(16)]);
  everyPointer(t, near, 'getpeername length', 'getpeername', 'iizz', (bad) => [near.fd, Buffer.alloc(16), bad]);
  near.call('length -1', (fd) => t.near.libc.raw('getsockname', 'iizz', fd, Buffer.alloc(16), int32(-1)));
  near.call('length 0', (fd) => t.near.libc.raw('getsockname', 'iizz', fd, 0, int32(0)));
  near.call('peer length -1', (fd) => t.near.libc.raw('getpeername', 'iizz', fd, Buffer.alloc(16), int32(-1)));
});

errors.tcp('fault_options', (t) => {
  const [near] = t.pair();
  for (const [level, name] of [
    [SOL_SOCKET, SO.KEEPALIVE],
    [SOL_SOCKET, SO.RCVTIMEO],
    [SOL_SOCKET, SO.LINGER],
    [SOL_SOCKET, SO.ERROR],
    [SOL_SOCKET, SO.PRIORITY],
    [6, 1],
    [6, 11],
    [6, 13],
    [0, 1],
  ] as const) {
    everyPointer(t, near, `getsockopt ${level} ${name}`, 'getsockopt', 'iiiizz', (bad) => [
      near.fd,
      level,
      name,
      bad,
      int32(16),
    ]);
    everyPointer(t, near, `getsockopt ${level} ${name} length`, 'getsockopt', 'iiiizz', (bad) => [
      near.fd,
      level,
      name,
      Buffer.alloc(16),
      bad,
    ]);
    everyPointer(t, near, `setsockopt ${level} ${name}`, 'setsockopt', 'iiiizu', (bad) => [
      near.fd,
      level,
      name,
      bad,
      16,
    ]);
  }
});

errors.listen('fault_bind', (t) => {
  const fresh = t.socket(t.near, 'fresh');
  everyPointer(t, fresh, 'bind', 'bind', 'iizu', (bad) => [fresh.fd, bad, 16]);
});

errors.listen('fault_connect', (t) => {
  const fresh = t.socket(t.near, 'fresh');
  everyPointer(t, fresh, 'connect', 'connect', 'iizu', (bad) => [fresh.fd, bad, 16]);
});

errors.tcp('fault_accept', (t) => {
  const listener = t.listener(t.near);
  for (const [label, address] of badPointers(t)) {
    const client = t.socket(t.far, 'client');
    t.ok('connect', t.far.libc.connect(client.fd, t.at(t.near, t.portOf(listener))));
    t.connections++;
    listener.readable();
    const first = t.near.libc.raw('accept', 'iizz', listener.fd, address, int32(16));
    t.success(`accept ${label}`, first);
    if (first.r >= 0) t.keep(t.near, first.r);
  }
  listener.poll();
});

errors.tcp('fault_accept_length', (t) => {
  const listener = t.listener(t.near);
  const client = t.socket(t.far, 'client');
  t.ok('connect', t.far.libc.connect(client.fd, t.at(t.near, t.portOf(listener))));
  t.connections++;
  listener.readable();
  t.success('accept', t.near.libc.raw('accept', 'iizz', listener.fd, Buffer.alloc(16), 1));
  listener.poll();
});

errors.tcp('fault_epoll', (t) => {
  const [near, far] = t.pair();
  const set = t.poller();
  everyPointer(t, near, 'epoll_ctl', 'epoll_ctl', 'iiiiz', (bad) => [set.fd, 1, near.fd, bad]);
  set.add(near, EPOLL.IN);
  far.send('x');
  near.readable();
  everyPointer(t, near, 'epoll_wait', 'epoll_wait', 'iizii', (bad) => [set.fd, bad, 4, 0]);
  set.wait();
  near.call('epoll_ctl delete null', (fd) => t.near.libc.raw('epoll_ctl', 'iiiiz', set.fd, 2, fd, 0));
  near.recv(10);
  near.call('epoll_wait nothing into null', () => t.near.libc.raw('epoll_wait', 'iizii', set.fd, 0, 4, 0));
});

errors.tcp('fault_poll', (t) => {
  const [near] = t.pair();
  everyPointer(t, near, 'poll', 'poll', 'izli', (bad) => [bad, 1, 0]);
  everyPointer(t, near, 'select', 'select', 'iizzzz', (bad) => [near.fd + 1, bad === 0 ? 1 : bad, 0, 0, time(0, 0)]);
});

errors.tcp('fault_ioctl', (t) => {
  const [near] = t.pair();
  for (const request of [0x541b, 0x5411, 0x5421, 0x8905, 0x5452])
    everyPointer(t, near, `ioctl ${request.toString(16)}`, 'ioctl', 'iizz', (bad) => [near.fd, request, bad]);
});

errors.tcp('fault_sendfile', (t) => {
  const [near] = t.pair();
  const file = t.keep(t.near, t.ok('memfd', t.near.libc.memfd_create('file')));
  t.near.libc.write(file, Buffer.from('content'));
  everyPointer(t, near, 'sendfile', 'sendfile', 'liizz', (bad) => [near.fd, file, bad === 0 ? 1 : bad, 4]);
});

errors.udp('fault_udp', (t) => {
  const [near, far] = t.datagrams();
  everyPointer(t, near, 'send', 'send', 'lizzi', (bad) => [near.fd, bad, 4, 0]);
  everyPointer(t, near, 'sendmsg', 'sendmsg', 'lizi', (bad) => [near.fd, bad, 0]);
  everyPointer(t, near, 'sendto address', 'sendto', 'lizzizu', (bad) => [
    near.fd,
    Buffer.from('data'),
    4,
    0,
    bad === 0 ? 1 : bad,
    16,
  ]);
  for (let i = 0; i < 3; i++) far.send('abc');
  near.readable();
  near.call('recv into null', (fd) => t.near.libc.raw('recv', 'lizzi', fd, 0, 4, 0));
  near.call('recvfrom address', (fd) =>
    t.near.libc.raw('recvfrom', 'lizzizz', fd, Buffer.alloc(4), 4, 0, 1, int32(16)),
  );
  near.recv(100, MSG.DONTWAIT);
  near.recv(100, MSG.DONTWAIT);
});

/* ---- Lengths ---- */

errors.listen('address_lengths', (t) => {
  const fresh = t.socket(t.near, 'fresh');
  const address = sockaddr({ family: AF.INET, host: '127.0.0.1', port: 0 });
  for (const name of ['bind', 'connect'])
    for (const length of [0, 1, 2, 8, 15, 129, 4096, -1])
      fresh.call(`${name} length ${length}`, (fd) =>
        t.near.libc.raw(name, 'iizi', fd, Buffer.concat([address, Buffer.alloc(4096)]), length),
      );
  const six = t.socket(t.near, 'six', SOCK.STREAM, AF.INET6);
  const address6 = sockaddr({ family: AF.INET6, host: '::1', port: 0 });
  for (const length of [2, 16, 23, 24, 27])
    six.call(`bind length ${length}`, (fd) => t.near.libc.raw('bind', 'iizi', fd, address6, length));
});

errors.listen('address_families', (t) => {
  const fresh = t.socket(t.near, 'fresh');
  for (const family of [AF.UNSPEC, AF.UNIX, AF.INET6, AF.NETLINK, 999]) {
    const address = Buffer.alloc(28);
    address.writeUInt16LE(family);
    fresh.call(`bind family ${family}`, (fd) => t.near.libc.raw('bind', 'iizi', fd, address, 28));
    const other = t.socket(t.near, 'other');
    other.call(`connect family ${family}`, (fd) => t.near.libc.raw('connect', 'iizi', fd, address, 28));
  }
});

errors.tcp('names_cut', (t) => {
  const [near] = t.pair();
  for (const length of [0, 2, 8, 15, 16, 100]) {
    const [bytes, told] = [Buffer.alloc(128, 0xee), int32(length)];
    near.call(`getpeername ${length}`, (fd) => t.near.libc.raw('getpeername', 'iizz', fd, bytes, told));
    t.log(
      `length ${told.readInt32LE()} family ${bytes.subarray(0, 2).toString('hex')} host ${bytes.subarray(4, 8).toString('hex')} rest ${bytes.subarray(16, 20).toString('hex')}`,
    );
  }
});

errors.tcp('vector_lengths', (t) => {
  const near = loaded(t);
  const huge = iovec([Buffer.alloc(4), Buffer.alloc(4)]);
  huge.writeBigUInt64LE(0x7fff_ffff_ffff_ffffn, 8);
  const negative = iovec([Buffer.alloc(4)]);
  negative.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 8);
  for (const count of [-1, 1025]) {
    near.call(`readv count ${count}`, (fd) => t.near.libc.raw('readv', 'lizi', fd, huge, count));
    near.call(`writev count ${count}`, (fd) => t.near.libc.raw('writev', 'lizi', fd, huge, count));
  }
  near.call('readv negative', (fd) => t.near.libc.raw('readv', 'lizi', fd, negative, 1));
  near.call('writev negative', (fd) => t.near.libc.raw('writev', 'lizi', fd, negative, 1));
  near.call('recvmsg negative', (fd) => t.near.libc.raw('recvmsg', 'lizi', fd, msghdr({ iov: negative, count: 1 }), 0));
  near.call('sendmsg negative', (fd) => t.near.libc.raw('sendmsg', 'lizi', fd, msghdr({ iov: negative, count: 1 }), 0));
  near.recv(100);
});

/* ---- Descriptors ---- */

const everyCall: readonly (readonly [string, string, (fd: number) => Arg[]])[] = [
  ['bind', 'iizu', (fd) => [fd, sockaddr({ family: AF.INET, host: '127.0.0.1', port: 0 }), 16]],
  ['listen', 'iii', (fd) => [fd, 1]],
  ['accept', 'iizz', (fd) => [fd, 0, 0]],
  ['accept4', 'iizzi', (fd) => [fd, 0, 0, 0]],
  ['connect', 'iizu', (fd) => [fd, sockaddr({ family: AF.INET, host: '127.0.0.1', port: 1 }), 16]],
  ['shutdown', 'iii', (fd) => [fd, SHUT.WR]],
  ['getsockname', 'iizz', (fd) => [fd, Buffer.alloc(16), int32(16)]],
  ['getpeername', 'iizz', (fd) => [fd, Buffer.alloc(16), int32(16)]],
  ['getsockopt', 'iiiizz', (fd) => [fd, SOL_SOCKET, SO.TYPE, Buffer.alloc(4), int32(4)]],
  ['setsockopt', 'iiiizu', (fd) => [fd, SOL_SOCKET, SO.KEEPALIVE, int32(1), 4]],
  ['sockatmark', 'ii', (fd) => [fd]],
  ['read', 'lizz', (fd) => [fd, Buffer.alloc(4), 4]],
  ['recv', 'lizzi', (fd) => [fd, Buffer.alloc(4), 4, MSG.DONTWAIT]],
  ['send', 'lizzi', (fd) => [fd, Buffer.alloc(4), 4, MSG.DONTWAIT | MSG.NOSIGNAL]],
  ['recvmsg', 'lizi', (fd) => [fd, msghdr({ iov: iovec([Buffer.alloc(4)]), count: 1 }), MSG.DONTWAIT]],
  ['sendmsg', 'lizi', (fd) => [fd, msghdr({ iov: iovec([Buffer.alloc(4)]), count: 1 }), MSG.DONTWAIT | MSG.NOSIGNAL]],
  ['lseek', 'lili', (fd) => [fd, 0, 0]],
  ['ftruncate', 'iil', (fd) => [fd, 0]],
  ['fsync', 'ii', (fd) => [fd]],
  ['fdatasync', 'ii', (fd) => [fd]],
  ['fchdir', 'ii', (fd) => [fd]],
  ['flock', 'iii', (fd) => [fd, 1]],
  ['posix_fadvise', 'iilli', (fd) => [fd, 0, 0, 0]],
  ['posix_fallocate', 'iill', (fd) => [fd, 0, 1]],
  ['fallocate', 'iiill', (fd) => [fd, 0, 0, 1]],
  ['isatty', 'ii', (fd) => [fd]],
  ['close', 'ii', (fd) => [fd]],
  ['dup', 'ii', (fd) => [fd]],
];

for (const bad of [-1, 100_000])
  errors.kernel(`descriptor_${bad}`, 'there is no socket', (t) => {
    for (const [name, signature, args] of everyCall) t.result(name, t.near.libc.raw(name, signature, ...args(bad)));
    t.result('splice', t.near.libc.splice(bad, bad, 1));
    t.result('sendfile', t.near.libc.sendfile(bad, bad, null, 1));
    t.result('epoll_wait', t.near.libc.epoll_wait(bad, 1, 0));
    t.result('poll', t.near.libc.poll([[bad, 1]], 0));
  });

errors.kernel('descriptor_pipe', 'there is no socket', (t) => {
  for (const [name, signature, args] of everyCall.filter(
    ([n]) => !['read', 'fsync', 'fdatasync', 'dup', 'close', 'flock'].includes(n),
  )) {
    const { fds } = t.near.libc.pipe();
    t.result(name, t.near.libc.raw(name, signature, ...args(fds[0])));
    for (const fd of fds) t.near.libc.close(fd);
  }
});

errors.tcp('descriptor_closed', (t) => {
  const [near] = t.pair();
  near.close();
  for (const [name, signature, args] of everyCall)
    near.call(name, (fd) => t.near.libc.raw(name, signature, ...args(fd)));
});

errors.tcp('file_calls', (t) => {
  const [near] = t.pair();
  const files = [
    'lseek',
    'ftruncate',
    'fsync',
    'fdatasync',
    'fchdir',
    'flock',
    'posix_fadvise',
    'posix_fallocate',
    'fallocate',
    'isatty',
  ];
  for (const [name, signature, args] of everyCall.filter(([n]) => files.includes(n)))
    near.call(name, (fd) => t.near.libc.raw(name, signature, ...args(fd)));
  const { r, err, mode, size } = t.near.libc.fstat(near.fd);
  t.log(`fstat ${r} ${err} ${mode.toString(8)} ${size}`);
  t.success('mmap', t.near.libc.raw('mmap', 'lzziiil', 0, 4096, 1, 2, near.fd, 0));
  near.call('getdents64', (fd) => t.near.libc.raw('getdents64', 'lizz', fd, Buffer.alloc(64), 64));
});

/* ---- States ---- */

errors.listen('fresh', (t) => {
  const calls = everyCall.filter(([name]) => !['bind', 'listen', 'connect', 'close', 'dup'].includes(name));
  for (const [name, signature, args] of calls) {
    const fresh = t.socket(t.near, 'fresh', SOCK.STREAM | SOCK.NONBLOCK);
    fresh.call(name, (fd) => t.near.libc.raw(name, signature, ...args(fd)));
    fresh.poll();
  }
});

errors.listen('listening', (t) => {
  const calls = everyCall.filter(([name]) => !['close', 'dup', 'shutdown'].includes(name));
  for (const [name, signature, args] of calls) {
    const listener = t.listener(t.near).nonblocking();
    listener.call(name, (fd) => t.near.libc.raw(name, signature, ...args(fd)));
    listener.poll();
  }
});

errors.tcp('connected', (t) => {
  for (const name of ['bind', 'listen', 'accept', 'accept4', 'connect']) {
    const [, signature, args] = everyCall.find(([n]) => n === name) ?? ['', '', () => []];
    const [near] = t.pair();
    near.call(name, (fd) => t.near.libc.raw(name, signature, ...args(fd)));
  }
});

errors.listen('socket_arguments', (t) => {
  for (const [domain, type, protocol] of [
    [AF.INET, 1, 17],
    [AF.INET, 2, 6],
    [AF.INET, 1, 999],
    [AF.INET, 5, 0],
    [AF.INET, 99, 0],
    [AF.INET, -1, 0],
    [99, 1, 0],
    [-1, 1, 0],
    [AF.INET, 1, 262],
    [AF.INET, 1 | 0x100, 0],
    [AF.INET6, 1, 17],
    [AF.INET6, 2, 6],
  ] as const) {
    const result = t.near.libc.socket(domain, type, protocol);
    t.success(`socket ${domain} ${type} ${protocol}`, result);
    if (result.r >= 0) t.near.libc.close(result.r);
  }
});
