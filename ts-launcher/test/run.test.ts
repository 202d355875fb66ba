/** Running a command: exit status, signals, limits, descriptors, environment. With the fake engine. */
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { prefixed } from '../src/run/environment.js';
import { takeLaunched } from '../src/run/launched.js';
import { terminalGroups } from '../src/run/signals.js';
import { LAUNCHER, outcome, Sandbox, untilPrinted } from './support.js';

const box = new Sandbox();
const engine = box.engine('run');
const run = (...args: string[]) => box.run(['--engine', engine, ...args]);

afterAll(() => box.remove());

describe('exit status', () => {
  test.each([0, 1, 7, 125, 255])('%d is passed on', async (status) => {
    expect(await run('sh', '-c', `echo out; echo err >&2; exit ${status}`)).toEqual({
      ...{ status, signal: null, stdout: 'out\n', stderr: 'err\n' },
    });
  });

  test.each(['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGSEGV', 'SIGABRT', 'SIGPIPE'])(
    'death by %s is death by %s',
    async (signal) => {
      expect(await run('sh', '-c', `kill -${signal.slice(3)} $$`)).toMatchObject({ status: null, signal, stderr: '' });
    },
  );

  test('127 not found, 126 not executable or refused, 125 usage', async () => {
    const cases: [string[], number, string][] = [
      [['no-such-program'], 127, 'error[ZS1101]: no-such-program: not found in PATH'],
      [[box.file('plain', '', 0o644)], 126, 'error[ZS1102]'],
      [['/'], 126, 'error[ZS1102]: /: is a directory'],
      [['--nonsense', 'true'], 125, 'error[ZS1001]: unknown option --nonsense'],
      [['--quiet'], 125, 'error[ZS1002]: no command was given'],
    ];
    for (const [args, status, text] of cases) {
      const result = await run(...args);
      expect(result).toMatchObject({ status, stdout: '' });
      expect(result.stderr).toContain(`zstack-run: ${text}`);
      expect(result.stderr.trim().split('\n')).toHaveLength(1);
    }
  });

  test('a script without an interpreter that exists fails as it does without us', async () => {
    const result = await run('--quiet', box.file('lost', '#!/no/such/interpreter\n', 0o755));
    expect(result.status).toBe(127);
  });

  test('a program that cannot be reached is refused, and runs with --force', async () => {
    const { execFileSync } = await import('node:child_process');
    const path = join(box.directory, 'static');
    execFileSync('cc', ['-static', '-x', 'c', '-', '-o', path], { input: 'int main(void) { return 9; }' });
    const refused = await run(path);
    expect(refused.status).toBe(126);
    expect(refused.stderr).toContain('error[ZS1103]');
    const forced = await run('--force', path);
    expect(forced.status).toBe(9);
    expect(forced.stderr).toContain('warning');
    expect(await run('--force', '--quiet', path)).toMatchObject({ status: 9, stderr: '' });
  });
});

describe('signals to the launcher', () => {
  const report =
    'for s in TERM HUP USR1 USR2 INT QUIT TTIN TTOU TSTP ALRM URG XCPU IO PWR; do trap "echo got $s; exit 3" $s; done; echo ready; while :; do sleep 0.05; done';

  test.each([
    ...(['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGQUIT', 'SIGTTIN', 'SIGTTOU', 'SIGTSTP'] as const),
    ...(['SIGALRM', 'SIGURG', 'SIGXCPU', 'SIGIO', 'SIGPWR'] as const),
  ])('%s is passed on', async (signal) => {
    const child = box.start(['--engine', engine, 'sh', '-c', report]);
    const end = outcome(child);
    await untilPrinted(child, /ready/);
    child.kill(signal);
    expect(await end).toMatchObject({ status: 3, stdout: `ready\ngot ${signal.slice(3)}\n` });
  });

  test('what the user ignores stays ignored, by launcher and command', async () => {
    const child = box.start(['--engine', engine, 'sh', '-c', 'grep SigIgn /proc/self/status; sleep 0.3; echo end'], {
      shell: 'trap "" HUP; exec "$0" "$@"',
    });
    const end = outcome(child);
    await untilPrinted(child, /SigIgn/);
    child.kill('SIGHUP');
    const { status, stdout } = await end;
    expect(status).toBe(0);
    expect(stdout).toMatch(/SigIgn:\t0*1\nend/);
  });

  // As in each background job of a script. A shell does not trap what it found ignored; other programs do.
  test('a program with a handler gets a signal that was ignored at its start', async () => {
    const program =
      'import signal, sys, time; signal.signal(signal.SIGQUIT, lambda *_: sys.exit(3)); print("ready", flush=True); time.sleep(10)';
    const child = box.start(['--engine', engine, 'python3', '-c', program], {
      shell: 'trap "" QUIT; exec "$0" "$@"',
    });
    const end = outcome(child);
    await untilPrinted(child, /ready/);
    child.kill('SIGQUIT');
    expect(await end).toMatchObject({ status: 3 });
  });

  test('no other signal is ignored or blocked in the command', async () => {
    const { stdout } = await run('grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status');
    expect(stdout).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
  });
});

describe('what the command inherits', () => {
  test('the soft limits of the user, although Node raises one', async () => {
    const { stdout } = await box.run(['--engine', engine, 'sh', '-c', 'ulimit -Sn; ulimit -Hn; ulimit -Sc'], {
      shell: 'ulimit -Sn 321; ulimit -Hn 1000; ulimit -Sc 0; exec "$0" "$@"',
    });
    expect(stdout).toBe('321\n1000\n0\n');
  });

  test('open descriptors at their numbers, and none of ours', async () => {
    box.file('input', 'from seven');
    const command = ['sh', '-c', 'cat <&7; echo; ls -x /proc/self/fd'];
    const through = await box.run(['--engine', engine, ...command], { shell: 'exec 7<input; exec "$0" "$@"' });
    const direct = await box.run(command, { shell: 'exec 7<input; exec "$@"' });
    expect(through.stdout).toMatch(/^from seven\n.*\b7\b/);
    expect(through).toEqual(direct);
  });

  test('the environment with what the preload needs, and nothing else changed', async () => {
    const other = box.file('other.so', '');
    const env = { LD_LIBRARY_PATH: '/x', NODE_OPTIONS: '--no-warnings', ODD: 'a b' };
    const result = await box.run(['--engine', engine, '--spin-us', '5', '--trace', '--udp', 'kernel', 'env', '-0'], {
      env,
    });
    expect(result.status).toBe(0);
    const seen = Object.fromEntries(
      result.stdout
        .split('\0')
        .filter(Boolean)
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const preload = join(box.build, 'libzstack_preload.so');
    const { ZSTACK_RUN: token, ...rest } = seen;
    expect(token).toMatch(/^[0-9a-f]{1,31}$/);
    const expected: Record<string, string | undefined> = {
      ...{ ...box.env, ...env },
      ...{ LD_PRELOAD: preload, ZSTACK_ENGINE: `${process.getuid?.()}-${engine}`, ZSTACK_PRELOAD: preload },
      ...{
        ZSTACK_SPIN_US: '5',
        ZSTACK_LOG: 'warn',
        ZSTACK_TRACE: '1',
        ZSTACK_TCP: 'auto',
        ZSTACK_UDP: 'kernel',
        ZSTACK_OWN_CALLS: 'auto',
      },
    };
    // The shell sets these three for itself.
    for (const name of ['PWD', 'OLDPWD', '_']) {
      Reflect.deleteProperty(rest, name);
      Reflect.deleteProperty(expected, name);
    }
    expect(rest).toEqual(expected);
    expect(prefixed(preload, `${other} ${preload}:a.so`)).toBe(`${preload}:${other}:a.so`);
  });

  test('the working directory; the launcher is found through a symbolic link', async () => {
    const link = join(box.directory, 'link');
    symlinkSync(LAUNCHER, link);
    const { stdout } = await box.run(['--engine', engine, 'pwd'], { shell: 'shift 0; exec ./link "$@"' });
    expect(stdout).toBe(`${box.directory}\n`);
  });
});

test('the argument of the script is taken off, and only at the front', () => {
  expect(takeLaunched(['--launched=1024:unlimited:0000000000001001:0:3,17', 'x'])).toEqual({
    launched: { nofile: '1024', core: 'unlimited', ignored: 0x1001n, blocked: 0n, fds: [3, 17] },
    rest: ['x'],
  });
  expect(takeLaunched(['x', '--launched=1']).rest).toEqual(['x', '--launched=1']);
  expect(takeLaunched(['--launched=:::;rm:,1,x']).launched).toMatchObject({ nofile: undefined, ignored: 0n, fds: [] });
});

test('the foreground group is read from a stat line whatever the name of the program', () => {
  expect(terminalGroups('7 (a) b (c) S 1 42 42 34816 43 4194304')).toEqual({ group: 42, foreground: 43 });
  expect(terminalGroups().group).toBe(Number(readFileSync('/proc/self/stat', 'latin1').split(' ')[4]));
});
