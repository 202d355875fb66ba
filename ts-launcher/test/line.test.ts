/** The command line: what is ours, what is the command's. */
import { LauncherError } from '../src/errors.js';
import { parseLine } from '../src/cli.js';

const parse = (...argv: string[]) => parseLine(argv, '1.2.3');

function errorOf(...argv: string[]): LauncherError {
  try {
    parse(...argv);
  } catch (error) {
    expect(error).toBeInstanceOf(LauncherError);
    return error as LauncherError;
  }
  throw new Error('it was accepted');
}

test('options after the command are the command`s', () => {
  expect(parse('--quiet', 'node', '--quiet', '--engine', 'x', '-h')).toEqual({
    flags: { quiet: true },
    command: ['node', '--quiet', '--engine', 'x', '-h'],
    explicit: false,
  });
});

test('-- ends our options, and makes a command of a name that is a subcommand`s', () => {
  expect(parse('--', 'engine', 'status')).toMatchObject({ command: ['engine', 'status'], explicit: true });
  expect(parse('-q', '--', '--version')).toMatchObject({ command: ['--version'], explicit: true });
  expect(parse('engine', 'status')).toMatchObject({ command: ['engine', 'status'], explicit: false });
});

test('a later -- belongs to the command', () => {
  expect(parse('npm', 'run', '--', 'x').command).toEqual(['npm', 'run', '--', 'x']);
  expect(parse('--', 'npm', '--', 'x').command).toEqual(['npm', '--', 'x']);
  expect(parse('npm', '--')).toEqual({ flags: {}, command: ['npm', '--'], explicit: false });
});

test('values are read and checked', () => {
  const { flags } = parse(
    '--memory',
    '64',
    '--linger=0',
    '--eal',
    '-a',
    '--eal',
    '--vdev=x',
    '--no-dpdk',
    '--tcp',
    'kernel',
    'x',
  );
  expect(flags).toEqual({ memory: 64, linger: 0, eal: ['-a', '--vdev=x'], dpdk: false, tcp: 'kernel' });
  expect(parse('--dpdk', 'x').flags).toEqual({ dpdk: true });
  expect(parse('x').flags).toEqual({});
  expect(errorOf('--memory', '1', 'x').message).toBe(
    '--memory 1 - hint: expected a whole number from 16 to 1048576 (MiB)',
  );
  expect(errorOf('--engine', 'A B', 'x').code).toBe('ZS1003');
  expect(errorOf('--netns', 'a/b', 'x').code).toBe('ZS1003');
  expect(parse('--port', 'tap', '--port=memif:/a,address=10.0.0.1/24', '--netns', 'blue', 'x').flags).toEqual({
    port: ['tap', 'memif:/a,address=10.0.0.1/24'],
    netns: 'blue',
  });
});

test('an unknown option is named, with the one that was meant', () => {
  expect(errorOf('--memroy', '1', 'x').message).toBe('unknown option --memroy - hint: did you mean --memory?');
  expect(errorOf('--memory').code).toBe('ZS1001');
});

test('no command at all is for the caller to tell', () => {
  expect(parse('--quiet').command).toEqual([]);
  expect(parse().command).toEqual([]);
});
