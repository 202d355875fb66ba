// SPDX-License-Identifier: BSD-3-Clause
/** TCP Fast Open as sockets see it (tcp(7)) where no cookie is known: what is sent follows the handshake. Data on a SYN:
 * compat-tests/wire/fastopen.test.ts. */
import { type Case, Suite } from '../harness/case.js';
import type { Sock } from '../harness/sock.js';
import { IPPROTO, MSG, O, POLL, SHUT, SO, SOL_SOCKET, TCP } from '../libc/constants.js';
import { type Address, AF } from '../libc/struct.js';

export const fastopen = new Suite('fastopen');

interface Ends {
  readonly listener: Sock;
  readonly client: Sock;
  readonly to: Address;
}

function ends(t: Case, family: number = AF.INET): Ends {
  const listener = t.listener(t.far, 8, family);
  return { listener, client: t.socket(t.near, 'client'), to: t.at(t.far, t.portOf(listener), family) };
}

function sendto(client: Sock, data: string, to: Address, flags = 0): void {
  client.call(`sendto ${data.length}`, (fd) =>
    client.side.libc.sendto(fd, Buffer.from(data), flags | MSG.FASTOPEN | MSG.NOSIGNAL, to),
  );
}

/** The server's end, which has `count` bytes. */
function served(t: Case, listener: Sock, count: number): Sock {
  const server = t.accept(listener, 'server');
  t.connections++;
  server.arrived(count).recv(100);
  return server;
}

fastopen.wired('sendto_connects', (t) => {
  const { listener, client, to } = ends(t);
  sendto(client, 'hello', to);
  const server = served(t, listener, 5);
  server.send('answer');
  client.arrived(6).recv(100);
  client.send('more');
  server.arrived(4).recv(100);
  client.poll();
});

fastopen.wired('sendmsg_connects', (t) => {
  const { listener, client, to } = ends(t);
  client.sendmsg({ pieces: [Buffer.from('one '), Buffer.from('two')], to }, MSG.FASTOPEN);
  served(t, listener, 7);
});

fastopen.wired('nothing_to_send', (t) => {
  const { listener, client, to } = ends(t);
  sendto(client, '', to);
  const server = served(t, listener, 0 * client.send('x').r + 1);
  server.close();
  client.until(POLL.RDHUP).recv(10);
});

fastopen.wired('nonblocking', (t) => {
  const { listener, client, to } = ends(t);
  client.nonblocking();
  sendto(client, 'hello', to);
  client.until(POLL.OUT).get(SOL_SOCKET, SO.ERROR, 'SO_ERROR');
  client.call('connect', (fd) => t.near.libc.connect(fd, to));
  client.send('hello');
  served(t, listener, 5);
});

fastopen.wired('dontwait', (t) => {
  const { listener, client, to } = ends(t);
  sendto(client, 'hello', to, MSG.DONTWAIT);
  client.until(POLL.OUT).send('later');
  served(t, listener, 5);
});

fastopen.wired('connected', (t) => {
  const { listener, client, to } = ends(t);
  sendto(client, 'hello', to);
  sendto(client, 'again', to);
  client.send('flag', MSG.FASTOPEN);
  const server = served(t, listener, 5);
  sendto(server, 'back', to);
  client.shutdown(SHUT.WR);
  server.until(POLL.RDHUP).recv(10);
});

fastopen.listen('errors', (t) => {
  const { listener, client, to } = ends(t);
  client.send('no address', MSG.FASTOPEN);
  client.call('AF_UNSPEC', (fd) =>
    t.near.libc.raw('sendto', 'lizzizu', fd, Buffer.from('x'), 1, MSG.FASTOPEN, Buffer.alloc(16), 16),
  );
  client.call('short', (fd) => {
    const short = Buffer.alloc(16);
    short.writeUInt16LE(AF.INET);
    return t.near.libc.raw('sendto', 'lizzizu', fd, Buffer.from('x'), 1, MSG.FASTOPEN, short, 4);
  });
  sendto(listener, 'x', to);
});

fastopen.kernel('refused', 'no program of the engine listens there', (t) => {
  const { listener, client, to } = ends(t);
  listener.close();
  sendto(client, 'hello', to);
  client.poll();
});

fastopen.wired('option_connect', (t) => {
  const { listener, client, to } = ends(t);
  client.set(IPPROTO.TCP, TCP.FASTOPEN_CONNECT, 'TCP_FASTOPEN_CONNECT', 1);
  client.get(IPPROTO.TCP, TCP.FASTOPEN_CONNECT, 'TCP_FASTOPEN_CONNECT');
  client.call('connect', (fd) => t.near.libc.connect(fd, to));
  client.poll();
  client.send('hello');
  served(t, listener, 5);
  client.call('connect', (fd) => t.near.libc.connect(fd, to));
});

fastopen.wired('option_connect_nonblocking', (t) => {
  const { listener, client, to } = ends(t);
  client.nonblocking().set(IPPROTO.TCP, TCP.FASTOPEN_CONNECT, 'TCP_FASTOPEN_CONNECT', 1);
  client.call('connect', (fd) => t.near.libc.connect(fd, to));
  client.until(POLL.OUT).send('hello');
  served(t, listener, 5);
  t.log(`flags ${t.near.libc.fcntl(client.fd, 3).r & O.NONBLOCK}`);
});

fastopen.tcp('options', (t) => {
  const { listener, client, to } = ends(t);
  for (const value of [0, 5, 100_000, -1]) {
    listener.set(IPPROTO.TCP, TCP.FASTOPEN, 'TCP_FASTOPEN', value);
    listener.get(IPPROTO.TCP, TCP.FASTOPEN, 'TCP_FASTOPEN');
    client.set(IPPROTO.TCP, TCP.FASTOPEN, 'TCP_FASTOPEN', value);
  }
  for (const value of [0, 1, 2]) {
    client.set(IPPROTO.TCP, TCP.FASTOPEN_NO_COOKIE, 'TCP_FASTOPEN_NO_COOKIE', value);
    client.get(IPPROTO.TCP, TCP.FASTOPEN_NO_COOKIE, 'TCP_FASTOPEN_NO_COOKIE');
    client.set(IPPROTO.TCP, TCP.FASTOPEN_CONNECT, 'TCP_FASTOPEN_CONNECT', value);
  }
  const key = Buffer.from('0123456789abcdef');
  listener.set(IPPROTO.TCP, 33, 'TCP_FASTOPEN_KEY', key);
  listener.get(IPPROTO.TCP, 33, 'TCP_FASTOPEN_KEY', 16);
  for (const length of [0, 15, 17, 31, 33]) listener.set(IPPROTO.TCP, 33, 'TCP_FASTOPEN_KEY', Buffer.alloc(length));
  listener.set(IPPROTO.TCP, 33, 'TCP_FASTOPEN_KEY', Buffer.concat([Buffer.from('fedcba9876543210'), key]));
  listener.get(IPPROTO.TCP, 33, 'TCP_FASTOPEN_KEY', 32);
  client.set(IPPROTO.TCP, TCP.FASTOPEN_CONNECT, 'TCP_FASTOPEN_CONNECT', 0);
  client.set(IPPROTO.TCP, TCP.FASTOPEN_NO_COOKIE, 'TCP_FASTOPEN_NO_COOKIE', 0);
  sendto(client, 'hello', to);
  const server = served(t, listener, 5);
  for (const sock of [client, server]) sock.set(IPPROTO.TCP, TCP.FASTOPEN, 'TCP_FASTOPEN', 5);
});
