// SPDX-License-Identifier: BSD-3-Clause
/** The real launcher: both ends under it, ten at once, an idle server's use of the processor, extra system calls. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AdminClient } from '../../ts-launcher/src/engine/admin.js';
import { localConnections, Meter } from '../lib/accel.js';
import { uniqueEngineName, type Status } from '../lib/engine.js';
import { needs, PRELOAD, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { processes, processInfo, type Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { sleep, until } from '../lib/wait.js';
import { kernelEnvironment, launcher, wrappedVariables } from '../lib/wrapped.js';

const HTTP_SERVER = join(ROOT, 'apps/http-node/server.js');

/** The process of a wrapped program: the launcher's only child that is not the launcher. */
function applicationPid(program: Program, name: string): number {
  const found = processes().find((p) => p.session === program.pid && p.name === name && p.pid !== program.pid);
  if (found === undefined) throw new Error(`${program.name} runs no ${name}`);
  return found.pid;
}

describe('zstack-run', () => {
  const stage = useStage();

  needs(test, 'curl')(
    'both ends under it are accelerated',
    async () => {
      const port = await freePort();
      const env = { PORT: `${port}`, HOST: '127.0.0.1' };
      const server = stage.launched(['node', HTTP_SERVER], { env });
      await server.says(/http-node: listening/);
      const meter = await Meter.start(stage.engine);
      const curl = stage.launched(['--quiet', 'curl', '-sS', `http://127.0.0.1:${port}/`]);
      expect(await curl.ended()).toMatchObject({ status: 0, stdout: 'Hello, world\n', stderr: '' });
      await meter.accelerated(1, 13);
      // It tells on stderr, once, where the listener can be reached.
      expect(server.stderr.split('\n').filter((line) => line.includes(`:${port}`))).toHaveLength(1);
      const { status, signal } = await server.end('SIGTERM');
      expect({ status, signal }).toEqual({ status: 0, signal: null });
    },
    30_000,
  );

  test('an idle server with one open connection uses less than 1 % of a core', async () => {
    const port = await freePort();
    const env = { PORT: `${port}`, HOST: '127.0.0.1' };
    const server = stage.launched(['node', HTTP_SERVER], { env });
    await server.says(/http-node: listening/);
    const client = await Talk.start(stage, true, port);
    expect(await client.ask('open a')).toBe('ok');
    const node = applicationPid(server, 'node');
    await localConnections(stage.engine, node);
    await sleep(1000);
    const ticks = () => [node, stage.engine.pid].map((pid) => processInfo(pid)?.ticks ?? 0);
    const before = ticks();
    await sleep(10_000);
    const used = ticks().map((now, i) => now - (before[i] ?? 0));
    console.log(`idle for 10 s: application ${used[0]}, engine ${used[1]} hundredths of a second`);
    expect((used[0] ?? 0) + (used[1] ?? 0)).toBeLessThanOrEqual(10);
    expect(await client.ask('close a')).toBe('ok');
    await client.end();
    expect((await server.end('SIGTERM')).status).toBe(0);
  }, 40_000);

  test('ten at the same moment share one engine', async () => {
    const name = uniqueEngineName();
    const script =
      'import socket, sys; s = socket.create_server(("127.0.0.1", 0)); print("up", flush=True); sys.stdin.read()';
    const { command, env } = launcher('--engine', name, '--linger', '1', '--no-dpdk', '--quiet', PYTHON, '-c', script);
    const programs = Array.from({ length: 10 }, () => stage.kernel(command, { env, input: 'open' }));
    await Promise.all(programs.map((program) => program.says(/up/, 30_000)));
    const engines = () =>
      processes().filter((p) => p.name === 'zstackd' && commandLine(p.pid).includes(`--name ${name} `));
    expect(engines()).toHaveLength(1);
    const admin = await AdminClient.open(name);
    const status = (await admin?.request('status')) as Status;
    admin?.close();
    expect(status.clients).toHaveLength(10);
    expect(status.sessions.listeners).toBe(10);
    expect(new Set(status.clients.map((c) => c.run)).size).toBe(10);
    for (const program of programs) program.endInput();
    for (const program of programs) expect((await program.ended()).status).toBe(0);
    await until('the engine ends with its last program', () => engines().length === 0, 10_000);
  }, 60_000);

  test('ten programs that end at once leave nothing', async () => {
    const ran = Array.from({ length: 10 }, (_, i) =>
      stage.launched(['--quiet', ...(i % 2 ? ['true'] : ['node', '-e', '0'])]),
    );
    for (const program of ran) expect(await program.ended()).toMatchObject({ status: 0, stderr: '' });
  }, 60_000);
});

describe('a program that opens no socket', () => {
  const stage = useStage();

  /** How many system calls the program makes with these variables. */
  function count(variables: Record<string, string>): number {
    const file = join(stage.directory, 'trace');
    const settings = Object.entries(variables).flatMap(([key, value]) => ['-E', `${key}=${value}`]);
    execFileSync('strace', ['-f', '-o', file, ...settings, '/bin/true'], { env: kernelEnvironment() });
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.includes('(')).length;
  }

  needs(test, 'strace')('makes no more than a handful of extra system calls', () => {
    const alone = count({});
    const loaded = count({ LD_PRELOAD: PRELOAD });
    const enabled = count(wrappedVariables(stage.engine.identity, stage.run));
    console.log(`system calls of /bin/true: ${alone}, ${loaded} with the library loaded, ${enabled} under Z-stack`);
    expect(enabled - loaded).toBeLessThanOrEqual(40);
    expect(enabled - alone).toBeLessThanOrEqual(60);
  });

  test('is no client of the engine', async () => {
    const sleeper = stage.wrapped(['/bin/sleep', '30']);
    await until('it runs', () => processInfo(sleeper.pid)?.name === 'sleep');
    await sleep(200);
    expect((await stage.engine.status()).clients).toEqual([]);
    await sleeper.end('SIGTERM');
  });
});

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
