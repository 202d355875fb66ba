// SPDX-License-Identifier: BSD-3-Clause
/** A program that waits for events by system calls of its own, past the C library, works: on kernel sockets. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Meter } from '../lib/accel.js';
import { program } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';
import { Talk } from '../lib/talk.js';

describe('an echo server', () => {
  const stage = useStage();

  function build(...define: string[]): string {
    const built = join(stage.directory, `server${define.length}`);
    const options = ['-D_GNU_SOURCE', '-O2', '-Wall', ...define];
    execFileSync('cc', [...options, '-o', built, program('own-waits.c')], { stdio: 'inherit' });
    return built;
  }

  async function start(port: number, ...define: string[]): Promise<Program> {
    const server = stage.wrapped([build(...define), `${port}`]);
    await server.says(/ready/);
    return server;
  }

  /** By a program under Z-stack and by one that is not. */
  async function isServed(port: number): Promise<void> {
    for (const wrapped of [true, false]) {
      const client = await Talk.start(stage, wrapped, port);
      expect(await client.ask('open a')).toBe('ok');
      expect(await client.ask('say a hello')).toBe('ok');
      expect(await client.ask('close a')).toBe('ok');
      await client.end();
    }
  }

  test('epoll_pwait2 by an instruction of its own: the kernel serves it, and it is said why', async () => {
    const port = await freePort();
    const server = await start(port);
    const meter = await Meter.start(stage.engine);
    await isServed(port);
    expect((await meter.growth()).accepts).toBe(0);
    const { sockets } = await stage.engine.why(server.pid);
    expect(sockets.map(({ verdict, reason }) => [verdict, reason])).toEqual([['kernel', 'OWN_WAITS']]);
    const { stderr } = await server.end('SIGTERM');
    expect(stderr).toMatch(/warning: server0 waits for events by system calls of its own/);
  }, 30_000);

  test("a listener that it inherits from a program under Z-stack is the kernel's from then on", async () => {
    const port = await freePort();
    const parent = `import os, socket, sys
listener = socket.create_server(('127.0.0.1', ${port}))
os.dup2(listener.fileno(), 9)
os.execv(sys.argv[1], [sys.argv[1], '0'])`;
    const server = stage.wrapped(['python3', '-c', parent, build()]);
    await server.says(/ready/);
    await isServed(port);
    const { sockets } = await stage.engine.why(server.pid);
    expect(sockets.map(({ fd, verdict, reason }) => [fd, verdict, reason])).toContainEqual([9, 'kernel', 'OWN_WAITS']);
    await server.end('SIGTERM');
  }, 30_000);

  test('epoll_wait of the C library: through shared memory', async () => {
    const port = await freePort();
    const server = await start(port, '-DLIBC');
    const meter = await Meter.start(stage.engine);
    await isServed(port);
    expect((await meter.growth()).accepts).toBe(1);
    const { stderr } = await server.end('SIGTERM');
    expect(stderr).toBe('');
  }, 30_000);
});
