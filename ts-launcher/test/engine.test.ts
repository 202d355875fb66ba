/** Finding, starting and sharing an engine; its events; the subcommands that talk to it. With the fake engine. */
import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineEvent } from '../src/engine/admin.js';
import { engineArguments } from '../src/engine/start.js';
import { ealArguments, parseCpuList } from '../src/engine/eal.js';
import { adminAddress } from '../src/engine/name.js';
import { statusSchema, whySchema } from '../src/engine/protocol.js';
import { resolveOptions } from '../src/options/resolve.js';
import { endpoint, eventPrinter } from '../src/run/events.js';
import { outcome, processesWith, Sandbox, untilPrinted } from './support.js';

const box = new Sandbox();
afterAll(() => box.remove());

const gone = async (name: string) => {
  for (let i = 0; i < 100; i++) {
    if (processesWith(`--name\0${name}\0`).length === 0) return true;
    await sleep(50);
  }
  return false;
};

describe('election', () => {
  test.each(['many', 'slow'])(
    'ten launchers at once share one engine (%s)',
    async (prefix) => {
      const engine = box.engine(prefix);
      const [here, go] = [join(box.directory, `${prefix}-here`), join(box.directory, `${prefix}-go`)];
      const command = ['sh', '-c', 'echo >> "$0"; while [ ! -e "$1" ]; do sleep 0.05; done', here, go];
      const runs = Array.from({ length: 10 }, () => box.run(['--engine', engine, '--linger', '1', ...command]));
      const arrived = () => (existsSync(here) ? readFileSync(here).length : 0);
      for (let i = 0; i < 500 && arrived() < 10; i++) await sleep(50);
      const pids = processesWith(`--name\0${engine}\0`);
      writeFileSync(go, '');
      const results = await Promise.all(runs);
      expect(results.map(({ status, stderr }) => [status, stderr])).toEqual(Array.from({ length: 10 }, () => [0, '']));
      expect(pids).toHaveLength(1);
      expect(await gone(engine)).toBe(true);
    },
    60_000,
  );

  test('an engine of another build is not used: one line that says so, and it goes on', async () => {
    const engine = box.engine('other');
    expect(await box.run(['engine', 'start', '--engine', engine])).toMatchObject({ status: 0 });
    const note = box.file('layout.txt', '2\n');
    const result = await box.run(['--engine', engine, 'true']);
    unlinkSync(note);
    const pids = processesWith(`--name\0${engine}\0`);
    expect(pids).toHaveLength(1);
    expect(result).toEqual({
      ...{ status: 125, signal: null, stdout: '' },
      stderr: `zstack-run: error[ZS1209]: engine ${engine} (pid ${pids[0]}) is of another build: its shared memory has layout 1, this build's 2 - hint: end it when its programs are done: zstack-run engine stop; or use another name: --engine NAME\n`,
    });
    expect(await box.run(['--engine', engine, 'true'])).toMatchObject({ status: 0 });
    expect(await box.run(['engine', 'stop', '--engine', engine])).toMatchObject({ status: 0 });
  });

  test('an engine that nobody uses any more ends, and leaves no file', async () => {
    const places = ['tmp', 'state'].map((name) => join(box.directory, name));
    const [TMPDIR, XDG_STATE_HOME] = places;
    for (const place of places) mkdirSync(place);
    const engine = box.engine('linger');
    const env = { TMPDIR, XDG_STATE_HOME };
    expect(await box.run(['--engine', engine, '--linger', '1', 'true'], { env })).toMatchObject({ status: 0 });
    expect(await gone(engine)).toBe(true);
    expect(places.flatMap((place) => readdirSync(place))).toEqual([]);
  });
});

describe('an engine that does not start', () => {
  test.each([
    ['crash', 'error[ZS1202]: the engine exited with status 1: fake: out of luck'],
    ['refuse', 'error[ZS2042]: the arena is too large - hint: use a smaller --memory'],
  ])('%s: status 125, the reason and a remedy', async (prefix, text) => {
    const engine = box.engine(prefix);
    const result = await box.run(['--engine', engine, 'true']);
    expect(result).toMatchObject({ status: 125, stdout: '' });
    expect(result.stderr).toContain(text);
    expect(result.stderr).toContain(' - hint: ');
  });

  test('--fallback kernel: one warning, and the command runs unwrapped', async () => {
    const result = await box.run([
      '--engine',
      box.engine('crash'),
      '--fallback',
      'kernel',
      'sh',
      '-c',
      'echo "<$LD_PRELOAD>"',
    ]);
    expect(result).toMatchObject({ status: 0, stdout: '<>\n' });
    expect(result.stderr.trim().split('\n')).toEqual([expect.stringContaining('the command runs on kernel sockets')]);
  });

  test('without DPDK it goes on with same-host sockets, unless DPDK was asked for', async () => {
    const less = await box.run(['--engine', box.engine('nodpdk'), 'true']);
    expect(less.status).toBe(0);
    expect(less.stderr).toContain('same-host sockets only');
    const asked = await box.run(['--engine', box.engine('nodpdk'), '--dpdk', 'true']);
    expect(asked.status).toBe(125);
    expect(asked.stderr).toContain('error[ZS2010]: EAL refused its arguments - hint: --no-dpdk');
  });

  test('somebody else at the address is not believed', async () => {
    const engine = box.engine('squat');
    // This process holds the address, but names process 1.
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.write('{"id":1,"ok":true,"result":{"pid":1}}\n'));
    });
    await new Promise<void>((resolve) => server.listen({ path: adminAddress(engine) }, resolve));
    const result = await box.run(['--engine', engine, 'true']);
    server.close();
    expect(result.status).toBe(125);
    expect(result.stderr).toContain('error[ZS1205]');
  });
});

test('an engine that dies is told once, the program goes on', async () => {
  const engine = box.engine('dies');
  const child = box.start(['--engine', engine, 'sh', '-c', 'echo ready; sleep 1; echo end']);
  const end = outcome(child);
  await untilPrinted(child, /ready/);
  const [pid = 0] = processesWith(`--name\0${engine}\0`);
  process.kill(pid, 'SIGKILL');
  const { status, stdout, stderr } = await end;
  expect([status, stdout]).toEqual([0, 'ready\nend\n']);
  expect(stderr.trim().split('\n')).toEqual([expect.stringContaining('the engine is gone')]);
});

describe('events', () => {
  test('each listener and each warning is told once, control characters are not passed on', async () => {
    const { stderr, stdout } = await box.run(['--engine', box.engine('events'), 'sleep', '0.3']);
    expect(stdout).toBe('');
    const rest =
      'Z-stack programs of this user and network namespace through shared memory; all others through the kernel';
    expect(stderr.split('\n')).toEqual([
      `zstack-run: listening on 0.0.0.0:8080 (node, pid 77): ${rest}`,
      `zstack-run: listening on [::]:53/udp (node, pid 77): ${rest}`,
      'zstack-run: warning: odd?[31m',
      '',
    ]);
  });

  test('a process with ever new UDP sockets is told of so many', () => {
    const said: string[] = [];
    const print = eventPrinter(false, { note: (text) => said.push(text), warn: (text) => said.push(`! ${text}`) });
    const listen = { event: 'listen', pid: 7, name: 'dns', address: '127.0.0.1', verdict: 'local' } as const;
    for (let port = 2000; port < 2100; port++) print({ ...listen, proto: 'udp', port });
    print({ ...listen, proto: 'udp', port: 2000 });
    print({ ...listen, proto: 'tcp', port: 53 });
    expect(said).toHaveLength(10);
    expect(said[7]).toMatch(/^listening on 127\.0\.0\.1:2007\/udp /);
    expect(said[8]).toBe('further UDP sockets of dns (pid 7) are not told');
    expect(said[9]).toMatch(/^listening on 127\.0\.0\.1:53 /);
  });

  test('--quiet leaves the warnings', () => {
    const said: string[] = [];
    const print = eventPrinter(true, { note: (text) => said.push(text), warn: (text) => said.push(`! ${text}`) });
    const listen: EngineEvent = {
      event: 'listen',
      pid: 1,
      name: 'a',
      proto: 'tcp',
      address: '::1',
      port: 1,
      verdict: 'both',
    };
    print(listen);
    print({ ...listen, wire: ['198.18.0.2'] });
    print({ event: 'warning', text: 'x' });
    print({ event: 'attach', pid: 1, name: 'a' });
    expect(said).toEqual(['! x']);
    expect(endpoint('::1', 80, 'tcp')).toBe('[::1]:80');
  });
});

describe('engine subcommands', () => {
  const engine = box.engine('cmd');
  const command = (...args: string[]) => box.run(['engine', ...args, '--engine', engine]);

  test('without an engine: status 3', async () => {
    for (const name of ['status', 'stop', 'logs']) {
      const result = await command(name);
      expect(result).toMatchObject({ status: 3, stdout: '' });
      expect(result.stderr).toContain('error[ZS1201]');
    }
  });

  test('start, status, logs, restart, stop', async () => {
    expect((await command('start')).stderr).toMatch(/engine \S+ started \(pid \d+\)/);
    expect((await command('start')).stderr).toMatch(/runs already/);
    const status = statusSchema.parse(JSON.parse((await command('status', '--json')).stdout));
    expect(status).toMatchObject({ name: engine, uid: process.getuid?.(), dpdk: { enabled: true } });
    expect(readFileSync(`/proc/${status.pid}/cmdline`, 'utf8')).toContain('--linger\x000\0');
    expect((await command('status')).stdout).toContain(`${engine} (uid`);
    expect((await command('logs')).stdout).toBe(`fake: engine ${engine} serves\n`);
    expect((await command('restart', '--no-dpdk')).status).toBe(0);
    const again = statusSchema.parse(JSON.parse((await command('status', '--json')).stdout));
    expect(again.pid).not.toBe(status.pid);
    expect(again.dpdk.enabled).toBe(false);
    expect((await command('stop')).status).toBe(0);
    expect((await command('status')).status).toBe(3);
  }, 60_000);

  test('stop is refused while a program runs, --force does it', async () => {
    const child = box.start(['--engine', engine, 'sh', '-c', 'echo ready; sleep 2']);
    const end = outcome(child);
    await untilPrinted(child, /ready/);
    const refused = await command('stop');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('error[ZS2003]: programs are attached - hint: end them, or --force');
    expect((await command('stop', '--force')).status).toBe(0);
    child.kill();
    await end;
  });

  test('why: a table, JSON, one descriptor, no such process', async () => {
    const name = box.engine('why');
    await box.run(['engine', 'start', '--engine', name, '--quiet']);
    const why = (...args: string[]) => box.run(['why', ...args, '--engine', name]);
    const pid = String(process.pid);
    const { stdout } = await why(pid);
    expect(stdout).toMatch(
      /5 {2}tcp +local +127\.0\.0\.1:8080 +127\.0\.0\.1:40000 +curl \(9\) +10 B +2\.0 KiB +PAIRED: the listener/,
    );
    const answer = whySchema.parse(JSON.parse((await why(pid, '6', '--json')).stdout));
    expect(answer.sockets.map(({ fd, verdict }) => [fd, verdict])).toEqual([[6, 'kernel']]);
    expect(await why('999999999')).toMatchObject({ status: 2 });
    expect(await why('me')).toMatchObject({ status: 2 });
    await box.run(['engine', 'stop', '--engine', name]);
  });

  test('an unknown subcommand and an unknown option: status 2, with what was meant', async () => {
    expect((await command('stats')).status).toBe(2);
    const option = await command('status', '--jsom');
    expect(option.status).toBe(2);
    expect(option.stderr).toContain('did you mean --json?');
  });
});

/** What an engine is told with an option of its own; `undefined`: nothing. */
async function toldTo(flags: Record<string, string>, option: string): Promise<string | undefined> {
  const { options } = await resolveOptions(flags, { XDG_CONFIG_HOME: '/nonexistent' }, '/');
  const args = engineArguments(options, 0, { dpdk: false, ports: [] });
  return args.includes(option) ? args[args.indexOf(option) + 1] : undefined;
}

test.each([
  [{}, undefined],
  [{ ecn: 'on' }, 'on'],
  [{ ecn: 'off' }, 'off'],
] as const)('ECN of an engine: %j', async (flags, told) => {
  expect(await toldTo(flags, '--ecn')).toBe(told);
});

test.each([
  [{}, undefined],
  [{ pollUs: '0' }, '0'],
  [{ pollUs: '1000000' }, '1000000'],
] as const)('how long an engine polls: %j', async (flags, told) => {
  expect(await toldTo(flags, '--poll-us')).toBe(told);
});

test('workers of an engine, and the memory that they need', async () => {
  const { options } = await resolveOptions({ workers: '3' }, { XDG_CONFIG_HOME: '/nonexistent' }, '/');
  expect(engineArguments(options, 0, { dpdk: false, ports: [] }).join(' ')).toContain('--workers 3');
  const { options: one } = await resolveOptions({}, { XDG_CONFIG_HOME: '/nonexistent' }, '/');
  expect(engineArguments(one, 0, { dpdk: false, ports: [] })).not.toContain('--workers');
});

test("libfstack's sysctls of an engine, from the environment", async () => {
  const env = { XDG_CONFIG_HOME: '/nonexistent', ZSTACK_FSTACK_SYSCTL: 'kern.a=1 net.b=c' };
  const { options } = await resolveOptions({ stack: 'fstack' }, env, '/');
  expect(engineArguments(options, 0, { dpdk: false, ports: [] }).join(' ')).toContain(
    '--stack fstack --fstack-sysctl kern.a=1 --fstack-sysctl net.b=c',
  );
});

describe('EAL arguments', () => {
  const options = async (flags: object) =>
    (await resolveOptions(flags, { XDG_CONFIG_HOME: '/nonexistent' }, '/')).options;

  test('without huge pages, with them, with devices', async () => {
    expect(ealArguments(await options({}), [], 0, [0, 1])).toEqual([
      ...['--no-huge', '--no-shconf', '-m', '64', '--file-prefix', `zstack-${process.getuid?.()}-default`],
      ...['--no-pci', '-l', '1', '--log-level=*:warning'],
    ]);
    const huge = ealArguments(await options({}), [], 64, [0]);
    expect(huge.slice(0, 3)).toEqual(['--in-memory', '-m', '64']);
    expect(ealArguments(await options({ hugepages: 'off' }), [], 64, [0])).toContain('--no-huge');
    const devices = ealArguments(await options({ eal: ['-a', '0000:01:00.0'], cores: '0-1' }), [], 0, [0, 1]);
    expect(devices).not.toContain('--no-pci');
    expect(devices.slice(-2)).toEqual(['-a', '0000:01:00.0']);
    expect(devices[devices.indexOf('-l') + 1]).toBe('0-1');
  });

  test('what cannot be had is an error', async () => {
    const huge = await options({ hugepages: 'on' });
    expect(() => ealArguments(huge, [], 10, [0])).toThrow('10 MiB of free huge pages');
    const cores = await options({ cores: '0,5' });
    expect(() => ealArguments(cores, [], 0, [0, 1])).toThrow('CPU 5 may not be used');
    expect(parseCpuList('0,2-4')).toEqual([0, 2, 3, 4]);
  });
});
