// SPDX-License-Identifier: BSD-3-Clause
/** SIGKILL and SIGSTOP of the engine: pairs go on, new sockets use the kernel, listeners come back, nothing hangs. */
import { localConnections, Meter, socketsOf } from '../lib/accel.js';
import { freePort } from '../lib/ports.js';
import { useStage } from '../lib/stage.js';
import { Talk } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { echoServer, SERVERS } from './servers.js';

describe('the engine dies', () => {
  const stage = useStage();

  test.each(SERVERS)(
    'pairs go on, new sockets use the kernel, listeners come back (%s server)',
    async (kind) => {
      const { port, program } = await echoServer(stage, kind);
      const old = await Talk.start(stage, true, port);
      expect(await old.ask('open a')).toBe('ok');
      expect(await old.ask('say a before')).toBe('ok');
      await localConnections(stage.engine, program.pid);
      await stage.engine.crash();

      for (let i = 0; i < 20; i++) expect(await old.ask(`say a without ${i}`)).toBe('ok');
      // A new program, and a new socket of one that was attached: both served by the kernel.
      const fresh = await Talk.start(stage, true, port);
      expect(await fresh.ask('open a')).toBe('ok');
      expect(await fresh.ask('say a kernel')).toBe('ok');
      expect(fresh.process.stderr).toMatch(/no engine/);
      expect(await old.ask('open b')).toBe('ok');
      expect(await old.ask('say b kernel')).toBe('ok');
      expect(await old.ask('say a still')).toBe('ok');

      const engine = await stage.startEngine();
      await socketsOf(engine, program.pid, 'a listener', (s) => s.verdict === 'both');
      const meter = await Meter.start(engine);
      const next = await Talk.start(stage, true, port);
      expect(await next.ask('open a')).toBe('ok');
      expect(await next.ask('say a accelerated again')).toBe('ok');
      await meter.accelerated(1, 10);
      expect((await localConnections(engine, next.process.pid))[0]?.peer?.pid).toBe(program.pid);
      // What was there before still works, and so do new sockets of the old program.
      expect(await old.ask('say a after')).toBe('ok');
      expect(await old.ask('open c')).toBe('ok');
      expect(await old.ask('say c accelerated')).toBe('ok');
      await meter.accelerated(2, 20);
      expect(await old.ask('close a')).toBe('ok');
      await next.end();
      old.process.endInput();
      fresh.process.endInput();
      expect((await old.process.ended()).status).toBe(0);
      expect((await fresh.process.ended()).status).toBe(0);
      expect((await program.end('SIGTERM')).status ?? 0).toBe(0);
    },
    60_000,
  );

  test.each(SERVERS)(
    'and then an application: its peer sees the close (%s server)',
    async (kind) => {
      const { port, program } = await echoServer(stage, kind);
      const client = await Talk.start(stage, true, port);
      for (const name of ['a', 'b']) {
        expect(await client.ask(`open ${name}`)).toBe('ok');
        expect(await client.ask(`say ${name} before`)).toBe('ok');
      }
      await stage.engine.crash();
      client.tell('wait a');
      await program.end('SIGKILL');
      expect(await client.answer(10_000)).toMatch(/^(eof|ECONNRESET)$/);
      expect(await client.ask('say b anyone?', 10_000)).toMatch(/^(eof|ECONNRESET|EPIPE)$/);
      client.process.endInput();
      expect((await client.process.ended()).status).toBe(0);
      await stage.startEngine();
    },
    60_000,
  );

  test('and comes back while a program waits: the program is a client again', async () => {
    const { port, program } = await echoServer(stage);
    await stage.engine.crash();
    const engine = await stage.startEngine();
    await until('the server is attached', async () =>
      (await engine.status()).clients.some((c) => c.pid === program.pid),
    );
    await until('and listens', async () => (await engine.status()).sessions.listeners === 1);
    const client = await Talk.start(stage, true, port);
    const meter = await Meter.start(engine);
    expect(await client.ask('open a')).toBe('ok');
    expect(await client.ask('say a hello')).toBe('ok');
    await meter.accelerated(1, 6);
    await client.end();
    await program.end('SIGTERM');
  }, 30_000);
});

describe('the engine dies', () => {
  const stage = useStage();

  test.each(['epoll', 'poll', 'select'])(
    'and a program waits for a pair in a new way: %s',
    async (how) => {
      const { port, program } = await echoServer(stage);
      const code = `
import select, socket, sys
s = socket.create_connection(('127.0.0.1', ${port}))
s.sendall(b'before')
print(s.recv(6).decode(), flush=True)
sys.stdin.readline()
def wait():
    if '${how}' == 'epoll':
        e = select.epoll()
        e.register(s, select.EPOLLIN)
        return e.poll(20) == [(s.fileno(), select.EPOLLIN)]
    if '${how}' == 'poll':
        p = select.poll()
        p.register(s, select.POLLIN)
        return p.poll(20_000) == [(s.fileno(), select.POLLIN)]
    return select.select([s], [], [], 20) == ([s], [], [])
for i in range(20):
    s.sendall(b'%d' % i)
    assert wait() and s.recv(10) == b'%d' % i
print('done', flush=True)
`;
      const client = stage.wrapped(['/usr/bin/python3', '-c', code], { input: 'open' });
      await client.says(/before/);
      await localConnections(stage.engine, client.pid);
      await stage.engine.crash();
      client.write('go\n');
      expect(await client.ended()).toMatchObject({ status: 0, stdout: 'before\ndone\n' });
      await stage.startEngine();
      await program.end('SIGTERM');
    },
    60_000,
  );
});

describe('the engine dies while a server is blocked', () => {
  const stage = useStage();

  test.each(['accept', 'poll'])(
    'in %s: its listener comes back',
    async (call) => {
      const port = await freePort();
      const code = `
import select, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', ${port}))
s.listen()
p = select.poll()
p.register(s, select.POLLIN)
print('listening', flush=True)
while True:
    '${call}' == 'poll' and p.poll()
    s.accept()[0].sendall(b'hello')
`;
      const server = stage.wrapped(['/usr/bin/python3', '-c', code]);
      await server.says(/listening/);
      await stage.engine.crash();
      const engine = await stage.startEngine();
      await socketsOf(engine, server.pid, 'a listener', (s) => s.verdict === 'both');
      const meter = await Meter.start(engine);
      const fetch = `import socket; print(socket.create_connection(('127.0.0.1', ${port})).recv(5).decode())`;
      expect((await stage.ok(true, ['/usr/bin/python3', '-c', fetch])).stdout).toBe('hello\n');
      await meter.accelerated(1, 5);
      await server.end('SIGTERM');
    },
    30_000,
  );
});

describe('the engine is stopped', () => {
  const stage = useStage();

  test('pairs go on, and kernel clients are served', async () => {
    const { port, program } = await echoServer(stage);
    const client = await Talk.start(stage, true, port);
    const kernel = await Talk.start(stage, false, port);
    expect(await client.ask('open a')).toBe('ok');
    expect(await client.ask('say a before')).toBe('ok');
    process.kill(stage.engine.pid, 'SIGSTOP');
    try {
      for (let i = 0; i < 20; i++) expect(await client.ask(`say a ${i}`)).toBe('ok');
      // No engine round trip to connect inside a trust domain.
      expect(await client.ask('open b')).toBe('ok');
      expect(await client.ask('say b hello')).toBe('ok');
      expect(await kernel.ask('open a')).toBe('ok');
      expect(await kernel.ask('say a hello')).toBe('ok');
    } finally {
      process.kill(stage.engine.pid, 'SIGCONT');
    }
    await client.end();
    await kernel.end();
    expect((await program.end('SIGTERM')).status).toBe(0);
  }, 30_000);
});
