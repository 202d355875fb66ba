// SPDX-License-Identifier: BSD-3-Clause
/** The zero-copy calls of `zstack/zstack.h`: each case on the kernel, where all is copied, and under Z-stack. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { NGINX, makeFile, nginxConfiguration } from '../apps/nginx.js';
import { WireMeter } from '../lib/accel.js';
import { sha256 } from '../lib/net.js';
import { ALL, BUILD, needs, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';

const PROGRAM = join(BUILD, 'zerocopy');

function cases(): string[] {
  return existsSync(PROGRAM) ? execFileSync(PROGRAM, ['--list'], { encoding: 'utf8' }).trim().split('\n') : [];
}

describe('zero-copy calls', () => {
  const stage = useStage();

  it('has its program', () => {
    expect(cases().length).toBeGreaterThan(15);
  });

  it.each(cases())(
    '%s',
    async (name) => {
      for (const [wrapped, where] of [
        [false, 'kernel'],
        [true, 'local'],
      ] as const) {
        const { status, signal, stdout, stderr } = await stage.start(wrapped, [PROGRAM, name, where]).ended(40_000);
        expect({ where, status, signal, stdout, stderr }).toEqual({
          where,
          status: 0,
          signal: null,
          stdout: 'ok\n',
          stderr: '',
        });
      }
    },
    90_000,
  );
});

describe('memory for buffers', () => {
  const stage = useStage();

  it('counts, and goes back when the program rests', async () => {
    const running = stage.start(true, [PROGRAM, 'rests', 'local'], { input: 'open' });
    await running.says(/has/);
    const { memory, clients } = await stage.engine.status();
    expect(memory.buffers.bytes).toBeGreaterThanOrEqual(9 << 20);
    expect(memory.used).toBeGreaterThanOrEqual(memory.buffers.bytes);
    // One buffer was written, at its beginning.
    expect(memory.buffers.resident).toBeGreaterThanOrEqual(65536);
    expect(memory.buffers.resident).toBeLessThan(2 << 20);
    expect(clients.map(({ buffers }) => buffers)).toEqual([memory.buffers]);
    running.write('done\n');
    await running.says(/rests/);
    await until('no segment is left', async () => (await stage.engine.status()).memory.buffers.segments === 0, 20_000);
    running.write('done\n');
    expect(await running.ended(20_000)).toMatchObject({ status: 0, stdout: 'has\nrests\nok\n', stderr: '' });
  }, 60_000);
});

describe('the engine dies while memory is lent', () => {
  const stage = useStage();

  it.each([['engine-dies'], ['reader-dies-after-engine'], ['unread-when-engine-dies']])(
    '%s',
    async (name) => {
      const running = stage.start(true, [PROGRAM, name, 'local'], { input: 'open' });
      try {
        await running.says(/kill/);
        await stage.engine.crash();
        running.write('done\n');
        if (name === 'engine-dies') {
          await running.says(/start/);
          await stage.startEngine();
          running.write('done\n');
        }
      } finally {
        if (!stage.engine.running) await stage.startEngine();
      }
      const { status, signal, stdout, stderr } = await running.ended(30_000);
      expect({ status, signal, stdout: stdout.split('\n').at(-2) }).toEqual({ status: 0, signal: null, stdout: 'ok' });
      expect(stderr).not.toMatch(/is not|not so|wrong/);
    },
    60_000,
  );
});

needs(describe, 'strace')('the steady state', () => {
  const stage = useStage();

  it('has no system call per message, by either kind of call', async () => {
    const counts = join(stage.directory, 'counts');
    const run = stage.start(true, ['strace', '-f', '-c', '-o', counts, PROGRAM, 'steady', 'local']);
    const { status, stdout } = await run.ended(60_000);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ok\n' });
    const total = /^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$/m.exec(readFileSync(counts, 'utf8'))?.[1];
    // 10,000 messages one way, as many buffers the other; the program's start and end are some hundred calls.
    expect(Number(total)).toBeGreaterThan(20);
    expect(Number(total)).toBeLessThan(1000);
  }, 90_000);
});

describe('the installed library', () => {
  const stage = useStage();

  it('is found by pkg-config, has versioned symbols and manual pages, and works without Z-stack', async () => {
    const prefix = join(stage.directory, 'usr');
    execFileSync('cmake', ['--install', BUILD, '--prefix', prefix], { stdio: 'pipe' });
    const found = (pattern: string): string =>
      execFileSync('find', [prefix, '-path', pattern, '-print', '-quit'], { encoding: 'utf8' }).trim();
    const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'zstack'], {
      encoding: 'utf8',
      env: { ...process.env, PKG_CONFIG_PATH: dirname(found('*/zstack.pc')) },
    });
    for (const page of ['man7/zstack.7', 'man3/zs_send.3', 'man3/zs_recv.3', 'man3/zs_buffer.3', 'man3/zs_queue.3'])
      expect(found(`*/${page}`)).not.toBe('');
    const source = join(ROOT, 'compat-tests/zerocopy/cases');
    const built = join(stage.directory, 'zerocopy');
    const files = ['main.c', 'calls.c', 'life.c', 'apart.c', 'orphan.c'].map((name) => join(source, name));
    execFileSync('cc', ['-o', built, ...files, ...flags.trim().split(/\s+/), '-pthread'], { stdio: 'pipe' });
    const library = dirname(found('*/libzstack.so'));
    const symbols = execFileSync('nm', ['-D', '--defined-only', join(library, 'libzstack.so')], { encoding: 'utf8' });
    expect(symbols).toMatch(/ zs_send@@ZSTACK_0\.1$/m);
    expect(symbols.split('\n').filter((line) => / [TDB] /.test(line) && !/@@ZSTACK_0\.1$/.test(line))).toEqual([]);
    const { status, stdout } = await stage
      .start(false, [built, 'lent-and-back', 'kernel'], { env: { LD_LIBRARY_PATH: library } })
      .ended(20_000);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ok\n' });
  }, 60_000);
});

/** What `zc-proxy` and `zc-echo` print at their end. */
function totalsOf(text: string): { inLent: number; inCopied: number; outLent: number; outCopied: number } {
  const [, ...numbers] = /in: (\d+) bytes lent, (\d+) copied; out: (\d+) lent, (\d+) copied/.exec(text) ?? [];
  const [inLent = -1, inCopied = -1, outLent = -1, outCopied = -1] = numbers.map(Number);
  return { inLent, inCopied, outLent, outCopied };
}

describe.each([['tap'], ['memif'], ['af_xdp']] as const)('over %s', (kind) => {
  const stage = useStage({ wire: kind });
  const SIZE = ALL ? 20 << 20 : 4 << 20;

  it('a proxy passes a file on without copying it', async () => {
    const file = (name: string) => join(stage.directory, name);
    mkdirSync(file('html'), { recursive: true });
    makeFile(file('html/big'), SIZE);
    const [near, far] = [stage.ends('in'), stage.ends('out')];
    const [port, behind] = [await freePort(), await freePort()];
    const nginx = far.server([
      NGINX,
      '-p',
      stage.directory,
      '-c',
      nginxConfiguration(stage.directory, behind, { host: far.host }),
    ]);
    await far.listening(behind);
    const proxy = near.server([join(BUILD, 'apps/zerocopy-c/zc-proxy'), `${port}`, `${far.host}:${behind}`]);
    await proxy.says(/listening/);
    const used = await WireMeter.start([stage.engine]);
    const url = `http://${near.host}:${port}/big`;
    for (const name of ['got-1', 'got-2']) {
      await near.ok(['curl', '-sS', '--fail', '-o', file(name), url], { timeoutMs: 40_000 });
      expect(await sha256(file(name))).toBe(await sha256(file('html/big')));
    }
    const growth = await used.growth();
    const { status, stdout } = await proxy.end('SIGTERM');
    expect(status).toBe(0);
    const { inLent, inCopied, outLent, outCopied } = totalsOf(stdout);
    expect(inLent + inCopied).toBeGreaterThan(2 * SIZE);
    // Copied are heads, ends of bursts, what came out of order, and, when the proxy gets no CPU, what is over the pool's share.
    expect(inLent).toBeGreaterThan(SIZE);
    expect(outLent).toBeGreaterThan(0.95 * inLent);
    expect(outLent + outCopied).toBe(inLent + inCopied);
    // The engine copies what leaves for af_xdp only: external buffers do not survive its driver.
    expect(growth['tcp_rx_lent']).toBeGreaterThan(SIZE);
    expect(growth[kind === 'af_xdp' ? 'tcp_tx_copied' : 'tcp_tx_referred']).toBeGreaterThan(1.9 * SIZE);
    await nginx.end('SIGTERM');
  }, 90_000);

  needs(it, 'nc')(
    'the buffers of a program leave from where they are',
    async () => {
      const file = (name: string) => join(stage.directory, name);
      makeFile(file('data'), SIZE);
      const { server, client, host, listening } = stage.ends('out');
      const port = await freePort();
      const sink = server(['/bin/sh', '-c', `exec nc -lk ${port} > "$1"`, 'sh', file('received')]);
      await listening(port);
      const used = await WireMeter.start([stage.engine]);
      const env = { ZC_HOST: host, ZC_PORT: `${port}` };
      const command = ['/bin/sh', '-c', 'exec "$1" send-over local < "$2"', 'sh', PROGRAM, file('data')];
      const { status, stdout, stderr } = await client(command, { env }).ended(60_000);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const [, lent = '', copied = ''] = /^(\d+) lent, (\d+) copied\nok\n$/.exec(stdout) ?? [];
      expect(Number(lent) + Number(copied)).toBe(SIZE);
      expect(Number(lent)).toBeGreaterThan(0.9 * SIZE);
      const growth = await used.growth();
      expect(growth[kind === 'af_xdp' ? 'tcp_tx_copied' : 'tcp_tx_referred']).toBeGreaterThan(0.9 * SIZE);
      await until('all is there', () => statSync(file('received')).size === SIZE, 20_000);
      await sink.end('SIGTERM');
      expect(await sha256(file('received'))).toBe(await sha256(file('data')));
    },
    90_000,
  );
});
