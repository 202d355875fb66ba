// SPDX-License-Identifier: BSD-3-Clause
/** Exhausted memory: back-pressure or ENOBUFS, never wrong bytes. A full descriptor table: accept fails, and goes on. */
import { Meter } from '../lib/accel.js';
import { MANY, program } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { echoServer } from './servers.js';

describe('1 MiB of ring memory', () => {
  const stage = useStage({ engine: { memory: 1 } });
  const WAYS = ['ok', 'ENOBUFS', 'eof', 'ECONNRESET', 'EPIPE'];

  async function exhaust(port: number, count: number, size: number): Promise<Record<string, number>> {
    const command = [process.execPath, program('exhaust.mjs'), `${port}`, `${count}`, `${size}`];
    const { stdout } = await stage.ok(true, command, { timeoutMs: 30_000 });
    return JSON.parse(stdout) as Record<string, number>;
  }

  test('many connections: what arrives is right, nothing hangs, and after it all works', async () => {
    const { port, program: server } = await echoServer(stage);
    // 8 KiB for each are kept, and little more is there: they wait for one another.
    const meter = await Meter.start(stage.engine);
    expect(await exhaust(port, 30, 50_000)).toEqual({ complete: 30 });
    await meter.accelerated(30, 30 * 50_000);
    const { memory } = await stage.engine.status();
    expect(memory.peak).toBeLessThanOrEqual(memory.limit);
    expect(memory.peak).toBeGreaterThan(memory.limit / 2);
    expect(await exhaust(port, 10, 50_000)).toEqual({ complete: 10 });
    await server.end('SIGTERM');
  }, 60_000);

  test('more connections than there is memory: ENOBUFS or a close, and after it all works', async () => {
    const { port, program: server } = await echoServer(stage, 'C');
    const client = await Talk.start(stage, true, port);
    const names = Array.from({ length: 400 }, (_, i) => `c${i}`);
    const ok = names.map(() => 'ok');
    expect(await client.askAll(names.map((name) => `open ${name}`))).toEqual(ok);
    const ways = await client.askAll(names.map((name) => `say ${name} ${name.repeat(100)}`));
    for (const how of ways) expect(WAYS).toContain(how);
    expect(ways.filter((how) => how === 'ok').length).toBeGreaterThan(100);
    expect(ways.filter((how) => how !== 'ok').length).toBeGreaterThan(100);
    const { memory } = await stage.engine.status();
    expect(memory.peak).toBeLessThanOrEqual(memory.limit);
    expect(await client.askAll(names.map((name) => `close ${name}`))).toEqual(ok);
    expect(await client.ask('open a')).toBe('ok');
    expect(await client.ask('say a all is well')).toBe('ok');
    await client.end();
    await server.end('SIGTERM');
  }, 60_000);

  test('a reader that stands still: back-pressure', async () => {
    const { port, program: server } = await echoServer(stage, 'C');
    const client = await Talk.start(stage, true, port);
    expect(await client.ask('open a')).toBe('ok');
    // Fills both directions; the blocking write waits, and goes on as soon as the echo is read.
    const two = await Talk.start(stage, true, port);
    expect(await two.ask('open a')).toBe('ok');
    for (const name of ['a', 'b', 'c']) {
      if (name !== 'a') expect(await client.ask(`open ${name}`)).toBe('ok');
      expect(await client.ask(`send ${name} 20000`)).toBe('ok');
    }
    expect(await two.ask('say a meanwhile')).toBe('ok');
    for (const name of ['c', 'b', 'a']) expect(await client.ask(`read ${name} 20000`)).toBe('ok');
    await client.end();
    await two.end();
    await server.end('SIGTERM');
  }, 30_000);

  test('datagrams are dropped as UDP drops them, those that arrive are right', async () => {
    const port = await freePort();
    const server = stage.wrapped([process.execPath, program('dgram-server.mjs'), `${port}`]);
    await server.says(/ready/);
    const { stdout } = await stage.ok(true, [process.execPath, program('dgram-client.mjs'), `${port}`, '70']);
    expect(stdout).toBe('echoed\n');
    await server.end('SIGTERM');
  }, 30_000);
});

describe.each([
  ['soft limit', 'ulimit -S -n 32'],
  ['hard limit', 'ulimit -n 32'],
])('a full descriptor table, %s', (_, limit) => {
  const stage = useStage();

  async function start(): Promise<{ port: number; server: Program }> {
    const port = await freePort();
    const server = stage.wrapped([
      ...['/bin/sh', '-c', `${limit}; exec "$@"`, 'sh'],
      ...[PYTHON, program('full-table.py'), `${port}`],
    ]);
    await server.says(/ready/);
    return { port, server };
  }

  test('of a server: accept says EMFILE, and goes on after closes', async () => {
    const { port, server } = await start();
    const client = await Talk.start(stage, true, port);
    const meter = await Meter.start(stage.engine);
    const names = Array.from({ length: 40 }, (_unused, i) => `c${i}`);
    await client.askAll(names.map((name) => `open ${name}`));
    await server.says(/full/);
    const accepted = async () => (await meter.growth()).accepts;
    const first = await accepted();
    expect(first).toBeGreaterThan(5);
    expect(first).toBeLessThan(32);
    expect(await client.ask('say c0 still served')).toBe('ok');
    // Each that is closed makes room for one that waits.
    for (const name of names.slice(0, 20)) expect(await client.ask(`close ${name}`)).toBe('ok');
    await until('all are accepted', async () => (await accepted()) === 40 || (await accepted()) >= first + 20);
    for (const name of names.slice(20, first + 10)) expect(await client.ask(`say ${name} hello`)).toBe('ok');
    for (const name of names.slice(20)) expect(await client.ask(`close ${name}`)).toBe('ok');
    await until('all are accepted', async () => (await accepted()) === 40);
    await client.end();
    const { status, stdout } = await server.end('SIGTERM');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^40 \d+ \d+$/m);
  }, 30_000);

  test('of a server with kernel clients', async () => {
    const { port, server } = await start();
    const client = await Talk.start(stage, false, port);
    const names = Array.from({ length: 40 }, (_unused, i) => `c${i}`);
    await client.askAll(names.map((name) => `open ${name}`));
    await server.says(/full/);
    await client.askAll(names.map((name) => `close ${name}`));
    await client.end();
    const again = await Talk.start(stage, true, port);
    expect(await again.ask('open a')).toBe('ok');
    expect(await again.ask('say a hello')).toBe('ok');
    await again.end();
    expect((await server.end('SIGTERM')).status).toBe(0);
  }, 30_000);

  test('of a client: connect and socket say EMFILE, and go on after closes', async () => {
    const { port, program: server } = await echoServer(stage, 'C');
    const client = stage.wrapped(
      [...['/bin/sh', '-c', `${limit}; exec "$@"`, 'sh'], ...[PYTHON, program('talk.py'), `${port}`]],
      { input: 'open' },
    );
    await client.says(/ready/);
    const script = Array.from({ length: 40 }, (_unused, i) => `open c${i}`);
    client.write([...script, 'say c0 hello', 'close c0', 'open d', 'say d hello', ''].join('\n'));
    await client.says(/say d/);
    const lines = client.stdout.split('\n');
    const opened = lines.filter((line) => /^open c\d+ ok$/.test(line)).length;
    expect(opened).toBeGreaterThan(5);
    expect(lines.filter((line) => /^open c\d+ EMFILE$/.test(line))).toHaveLength(40 - opened);
    expect(lines).toEqual(expect.arrayContaining(['say c0 ok', 'close c0 ok', 'open d ok', 'say d ok']));
    client.endInput();
    expect((await client.ended()).status).toBe(0);
    await server.end('SIGTERM');
  }, 30_000);
});

describe('a hard limit of descriptors that is the soft one, too', () => {
  const stage = useStage();

  // What the library keeps for itself takes numbers of the program's then: not one for each connection.
  test('nearly as many connections as descriptors', async () => {
    const port = await freePort();
    const limited = (...args: string[]) => ['prlimit', '--nofile=1200:1200', MANY, ...args];
    const server = stage.wrapped(limited('server', `${port}`, '1'));
    await stage.sameHost(true).listening(port);
    const { stdout } = await stage.ok(true, limited('client', `${port}`, '1', '850'));
    expect(JSON.parse(stdout)).toMatchObject({ connections: 850, processes: 1 });
    await server.end('SIGTERM');
  }, 30_000);
});
