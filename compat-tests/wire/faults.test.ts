// SPDX-License-Identifier: BSD-3-Clause
/** Death and sleep of programs and of the engine, as both ends of the wire see it; more connections than are accepted. */
import { join } from 'node:path';
import { makeFile } from '../apps/nginx.js';
import { localConnections, socketsOf, wireConnections, WireMeter } from '../lib/accel.js';
import { FAR, NEAR } from '../lib/link.js';
import { sha256 } from '../lib/net.js';
import { ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { sleep } from '../lib/wait.js';
import { wireProgram } from './wire.js';

const CLOSED = expect.stringMatching(/^(eof|ECONNRESET|EPIPE)$/);
/** "At once" and "within a second", with room for a busy machine. */
const SOON = 3000;

describeOnStacks([['tap'], ['af_packet'], ['af_xdp']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });

  async function server(
    where: 'wrapped' | 'far',
    what = 'echo',
    host = where === 'far' ? FAR : '',
  ): Promise<{ port: number; server: Program }> {
    const port = await freePort();
    const command = [PYTHON, wireProgram('answer.py'), what, host, `${port}`];
    const program = stage[where](command, { input: 'open' });
    await program.says(/ready/);
    return { port, server: program };
  }

  /** Takes the time from `act` to what it waits for. */
  async function soon(what: string, act: () => unknown, wait: () => Promise<unknown>): Promise<void> {
    const start = Date.now();
    await act();
    await wait();
    const ms = Date.now() - start;
    process.stderr.write(`${kind}: ${what}: ${ms} ms\n`);
    expect(ms).toBeLessThan(SOON);
  }

  test('SIGKILL of a server: the peer sees the close', async () => {
    const { port, server: victim } = await server('wrapped');
    const peer = await Talk.start(stage, 'far', port, NEAR);
    for (const name of ['a', 'b']) {
      expect(await peer.ask(`open ${name}`)).toBe('ok');
      expect(await peer.ask(`say ${name} hello`)).toBe('ok');
    }
    await wireConnections(stage.engine, victim.pid);
    peer.tell('wait a');
    let answer = '';
    await soon(
      'close after SIGKILL of the server',
      () => victim.signal('SIGKILL'),
      async () => (answer = await peer.answer()),
    );
    expect(answer).toEqual(CLOSED);
    expect(await peer.ask('wait b')).toEqual(CLOSED);
    expect(await peer.ask('open c')).toBe('ECONNREFUSED');
    await peer.end();
  }, 30_000);

  test('SIGKILL of a server in the middle of a transfer: the peer sees the close', async () => {
    const { port, server: victim } = await server('wrapped');
    const peer = await Talk.start(stage, 'far', port, NEAR);
    expect(await peer.ask('open a')).toBe('ok');
    peer.tell('send a 200000000');
    await sleep(300);
    let answer = '';
    await soon(
      'close in the middle of a transfer',
      () => victim.signal('SIGKILL'),
      async () => (answer = await peer.answer()),
    );
    expect(answer).toEqual(CLOSED);
    await peer.end();
  }, 30_000);

  test('SIGKILL of a client: the peer sees the close', async () => {
    const { port, server: peer } = await server('far');
    const client = await Talk.start(stage, true, port, FAR);
    expect(await client.ask('open a')).toBe('ok');
    expect(await client.ask('say a hello')).toBe('ok');
    await wireConnections(stage.engine, client.process.pid);
    await soon(
      'close after SIGKILL of the client',
      () => client.process.signal('SIGKILL'),
      () => peer.says(/ended (eof|ECONNRESET)/),
    );
  }, 30_000);

  test('a forked child that cannot attach: its connection is reset at both ends, the others go on', async () => {
    const { port, server: program } = await server('wrapped', 'starved');
    const peer = await Talk.start(stage, 'far', port, NEAR);
    const used = await WireMeter.start(stage.engines);
    const connections = async () => (await stage.engine.status()).wire?.connections ?? 0;
    const before = await connections();
    expect(await peer.ask('open a')).toBe('ok');
    await program.says(/ended ECONNRESET/);
    expect(await peer.ask('wait a')).toBe('ECONNRESET');
    expect(await connections()).toBeLessThanOrEqual(before);
    expect(await peer.ask('open b')).toBe('ok');
    await used.used(2);
    await peer.end();
  }, 30_000);

  test('SIGSTOP of a client while the peer sends: nothing is lost', async () => {
    const file = (name: string) => join(stage.directory, name);
    makeFile(file('big'), 20 << 20);
    const port = await freePort();
    stage.far([PYTHON, '-m', 'http.server', '--bind', FAR, `${port}`], { cwd: stage.directory });
    await stage.ends('out').listening(port);
    const used = await WireMeter.start(stage.engines);
    const url = `http://${FAR}:${port}/big`;
    const curl = stage.wrapped(['curl', '-sS', '--fail', '--limit-rate', '12M', '-o', file('got'), url]);
    await wireConnections(stage.engine, curl.pid);
    curl.signal('SIGSTOP');
    await sleep(1000);
    curl.signal('SIGCONT');
    expect((await curl.ended()).status).toBe(0);
    expect(await sha256(file('got'))).toBe(await sha256(file('big')));
    await used.used(1, 20 << 20);
  }, 30_000);

  test('more connections than the queue holds: all are accepted once there is room', async () => {
    const { port, server: slow } = await server('wrapped', 'hold');
    const used = await WireMeter.start(stage.engines);
    const many = stage.far([PYTHON, wireProgram('ask.py'), 'many', NEAR, `${port}`], { timeoutMs: 40_000 });
    await sleep(500);
    const queued = (await stage.engine.status()).sessions.accept_queued;
    expect(queued).toBeGreaterThan(0);
    expect(queued).toBeLessThan(24);
    slow.write('go\n');
    expect(JSON.parse((await many.ended()).stdout)).toEqual({ ok: 24 });
    const growth = await used.growth();
    expect((growth['tcp_accept_full'] ?? 0) + (growth['tcp_syn_queue_full'] ?? 0)).toBeGreaterThan(0);
    await used.used(24);
  }, 60_000);

  test('SIGKILL of the engine: waits end, pairs go on, the next engine serves the wire again', async () => {
    const port = await freePort();
    const near = stage.wrapped([process.execPath, join(ROOT, 'apps/echo-node/server.js')], {
      env: { PORT: `${port}` },
    });
    await near.says(/listening/);
    const { port: farPort } = await server('far');
    const pair = await Talk.start(stage, true, port);
    const peer = await Talk.start(stage, 'far', port, NEAR);
    for (const client of [pair, peer]) {
      expect(await client.ask('open a')).toBe('ok');
      expect(await client.ask('say a before')).toBe('ok');
    }
    await localConnections(stage.engine, pair.process.pid);
    await wireConnections(stage.engine, near.pid);
    const waiting = ['recv', 'poll', 'epoll', 'late-recv', 'late-poll', 'late-epoll'].map((how) =>
      stage.wrapped([PYTHON, wireProgram('ask.py'), how, FAR, `${farPort}`], { input: 'open' }),
    );
    for (const program of waiting) await program.says(/blocked hello/);

    await soon(
      'waits end after SIGKILL of the engine',
      async () => {
        await stage.engine.crash();
        for (const program of waiting) program.write('go\n');
      },
      () => Promise.all(waiting.map((program) => program.ended())),
    );
    for (const program of waiting)
      expect(await program.ended()).toMatchObject({
        status: 0,
        stdout: 'blocked hello\n"ECONNRESET"\n',
        stderr: expect.not.stringMatching(/Traceback/),
      });
    for (let i = 0; i < 10; i++) expect(await pair.ask(`say a without ${i}`)).toBe('ok');
    // The server's own connection over the wire is over, too.
    await near.says(/ECONNRESET/);

    const engine = await stage.startEngine();
    await socketsOf(engine, near.pid, 'a listener', (s) => s.verdict === 'both');
    const used = await WireMeter.start(stage.engines);
    // What was open at the peer is unknown to the new engine.
    expect(await peer.ask('say a anyone?', 20_000)).toEqual(CLOSED);
    expect(await peer.ask('open b', 20_000)).toBe('ok');
    expect(await peer.ask('say b hello again')).toBe('ok');
    await used.used(1, 10);
    await wireConnections(engine, near.pid);
    expect(await pair.ask('say a still')).toBe('ok');
    const client = await Talk.start(stage, true, farPort, FAR);
    expect(await client.ask('open a')).toBe('ok');
    expect(await client.ask('say a hello')).toBe('ok');
    await wireConnections(engine, client.process.pid);
  }, 60_000);
});
