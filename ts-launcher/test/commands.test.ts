/** config, doctor, help, and the shapes of their JSON. */
import { join } from 'node:path';
import * as z from 'zod';
import { hasPair } from '../src/bench/run.js';
import { median, ratio, summarize } from '../src/bench/statistics.js';
import { bytes, duration } from '../src/commands/format.js';
import { OPTION_NAMES, spec } from '../src/options/table.js';
import { printable } from '../src/output.js';
import { Sandbox } from './support.js';

const box = new Sandbox();
afterAll(() => box.remove());

describe('config show', () => {
  test('--origin tells file and line, flag and variable', async () => {
    const file = box.file('zstack.toml', '# mine\nmemory = 64\n[profiles.p]\nlinger = 1\n');
    const { stdout, status } = await box.run(['--quiet', 'config', 'show', '--origin', '--profile', 'p'], {
      env: { ZSTACK_TCP: 'kernel' },
    });
    expect(status).toBe(0);
    const line = (key: string) =>
      stdout
        .split('\n')
        .find((text) => text.startsWith(`${key} `))
        ?.split(/ {2,}/);
    expect(line('memory')).toEqual(['memory', '64', `file: ${file}:2`]);
    expect(line('linger')).toEqual(['linger', '1', `profile: ${file}:4`]);
    expect(line('tcp')).toEqual(['tcp', 'kernel', 'environment: ZSTACK_TCP']);
    expect(line('quiet')).toEqual(['quiet', 'true', 'flag: --quiet']);
    expect(line('udp')).toEqual(['udp', 'auto', 'default']);
  });

  test('--json has every option with value and origin', async () => {
    const { stdout } = await box.run(['config', 'show', '--json'], { cwd: '/' });
    const schema = z.strictObject({
      file: z.string().nullable(),
      options: z.record(
        z.string(),
        z.strictObject({
          value: z.unknown(),
          origin: z.enum(['flag', 'environment', 'profile', 'file', 'default']),
          where: z.string(),
        }),
      ),
    });
    const { options } = schema.parse(JSON.parse(stdout));
    expect(Object.keys(options)).toEqual(OPTION_NAMES.map((name) => spec(name).toml ?? name));
  });

  test('a malformed file: status 2, file, key, line, form', async () => {
    const file = box.file('bad.toml', 'memory = 64\nlinger = "long"\n');
    const { stderr, status } = await box.run(['config', 'show', '--config', file]);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `zstack-run: error[ZS1013]: ${file}:2: linger = "long" - hint: expected a whole number from 0 to 86400 (s)\n`,
    );
  });

  test('the same file stops a command with 125', async () => {
    const file = box.file('bad.toml', 'memory = 64\nlinger = "long"\n');
    expect(await box.run(['--config', file, 'true'])).toMatchObject({ status: 125, stdout: '' });
  });
});

describe('doctor', () => {
  const schema = z.strictObject({
    ok: z.boolean(),
    checks: z.array(
      z.strictObject({
        subject: z.string(),
        name: z.string(),
        status: z.enum(['ok', 'warn', 'fail']),
        evidence: z.string().min(1),
        remedy: z.string(),
      }),
    ),
  });

  test('the machine: every check with evidence, every complaint with a remedy', async () => {
    const { stdout, status } = await box.run(['doctor', '--json']);
    const report = schema.parse(JSON.parse(stdout));
    expect(report.checks.map(({ name }) => name)).toEqual([
      ...[
        'kernel',
        'CPUs',
        'installation',
        'F-Stack',
        'engine',
        'DPDK',
        'huge pages',
        'RLIMIT_MEMLOCK',
        'RLIMIT_NOFILE',
      ],
      ...['memfd', 'THP shmem', 'network namespace'],
      ...['capabilities', '/dev/net/tun', 'AF_XDP', 'iproute2', 'network devices'],
    ]);
    for (const check of report.checks) if (check.status !== 'ok') expect(check.remedy).not.toBe('');
    expect(status).toBe(report.ok ? 0 : 1);
    expect(report.ok).toBe(report.checks.every((check) => check.status !== 'fail'));
  }, 60_000);

  test('a target that cannot be reached: status 1, on the list', async () => {
    const { execFileSync } = await import('node:child_process');
    const path = join(box.directory, 'static');
    execFileSync('cc', ['-static', '-x', 'c', '-', '-o', path], { input: 'int main(void) { return 0; }' });
    const { stdout, status } = await box.run(['doctor', '--json', path]);
    expect(status).toBe(1);
    const checks = schema.parse(JSON.parse(stdout)).checks.filter(({ subject }) => subject === path);
    expect(checks.map(({ name, status: each }) => [name, each])).toContainEqual(['linking', 'fail']);
    const human = await box.run(['doctor', path]);
    expect(human.stdout).toContain('FAIL  linking');
    expect(human.stdout).not.toContain('\u001b');
  }, 60_000);

  test('what is not installed is found missing', async () => {
    const { stdout, status } = await box.run(['doctor', '--json'], { env: { ZSTACK_BUILD_DIR: '/nonexistent' } });
    expect(status).toBe(1);
    expect(schema.parse(JSON.parse(stdout)).checks.find(({ name }) => name === 'installation')?.status).toBe('fail');
  }, 60_000);
});

test('help and version go to stdout with status 0', async () => {
  const help = await box.run(['--help']);
  expect(help).toMatchObject({ status: 0, stderr: '' });
  for (const name of OPTION_NAMES) expect(help.stdout).toContain(spec(name).flag);
  expect(await box.run(['--version'])).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  expect((await box.run(['engine', 'status', '--help'])).stdout).toContain('zstack-run engine status');
});

test('who reads the help may go away', async () => {
  const shell = '{ "$0" "$@"; echo "status $?" >&2; } | :';
  expect(await box.run(['--help'], { shell })).toMatchObject({ stdout: '', stderr: 'status 0\n' });
});

test('a file of the launcher is missing: the code, the remedy', async () => {
  const result = await box.run(['--engine', box.engine('x'), 'true'], { env: { ZSTACK_BUILD_DIR: '/nonexistent' } });
  expect(result.status).toBe(125);
  expect(result.stderr).toContain('error[ZS1301]');
});

test('figures', () => {
  expect([0, 1023, 1024, 1536, 200 << 20].map(bytes)).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '200 MiB']);
  expect([0.04, 61, 7322].map(duration)).toEqual(['0.0 s', '1 min 1 s', '2 h 02 min']);
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, NaN]);
  expect(summarize([2, 1])).toEqual({ median: 1.5, min: 1, max: 2, values: [2, 1] });
  expect([ratio(10, 20, 'higher'), ratio(10, 20, 'lower')]).toEqual([2, 0.5]);
  expect(printable('a\u001b[2J\nb')).toBe('a?[2J?b');
});

test('an accelerated pair has both ends', () => {
  const client = { id: 1, pid: 1, name: '', run: '', sessions: 1, bytes_in: 0, bytes_out: 0, wakeups: 0, sleeps: 0 };
  const status = (...ends: { connects: number; accepts: number }[]) =>
    ({ clients: ends.map((end) => ({ ...client, ...end })) }) as unknown as Parameters<typeof hasPair>[0];
  expect(hasPair(status({ connects: 1, accepts: 0 }, { connects: 0, accepts: 1 }))).toBe(true);
  expect(hasPair(status({ connects: 1, accepts: 0 }))).toBe(false);
  expect(hasPair(status())).toBe(false);
});
