// SPDX-License-Identifier: BSD-3-Clause
/** SIGKILL and SIGSTOP of either application: the peer sees the close, nobody else hangs, all is freed. */
import { localConnections } from '../lib/accel.js';
import { needs } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { processes } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { sleep, until } from '../lib/wait.js';
import { startNginx, wrkReport } from '../apps/nginx.js';
import { echoServer, SERVERS } from './servers.js';

const CLOSED = expect.stringMatching(/^(eof|ECONNRESET|EPIPE)$/);

describe('SIGKILL', () => {
  const stage = useStage();

  test.each(SERVERS)(
    'of the %s server: clients see the close',
    async (kind) => {
      const server = await echoServer(stage, kind);
      const idle = await Talk.start(stage, true, server.port);
      const waiting = await Talk.start(stage, true, server.port);
      for (const [client, name] of [
        [idle, 'a'],
        [idle, 'b'],
        [waiting, 'c'],
      ] as const) {
        expect(await client.ask(`open ${name}`)).toBe('ok');
        expect(await client.ask(`say ${name} hello`)).toBe('ok');
      }
      await localConnections(stage.engine, server.program.pid);
      waiting.tell('wait c');
      await sleep(200);
      expect((await server.program.end('SIGKILL')).signal).toBe('SIGKILL');
      expect(await waiting.answer()).toEqual(CLOSED);
      expect(await idle.ask('wait a')).toEqual(CLOSED);
      expect(await idle.ask('say b anyone?')).toEqual(CLOSED);
      // Nobody listens any more, in either world.
      expect(await idle.ask('open d')).toBe('ECONNREFUSED');
      await idle.end();
      await waiting.end();
    },
    30_000,
  );

  test('of a server in the middle of a transfer', async () => {
    const server = await echoServer(stage);
    const client = await Talk.start(stage, true, server.port);
    expect(await client.ask('open a')).toBe('ok');
    // Far more than the rings hold: the echo stands still until somebody reads.
    client.tell('send a 60000000');
    await until('the rings are full', async () => (await stage.engine.status()).memory.used > 400_000);
    await server.program.end('SIGKILL');
    expect(await client.answer()).toEqual(CLOSED);
    await client.end();
  }, 30_000);

  test.each(SERVERS)(
    'of a client of the %s server: its connections are freed, others go on',
    async (kind) => {
      const server = await echoServer(stage, kind);
      const other = await Talk.start(stage, true, server.port);
      expect(await other.ask('open a')).toBe('ok');
      const client = await Talk.start(stage, true, server.port);
      for (const name of ['a', 'b', 'c']) {
        expect(await client.ask(`open ${name}`)).toBe('ok');
        expect(await client.ask(`say ${name} hello`)).toBe('ok');
      }
      client.tell('wait a');
      expect((await stage.engine.status()).sessions.in_use).toBe(1 + 2 * 4);
      await client.process.end('SIGKILL');
      await until('the connections are gone', async () => (await stage.engine.status()).sessions.in_use === 1 + 2);
      expect(await other.ask('say a still here')).toBe('ok');
      await other.end();
      expect((await server.program.end('SIGTERM')).status ?? 0).toBe(0);
    },
    30_000,
  );

  test('of a client that is being written to', async () => {
    const server = await echoServer(stage);
    const client = await Talk.start(stage, true, server.port);
    expect(await client.ask('open a')).toBe('ok');
    client.tell('send a 60000000');
    await until('the rings are full', async () => (await stage.engine.status()).memory.used > 400_000);
    await client.process.end('SIGKILL');
    await until('the connection is gone', async () => (await stage.engine.status()).sessions.in_use === 1);
    expect((await server.program.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('of clients between connect and accept', async () => {
    const server = await echoServer(stage);
    server.program.signal('SIGSTOP');
    const client = await Talk.start(stage, true, server.port);
    for (const name of ['a', 'b', 'c']) expect(await client.ask(`open ${name}`)).toBe('ok');
    expect((await stage.engine.status()).sessions.accept_queued).toBe(3);
    await client.process.end('SIGKILL');
    server.program.signal('SIGCONT');
    await until('the connections are gone', async () => (await stage.engine.status()).sessions.in_use === 1);
    const next = await Talk.start(stage, true, server.port);
    expect(await next.ask('open a')).toBe('ok');
    expect(await next.ask('say a hello')).toBe('ok');
    await next.end();
    expect((await server.program.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('of a listener with connections that nobody accepted', async () => {
    const server = await echoServer(stage);
    server.program.signal('SIGSTOP');
    const client = await Talk.start(stage, true, server.port);
    for (const name of ['a', 'b']) expect(await client.ask(`open ${name}`)).toBe('ok');
    await server.program.end('SIGKILL');
    expect(await client.ask('wait a')).toEqual(CLOSED);
    expect(await client.ask('wait b')).toEqual(CLOSED);
    await client.end();
  }, 30_000);

  needs(test, 'nginx', 'wrk')(
    'of a worker of nginx under load: the next one serves',
    async () => {
      const port = await freePort();
      const nginx = await startNginx(stage, port, { workers: 2 });
      const workers = () => processes().filter((p) => p.parent === nginx.pid);
      const wrk = stage.wrapped(['wrk', '-t1', '-c40', '-d2s', `http://127.0.0.1:${port}/hello`]);
      await sleep(500);
      const [victim] = workers();
      if (victim === undefined) throw new Error('no worker');
      process.kill(victim.pid, 'SIGKILL');
      await until('there is another worker', () => workers().filter((p) => p.pid !== victim.pid).length === 2);
      expect(wrkReport((await wrk.ended()).stdout).requests).toBeGreaterThan(0);
      const again = await stage.ok(true, ['wrk', '-t1', '-c40', '-d1s', `http://127.0.0.1:${port}/hello`]);
      expect(wrkReport(again.stdout).errors).toEqual([]);
      expect((await nginx.end('SIGQUIT')).status).toBe(0);
    },
    30_000,
  );
});

describe('SIGSTOP', () => {
  const stage = useStage();

  test('of a client that does not read: the server serves the others', async () => {
    const server = await echoServer(stage);
    const stopped = await Talk.start(stage, true, server.port);
    const other = await Talk.start(stage, true, server.port);
    expect(await stopped.ask('open a')).toBe('ok');
    expect(await other.ask('open a')).toBe('ok');
    stopped.tell('send a 60000000');
    await until('the rings are full', async () => (await stage.engine.status()).memory.used > 400_000);
    stopped.process.signal('SIGSTOP');
    for (let i = 0; i < 20; i++) expect(await other.ask(`say a ${i}`)).toBe('ok');
    stopped.process.signal('SIGCONT');
    await stopped.process.end('SIGKILL');
    await other.end();
    expect((await server.program.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('of a server: clients of another one go on, and its own when it continues', async () => {
    const stopped = await echoServer(stage);
    const server = await echoServer(stage, 'C');
    const waiting = await Talk.start(stage, true, stopped.port);
    const other = await Talk.start(stage, true, server.port);
    expect(await waiting.ask('open a')).toBe('ok');
    expect(await other.ask('open a')).toBe('ok');
    stopped.program.signal('SIGSTOP');
    waiting.tell('say a are you there?');
    for (let i = 0; i < 20; i++) expect(await other.ask(`say a ${i}`)).toBe('ok');
    // The engine and new connections do not wait for it either.
    expect(await other.ask('open b')).toBe('ok');
    const late = await Talk.start(stage, true, stopped.port);
    expect(await late.ask('open a')).toBe('ok');
    stopped.program.signal('SIGCONT');
    expect(await waiting.answer()).toBe('ok');
    expect(await late.ask('say a hello')).toBe('ok');
    for (const client of [waiting, other, late]) await client.end();
    await stopped.program.end('SIGTERM');
    await server.program.end('SIGTERM');
  }, 30_000);

  test('of a process that holds a listener with another: the other accepts', async () => {
    const port = await freePort();
    // Two processes on one listener; each says who it is.
    const script = `
import os, socket, sys
s = socket.create_server(("127.0.0.1", ${port}), backlog=64)
child = os.fork()
if child: print("child", child, flush=True)
while True:
    c, _ = s.accept()
    if not c.recv(100): continue
    c.sendall(b"%d\\n" % os.getpid())
    c.close()
`;
    const server = stage.wrapped([PYTHON, '-c', script]);
    const child = Number((await server.says(/child (\d+)/))[1]);
    const ask = async () =>
      (await stage.ok(true, ['/bin/sh', '-c', `echo hi | timeout 5 ${PYTHON} -c '${ASK}' ${port}`])).stdout.trim();
    expect([`${server.pid}`, `${child}`]).toContain(await ask());
    process.kill(child, 'SIGSTOP');
    // One connection may be on its way to the stopped one, as in the kernel; all others are served.
    const answers = [await ask(), await ask(), await ask()];
    expect(answers).toEqual([`${server.pid}`, `${server.pid}`, `${server.pid}`]);
    process.kill(child, 'SIGCONT');
  }, 30_000);
});

const ASK = `
import socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
c.sendall(b"hi")
print(c.makefile().readline())
`;
