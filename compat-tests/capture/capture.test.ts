// SPDX-License-Identifier: BSD-3-Clause
/** `--capture`: what Wireshark reads is what the programs sent each other; a file that cannot be written hurts no connection. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { makeFile, NGINX, nginxConfiguration, startNginx } from '../apps/nginx.js';
import { Meter } from '../lib/accel.js';
import { sha256 } from '../lib/net.js';
import { uniqueEngineName } from '../lib/engine.js';
import { BUILD, needs, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { faulty, packets, stream, summary } from './pcapng.js';

const MIB = 1 << 20;
const TRAFFIC = join(ROOT, 'compat-tests', 'capture', 'traffic.py');
const captureTest = needs(test, 'tshark', 'capinfos', 'curl', 'nginx');

describe('between programs', () => {
  const stage = useStage();
  const file = (name: string) => join(stage.directory, name);

  beforeAll(() => {
    mkdirSync(file('html'), { recursive: true });
    makeFile(file('html/big'), 5 * MIB);
  });

  /** Fetches the file from nginx while the launcher captures; what the launcher said. */
  async function fetchBig(port: number, ...options: string[]): Promise<string> {
    const meter = await Meter.start(stage.engine);
    const curl = ['curl', '-sS', '--fail', '-o', file('got'), `http://127.0.0.1:${port}/big`];
    const { status, stderr } = await stage.launched([...options, ...curl]).ended();
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(await sha256(file('got'))).toBe(await sha256(file('html/big')));
    // What curl counted comes with the engine's notice of its end.
    const bytes = async () => meter.growth().then(({ bytesIn, bytesOut }) => bytesIn + bytesOut);
    await until('the bytes went through shared memory', async () => (await bytes()) >= 5 * MIB);
    return stderr;
  }

  captureTest('curl and nginx: a whole connection with both names', async () => {
    const port = await freePort();
    const nginx = await startNginx(stage, port);
    const said = await fetchBig(port, '--capture', file('a.pcapng'));
    expect(said).toMatch(/\d+ packets captured in .*a\.pcapng/);
    expect(faulty(file('a.pcapng'))).toEqual([]);
    const { there, back } = stream(file('a.pcapng'));
    expect(there.toString()).toMatch(/^GET \/big HTTP/);
    const body = back.subarray(back.indexOf('\r\n\r\n') + 4);
    expect(body.equals(readFileSync(file('html/big')))).toBe(true);

    // The master listens, a worker accepts; each is named when it first does something.
    const comments = packets(file('a.pcapng'), 'frame.comment', 'frame.comment').map(([comment]) => comment);
    expect(comments).toHaveLength(2);
    expect(comments[0]).toMatch(/^curl\[\d+\] -> nginx\[\d+\]$/);
    expect(comments[1]).toMatch(/^nginx\[\d+\]$/);
    expect(comments[0]).toContain(`-> nginx[${nginx.pid}]`);
    const flags = (filter: string) =>
      packets(file('a.pcapng'), filter, 'tcp.srcport').map(([from]) => Number(from) === port);
    expect(flags('tcp.flags.syn == 1')).toEqual([false, true]);
    expect(flags('tcp.flags.fin == 1')[0]).toBe(false); // nginx' may come when the capture is over
    expect(summary(file('a.pcapng'))).toMatch(/Name = same-host/);
    expect(statSync(file('a.pcapng')).mode & 0o777).toBe(0o600);
  });

  captureTest('reset, datagrams, IPv6 and urgent bytes', async () => {
    const captured = file('b.pcapng');
    const { stdout } = await stage.launched(['--quiet', '--capture', captured, PYTHON, TRAFFIC]).ended();
    const { reset, v6, udp, urgent } = JSON.parse(stdout) as Record<string, number>;
    expect(faulty(captured)).toEqual([]);
    expect(packets(captured, `tcp.port == ${reset} && tcp.flags.reset == 1`, 'tcp.dstport')).toEqual([[`${reset}`]]);
    // Both close: the last packet acknowledges the second FIN.
    const ends = packets(captured, `tcp.port == ${v6} && tcp.len == 0`, 'tcp.flags.fin', 'tcp.dstport');
    expect(ends.slice(-3).map(([fin, to]) => [fin, to === `${v6}`])).toEqual([
      ['1', true],
      ['1', false],
      ['0', true],
    ]);
    expect(packets(captured, `ipv6 && tcp.dstport == ${v6} && tcp.len > 0`, 'tcp.payload')).toEqual([
      [Buffer.from('over six').toString('hex')],
    ]);
    expect(packets(captured, `udp.dstport == ${udp}`, 'udp.payload', 'frame.comment')).toEqual([
      [Buffer.from('a datagram').toString('hex'), expect.stringMatching(/^python3\[\d+\] -> python3\[\d+\]$/)],
    ]);
    expect(
      packets(captured, `tcp.dstport == ${urgent} && tcp.flags.urg == 1`, 'tcp.urgent_pointer', 'tcp.payload'),
    ).toEqual([['1', Buffer.from('!').toString('hex')]]);
  });

  captureTest("an engine's whole life, with data that is lent", async () => {
    const captured = file('life.pcapng');
    const name = uniqueEngineName();
    const own = async (...args: string[]) => stage.launched(args).ended();
    expect(await own('engine', 'start', '--engine', name, '--no-dpdk', '--capture', captured)).toMatchObject({
      status: 0,
    });
    try {
      const again = await own('engine', 'start', '--engine', name, '--capture', captured);
      expect(again).toMatchObject({ status: 1, stderr: expect.stringMatching(/ZS1208.*nothing is captured/) });
      const program = join(BUILD, 'zerocopy');
      expect(await own('--engine', name, program, 'lent-and-back', 'local')).toMatchObject({
        status: 0,
        stdout: 'ok\n',
      });
    } finally {
      expect(await own('engine', 'stop', '--engine', name)).toMatchObject({ status: 0 });
    }
    expect(faulty(captured)).toEqual([]);
    // As the program fills it: the upper bits of the position times the golden ratio.
    const byte = (i: number) => Number(((BigInt(i) * 0x9e3779b97f4a7c15n) >> 56n) & 0xffn);
    const { there } = stream(captured);
    expect(there.length).toBeGreaterThan(10_000);
    expect(there.equals(Buffer.from(Array.from(there, (_, i) => byte(i))))).toBe(true);
  });

  captureTest('--capture-snaplen keeps the beginning of each packet', async () => {
    const port = await freePort();
    await startNginx(stage, port);
    await fetchBig(port, '--capture', file('c.pcapng'), '--capture-snaplen', '96');
    expect(packets(file('c.pcapng'), 'frame.cap_len > 96', 'frame.number')).toEqual([]);
    const lengths = packets(file('c.pcapng'), `tcp.srcport == ${port}`, 'tcp.len').map(([length]) => Number(length));
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(5 * MIB);
  });

  captureTest.each([
    ['a directory', () => stage.directory, /is a directory - hint: name a file in it/i],
    ['in no directory', () => file('none/x.pcapng'), /no such file or directory - hint: make the directory first/i],
    ['no regular file', () => '/dev/null', /it is no regular file - hint: name a regular file/],
    [
      'not permitted',
      () => '/sys/x.pcapng',
      /(permission denied|operation not permitted) - hint: name a file in a directory/i,
    ],
  ])('%s is refused before the command starts', async (_what, path, error) => {
    const { status, stdout, stderr } = await stage.launched(['--capture', path(), 'echo', 'started']).ended();
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(/error\[ZS2140\]: cannot capture to /);
    expect(stderr).toMatch(error);
  });

  captureTest('one at a time; the end of who asked ends it', async () => {
    const active = async () => ((await stage.engine.status()) as { capture?: { active: boolean } }).capture?.active;
    const first = stage.launched(['--quiet', '--capture', file('d.pcapng'), 'sleep', '60']);
    await until('the first captures', active);
    const second = await stage.launched(['--capture', file('e.pcapng'), 'true']).ended();
    expect(second).toMatchObject({ status: 125, stderr: expect.stringMatching(/error\[ZS2006\].*already.*--engine/) });
    expect(existsSync(file('e.pcapng'))).toBe(false);
    first.signal('SIGKILL');
    await until('it is over', async () => (await active()) === undefined);
    expect(summary(file('d.pcapng'))).toMatch(/Number of packets: +0/);
  });

  /** The transfer goes on; the file is whole as far as it goes. */
  async function endsEarly(captured: string, why: RegExp, ...options: string[]): Promise<void> {
    const port = await freePort();
    await startNginx(stage, port);
    const said = await fetchBig(port, '--capture', captured, ...options);
    expect(said).toMatch(why);
    expect(said).not.toMatch(/packets captured/);
    expect(faulty(captured)).toEqual([]);
    expect(Number(/Number of packets: +(\d+)/.exec(summary(captured))?.[1])).toBeGreaterThan(3);
  }

  captureTest('a full disk ends the capture only', async () => {
    mkdirSync(file('small'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', file('small')]);
    try {
      await endsEarly(file('small/f.pcapng'), /ended after \d+ packets: No space left on device - hint: free space/);
    } finally {
      execFileSync('umount', [file('small')]);
    }
  });

  captureTest('so do the limit of file sizes and --capture-max-size', async () => {
    await endsEarly(file('g.pcapng'), /ended after \d+ packets: it reached its limit/, '--capture-max-size', '1');
    expect(statSync(file('g.pcapng')).size).toBeLessThanOrEqual(MIB);
    execFileSync('prlimit', ['--pid', `${stage.engine.pid}`, `--fsize=${MIB}:unlimited`]);
    try {
      await endsEarly(file('h.pcapng'), /ended after \d+ packets: File too large/);
    } finally {
      execFileSync('prlimit', ['--pid', `${stage.engine.pid}`, '--fsize=unlimited:unlimited']);
    }
  });
});

describeOnStacks([['tap'], ['af_packet']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });
  const file = (name: string) => join(stage.directory, name);

  captureTest('over the wire: frames of the port, and nothing of it twice', async () => {
    const port = await freePort();
    const { host } = stage.ends('in');
    mkdirSync(file('html'), { recursive: true });
    makeFile(file('html/big'), 2 * MIB);
    const configuration = nginxConfiguration(stage.directory, port, { host });
    const server = stage.launched([
      '--quiet',
      '--capture',
      file('w.pcapng'),
      NGINX,
      '-p',
      stage.directory,
      '-c',
      configuration,
    ]);
    await stage.ends('in').listening(port);
    await stage.ends('in').ok(['curl', '-sS', '--fail', '-o', file('got'), `http://${host}:${port}/big`]);
    expect((await server.end('SIGTERM')).status).toBe(0);

    const [[number] = []] = packets(file('w.pcapng'), 'tcp contains "GET /big"', 'tcp.stream'); // not that of a probe
    const { there, back } = stream(file('w.pcapng'), Number(number));
    expect(there.toString()).toMatch(/^GET \/big HTTP/);
    expect(back.subarray(back.indexOf('\r\n\r\n') + 4).equals(readFileSync(file('html/big')))).toBe(true);
    expect(packets(file('w.pcapng'), 'tcp && frame.interface_id != 1', 'frame.number')).toEqual([]);
    const directions = packets(file('w.pcapng'), `tcp.dstport == ${port}`, 'frame.packet_flags_direction');
    expect(new Set(directions.map(([direction]) => Number(direction)))).toEqual(new Set([1]));
    expect(
      packets(
        file('w.pcapng'),
        `_ws.malformed || (tcp.srcport == ${port} && tcp.checksum.status == 0)`,
        'frame.number',
      ),
    ).toEqual([]);
    expect(summary(file('w.pcapng'))).toMatch(/Name = net_/);
  });
});
