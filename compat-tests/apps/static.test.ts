// SPDX-License-Identifier: BSD-3-Clause
/** Programs that the library cannot enter get sockets from programs under Z-stack, and use them as any other. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { program } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { useStage } from '../lib/stage.js';

const BYTES = 4 << 20;

/** Starts the program by exec, by fork and exec, by vfork and exec (CPython's subprocess), or by posix_spawn, with what it is to have. */
const PARENT = `import os, select, signal, socket, subprocess, sys
how, what, port, program = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if what == 'datagram':
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', port))
else:
    s = socket.create_server(('127.0.0.1', port))
print('ready', flush=True)
if what == 'datagram':
    s.setblocking(False)
    try: s.recv(1)
    except BlockingIOError: pass
    s.setblocking(True)
elif what == 'queued':
    what = 'accept'
    select.select([s], [], [])
elif what != 'accept':
    s = s.accept()[0]
if how == 'exec':
    os.dup2(s.fileno(), 9, inheritable=True)
    os.execv(program, [program, what, '9'])
if how == 'fork':
    pid = os.fork()
    if pid == 0:
        os.dup2(s.fileno(), 0, inheritable=True)
        os.dup2(s.fileno(), 1, inheritable=True)
        os.execvp(program, [program, what, '0'])
    s.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    os.waitpid(pid, 0)
if how == 'handed':
    pid = os.fork()
    if pid == 0:
        os.dup2(s.fileno(), 9, inheritable=True)
        os.execv(program, [program, what, '9'])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    os.waitpid(pid, 0)
if how == 'spawn':
    actions = [(os.POSIX_SPAWN_DUP2, s.fileno(), 0), (os.POSIX_SPAWN_DUP2, s.fileno(), 1)]
    pid = os.posix_spawn(program, [program, what, '0'], os.environ, file_actions=actions)
    s.close()
    os.waitpid(pid, 0)
if how == 'vfork':
    child = subprocess.Popen([program, what, '0'], stdin=s, stdout=s)
    s.close()
    signal.signal(signal.SIGTERM, lambda *_: child.kill())
    child.wait()
`;

/** Sends, half-closes, and reads what comes back meanwhile. */
const CLIENT = `import hashlib, os, socket, sys, threading
port, size = int(sys.argv[1]), int(sys.argv[2])
s = socket.create_connection(('127.0.0.1', port))
data = os.urandom(size)
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = bytearray()
while piece := s.recv(65536):
    got += piece
print(len(got), got == data)
`;

const RESET_CLIENT = `import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'x')
try: print(s.recv(1))
except ConnectionResetError: print('reset')
`;

const DATAGRAM_CLIENT = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(b'hello', ('127.0.0.1', int(sys.argv[1])))
print(s.recv(64))
`;

/** Goes on with a connection that a static program was started beside, which has it because nobody closed it. */
const LEAKS = `import os, socket, sys
port, program = int(sys.argv[1]), sys.argv[2]
s = socket.create_server(('127.0.0.1', port))
print('ready', flush=True)
c = s.accept()[0]
c.set_inheritable(True)
s.close()
pid = os.fork()
if pid == 0:
    os.dup2(os.open('/dev/null', os.O_RDONLY), 9)
    os.execv(program, [program, 'echo', '9'])
os.waitpid(pid, 0)
while data := c.recv(65536):
    c.sendall(data)
`;

describe('a static program', () => {
  const stage = useStage();
  let built: string;

  beforeAll(() => {
    built = join(stage.directory, 'static-server');
    execFileSync('cc', ['-static', '-O2', '-Wall', '-o', built, program('static-server.c')], { stdio: 'inherit' });
  });

  async function start(how: string, what: string, port: number): Promise<Program> {
    const server = stage.wrapped(['python3', '-c', PARENT, how, what, `${port}`, built]);
    await server.says(/ready/);
    return server;
  }

  async function says(wrapped: boolean, script: string, ...args: readonly (string | number)[]): Promise<string> {
    return (await stage.ok(wrapped, ['python3', '-c', script, ...args.map(String)])).stdout;
  }

  test.each(['exec', 'fork', 'vfork', 'spawn'])(
    'echoes a connection that it got by %s, to its end',
    async (how) => {
      const port = await freePort();
      const server = await start(how, 'echo', port);
      expect(await says(true, CLIENT, port, BYTES)).toBe(`${BYTES} True\n`);
      expect(await server.ended(10_000)).toMatchObject({ status: 0, stderr: '' });
    },
    30_000,
  );

  test.each(['exec', 'fork', 'vfork', 'spawn'])(
    'resets a connection that it got by %s',
    async (how) => {
      const port = await freePort();
      const server = await start(how, 'reset', port);
      expect(await says(true, RESET_CLIENT, port)).toBe('reset\n');
      expect(await server.ended(10_000)).toMatchObject({ status: 0, stderr: '' });
    },
    30_000,
  );

  test.each(['exec', 'fork', 'vfork', 'handed'])(
    'serves a listener that it got by %s, for whoever connects',
    async (how) => {
      const port = await freePort();
      const server = await start(how, 'accept', port);
      for (const wrapped of [true, false]) expect(await says(wrapped, CLIENT, port, BYTES)).toBe(`${BYTES} True\n`);
      await server.end('SIGTERM');
    },
    30_000,
  );

  test('leaves a connection alone that it inherited because nobody closed it', async () => {
    const port = await freePort();
    const server = stage.wrapped(['python3', '-c', LEAKS, `${port}`, built]);
    await server.says(/ready/);
    expect(await says(true, CLIENT, port, BYTES)).toBe(`${BYTES} True\n`);
    expect(await server.ended(10_000)).toMatchObject({ status: 0, stderr: '' });
  }, 30_000);

  test('serves a connection that was there before it', async () => {
    const port = await freePort();
    const server = await start('exec', 'queued', port);
    for (let i = 0; i < 2; i++) expect(await says(true, CLIENT, port, BYTES)).toBe(`${BYTES} True\n`);
    await server.end('SIGTERM');
  }, 30_000);

  test.each(['exec', 'fork'])(
    'answers a datagram by a socket that it got by %s',
    async (how) => {
      const port = await freePort();
      const server = await start(how, 'datagram', port);
      expect(await says(true, DATAGRAM_CLIENT, port)).toBe("b'hello'\n");
      expect(await server.ended(10_000)).toMatchObject({ status: 0, stderr: '' });
    },
    30_000,
  );
});
