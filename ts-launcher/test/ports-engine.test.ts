/** An engine with ports, from the option to the status. With the fake engine; interfaces only in namespaces of the test. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExtentPlanner } from '../src/engine/extent.js';
import { statusSchema } from '../src/engine/protocol.js';
import { LauncherError } from '../src/errors.js';
import { resolveOptions, type Resolved } from '../src/options/resolve.js';
import { DEFAULT_PORT, type Value } from '../src/options/table.js';
import { socketState } from '../src/ports/host.js';
import type { PlannedPort } from '../src/ports/plan.js';
import { FAKE, processesWith, Sandbox } from './support.js';

const box = new Sandbox();
const memif = `memif:${join(box.directory, 'a.sock')},address=10.254.254.1/24`;
const cleanups: (() => void)[] = [];

afterAll(async () => {
  for (const cleanup of cleanups) cleanup();
  await box.remove();
});

/** A network namespace that goes away after the tests, or `undefined` where this user may make none. */
function namespace(suffix: string): string | undefined {
  const name = `zsl-${process.pid}-${suffix}`;
  try {
    execFileSync('ip', ['netns', 'add', name], { stdio: 'pipe' });
  } catch {
    return undefined;
  }
  cleanups.push(() => execFileSync('ip', ['netns', 'delete', name]));
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

describe('an engine with a memif port', () => {
  const engine = box.engine('wire');
  const command = (...args: string[]) => box.run(['engine', ...args, '--engine', engine]);

  test('start tells the port; the engine and EAL are told of it; a wrong one is refused before', async () => {
    const wrong = await command('start', '--port', 'memif:a.sock');
    expect(wrong).toMatchObject({ status: 2, stdout: '' });
    expect(wrong.stderr).toMatch(
      /^zstack-run: error\[ZS1601\]: --port memif:a.sock: address= is missing - hint: .*\n$/,
    );
    const started = await command('start', '--port', memif);
    expect(started.stderr.split('\n').slice(1)).toEqual([
      `zstack-run: port memif ${join(box.directory, 'a.sock')}: 10.254.254.1/24`,
      '',
    ]);
    const [pid = 0] = processesWith(`--name\0${engine}\0`);
    const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    expect(line[line.indexOf('--port') + 1]).toBe(
      `net_memif0,ip=10.254.254.1/24,bell=${join(box.directory, 'a.sock')}.bell`,
    );
    expect(line[line.indexOf('-m') + 1]).toBe('128');
  });

  test('a listener is told with the addresses of the ports, each once', async () => {
    const { stderr } = await box.run(['--engine', engine, 'sleep', '0.3']);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/listening on 0\.0\.0\.0:8080 \(node, pid 77\)/),
      `zstack-run: listening on 10.254.254.1:8080 (wire, port memif ${join(box.directory, 'a.sock')})`,
      '',
    ]);
    expect((await box.run(['--engine', engine, '--quiet', 'sleep', '0.3'])).stderr).toBe('');
  });

  test('another port has no effect while it runs, and is not even checked', async () => {
    const { stderr, status } = await box.run(['--engine', engine, '--port', 'tap:lo', 'true']);
    expect(status).toBe(0);
    expect(stderr).toContain(`engine ${engine} runs already: --port without effect`);
  });

  test('the same port is no news, nor are the options that it was started with', async () => {
    const started = box.engine('same');
    await box.run(['engine', 'start', '--engine', started, '--port', 'none', '--memory', '128']);
    const same = await box.run(['--engine', started, '--port', 'none', '--memory', '128', 'true']);
    expect(same).toMatchObject({ status: 0, stderr: '' });
    const other = await box.run(['--engine', started, '--port', 'none', '--memory', '256', 'true']);
    expect(other.stderr).toBe(`zstack-run: engine ${started} runs already: --memory without effect\n`);
    await box.run(['engine', 'stop', '--engine', started]);
  });

  test('status shows ports, stack and wire; JSON passes all', async () => {
    const status = statusSchema.parse(JSON.parse((await command('status', '--json')).stdout));
    expect(status.ports?.[0]).toMatchObject({ device: 'net_memif0', rx_errors: 2, copies: 1, sleep: 'fd' });
    const { stdout } = await command('status');
    expect(stdout).toMatch(/^wire +native stack, 5 connections, 1 sessions of the engine's own, 7 buffers lent$/m);
    expect(stdout).toMatch(/^stack +arp_replies 2$/m);
    expect(stdout).toMatch(/^port +address +mac +mtu +link +in +out +lost$/m);
    expect(stdout).toMatch(
      /^memif \/\S+\/a\.sock +10\.254\.254\.1\/24 +02:\S+ +1500 +up +3 \(300 B\) +4 \(4\.0 KiB\) +2 in errors$/m,
    );
    expect((await command('stop')).status).toBe(0);
  });
});

describe('what cannot be had', () => {
  test.each([
    ['af_packet:nosuch0,address=10.254.254.1/24', 'error[ZS1605]: port af_packet:nosuch0'],
    ['memif:/nonexistent/a.sock,address=10.254.254.1/24', 'error[ZS1611]'],
    ['af_packet:lo,address=10.254.254.1/24', 'error[ZS1605]'],
  ])('%s: status 125, one line', async (port, text) => {
    const name = box.engine('not');
    const result = await box.run(['--engine', name, '--port', port, 'true']);
    expect(result).toMatchObject({ status: 125, stdout: '' });
    expect(result.stderr).toContain(text);
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
    expect(processesWith(`--name\0${name}\0`)).toEqual([]);
  });

  test('--no-dpdk and --netns without a port do not go together with it; --fallback kernel goes on', async () => {
    const noDpdk = await box.run(['--engine', box.engine('not'), '--no-dpdk', '--port', memif, 'true']);
    expect(noDpdk.stderr).toContain('error[ZS1602]: ports need DPDK');
    const netns = await box.run(['--engine', box.engine('not'), '--netns', 'x', 'true']);
    expect(netns.stderr).toContain('error[ZS1602]: --netns x without a port');
    const fallback = ['--fallback', 'kernel', '--port', 'tap:lo', 'true'];
    expect(await box.run(['--engine', box.engine('not'), ...fallback])).toMatchObject({ status: 0 });
  });

  test('--stack fstack in a build without libfstack: one line that says what is missing', async () => {
    box.file('fstack.txt', 'missing libfstack.a ff_api.h\n');
    const result = await box.run(['--engine', box.engine('not'), '--stack', 'fstack', 'true']);
    expect(result).toEqual({
      ...{ status: 125, signal: null, stdout: '' },
      stderr:
        'zstack-run: error[ZS1303]: --stack fstack: this build has no F-Stack: libfstack.a, ff_api.h not found when it was built - hint: install F-Stack or set FSTACK_ROOT to its source tree, then `npm run build`\n',
    });
  });

  test('--stack fstack starts the engine that has it', async () => {
    const name = box.engine('fstack');
    const env = { ...box.env, ZSTACK_ZSTACKD_FSTACK: FAKE };
    expect(await box.run(['--engine', name, '--stack', 'fstack', 'true'], { env })).toMatchObject({ status: 0 });
    const [pid] = processesWith(`--name\0${name}\0`);
    expect(processesWith('--stack\0fstack\0')).toContain(pid);
  });

  test('what the engine says of a port is passed on as it is', async () => {
    const result = await box.run(['--engine', box.engine('noport'), '--port', memif, 'true']);
    expect(result.status).toBe(125);
    expect(result.stderr).toBe('zstack-run: error[ZS2120]: the device does not start - hint: another one\n');
  });
});

describe('what nobody asked for', () => {
  const resolved = async (flags: Partial<Record<string, Value>>, port: string[]): Promise<Resolved> => {
    const { options, ...rest } = await resolveOptions(flags, { XDG_CONFIG_HOME: '/nonexistent' }, '/');
    return { ...rest, options: { ...options, port, engine: box.engine('none') } };
  };
  const planner = async (flags: Partial<Record<string, Value>>, port: string[]) => {
    const said: string[] = [];
    const say = { note: (text: string) => said.push(text), warn: (text: string) => said.push(`! ${text}`) };
    return { said, planner: new ExtentPlanner(await resolved(flags, port), say) };
  };

  test('the default is one of the two', () => expect(['tap', 'none']).toContain(DEFAULT_PORT));

  test('is left out with one note, and then not tried again', async () => {
    const { said, planner: each } = await planner({}, ['tap:lo']);
    expect(await each.next()).toEqual({ dpdk: true, ports: [] });
    expect(await each.next()).toEqual({ dpdk: true, ports: [] });
    expect(said).toEqual([expect.stringMatching(/^no port \(port tap:lo.*\): same-host sockets only$/)]);
    const { said: silent, planner: without } = await planner({ dpdk: false }, ['tap']);
    expect([await without.next(), silent]).toEqual([{ dpdk: false, ports: [] }, []]);
  });

  test('goes first when DPDK refuses, DPDK itself second', async () => {
    const { said, planner: each } = await planner({}, ['none']);
    const error = new LauncherError('ZS1202', 'odd');
    each.refused({ dpdk: true, ports: [{} as PlannedPort] }, error);
    expect(await each.next()).toEqual({ dpdk: true, ports: [] });
    each.refused({ dpdk: true, ports: [] }, error);
    expect(await each.next()).toEqual({ dpdk: false, ports: [] });
    expect(said).toEqual([
      '! no port (odd): same-host sockets only',
      '! DPDK does not start here (odd): same-host sockets only',
    ]);
    const { planner: asked } = await planner({ port: ['tap'] }, ['tap']);
    expect(() => asked.refused({ dpdk: true, ports: [{} as PlannedPort] }, error)).toThrow('odd');
  });
});

test('a memif socket: nobody, somebody, somebody who is gone, no socket at all', async () => {
  const path = join(box.directory, 'state.sock');
  expect(await socketState(path)).toBe('absent');
  // Killed with its socket, as an engine may be.
  const script = `import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind('${path}')`;
  execFileSync('python3', ['-c', script]);
  expect(await socketState(path)).toBe('dead');
  const served = join(box.directory, 'served.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(served, resolve));
  expect(await socketState(served)).toBe('served');
  await new Promise((resolve) => server.close(resolve));
  expect(await socketState(box.file('plain', ''))).toBe('no socket');
  expect(await socketState('/nonexistent/x')).toBe('no directory');
  // What is dead makes room.
  const engine = box.engine('left');
  const port = `memif:${path},address=10.254.253.1/24`;
  expect(await box.run(['--engine', engine, '--port', port, '--linger', '1', 'true'])).toMatchObject({ status: 0 });
  expect(existsSync(path)).toBe(false);
});

describe("the kernel's end of a TAP", () => {
  const [own, other] = [namespace('a'), namespace('b')];
  const inNamespace = own === undefined || other === undefined ? test.skip : test;
  const inside = (args: string[]) => box.run(args, { shell: `exec ip netns exec ${own ?? ''} "$0" "$@"` });
  const show = (netns: string | undefined, name: string) => ['ip', '-n', netns ?? '', '-br', 'address', 'show', name];

  inNamespace('is set up before the command starts, where the engine is', async () => {
    const args = ['--engine', 'maketap1', '--linger', '1', '--port', 'tap:zs1,address=10.77.0.1/24,mtu=1400'];
    const { stdout, status, stderr } = await inside([...args, 'ip', '-o', 'address', 'show', 'zs1']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain(' 10.77.0.2/24 ');
    expect(execFileSync('ip', ['-n', own ?? '', 'link', 'show', 'zs1']).toString()).toMatch(/<[^>]*\bUP\b.* mtu 1400 /);
  });

  inNamespace('or in another namespace, with a name and addresses of our choice', async () => {
    const args = ['--engine', 'maketap2', '--linger', '1', '--port', 'tap', '--netns', other ?? ''];
    const { stdout, status, stderr } = await inside([...args, 'ip', '-n', other ?? '', '-br', 'address']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^zs-[0-9a-f]{8} .* 198\.1[89]\.\d+\.\d+\/30/m);
    const here = await inside(['--engine', 'maketap2', 'ip', '-br', 'link']);
    expect(here.stdout).not.toContain('zs-');
  });

  inNamespace('a name that is taken there is an error, after a while: an engine that ends may have it', async () => {
    const engine = 'maketap3';
    const script = `ip -n ${other ?? ''} tuntap add mode tap name zs3; exec ip netns exec ${own ?? ''} "$0" "$@"`;
    const args = ['--engine', engine, '--port', 'tap:zs3,address=10.78.0.1/24', '--netns', other ?? '', 'true'];
    const result = await box.run(args, { shell: script });
    expect(result.status).toBe(125);
    expect(result.stderr).toContain(
      'error[ZS1607]: port tap:zs3,address=10.78.0.1/24: there is an interface zs3 already',
    );
    expect(processesWith(`--name\0${engine}\0`)).toEqual([]);
  });

  inNamespace('that cannot be set up: one line tells, and the engine ends', async () => {
    // This engine makes no interface.
    const engine = box.engine('notap');
    const result = await inside(['--engine', engine, '--port', 'tap:zs5,address=10.80.0.1/24', 'true']);
    expect(result).toMatchObject({ status: 125, stdout: '' });
    expect(result.stderr).toMatch(
      /^zstack-run: error\[ZS1613\]: the kernel's end of port tap zs5 cannot be set up: ip .*Cannot find device "zs5"\n$/,
    );
    for (let i = 0; i < 40 && processesWith(`--name\0${engine}\0`).length > 0; i++) await sleep(50);
    expect(processesWith(`--name\0${engine}\0`)).toEqual([]);
  });

  inNamespace('an address that is taken there is an error', async () => {
    execFileSync('ip', ['-n', own ?? '', 'address', 'add', '10.79.0.1/24', 'dev', 'lo']);
    const args = ['--engine', 'maketap4', '--port', 'tap,address=10.79.0.9/24', 'true'];
    const result = await inside(args);
    expect(result.stderr).toContain(
      'error[ZS1604]: port tap,address=10.79.0.9/24: 10.79.0.9/24 overlaps 10.79.0.1/24 of lo',
    );
    expect((await inside(['--quiet', '--engine', 'maketap4', '--port', 'none', ...show(own, 'lo')])).status).toBe(0);
  });
});
