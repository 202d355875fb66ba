/** The options table, and the strength of flags, environment, profile, file and defaults. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LauncherError } from '../src/errors.js';
import { markdownTable } from '../src/options/document.js';
import { resolveOptions } from '../src/options/resolve.js';
import { nearest, OPTION_NAMES, parseText, spec } from '../src/options/table.js';

let directory: string;
const empty = { XDG_CONFIG_HOME: '/nonexistent' };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'zstack-options-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function toml(text: string): string {
  const path = join(directory, 'zstack.toml');
  writeFileSync(path, text);
  return path;
}

async function errorOf(promise: Promise<unknown>): Promise<LauncherError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LauncherError);
  return error as LauncherError;
}

describe('the table', () => {
  test('names, variables and keys are unique, every default is of its form', () => {
    for (const column of ['flag', 'env', 'toml'] as const) {
      const names = OPTION_NAMES.map((name) => spec(name)[column]).filter((name) => name !== undefined);
      expect(new Set(names).size).toBe(names.length);
    }
    for (const name of OPTION_NAMES) {
      const { type, default: value } = spec(name);
      if (value !== undefined && !Array.isArray(value)) expect(parseText(type, String(value))).toBe(value);
    }
  });

  test('becomes a Markdown table with a row per option', () => {
    const lines = markdownTable().split('\n');
    expect(lines).toHaveLength(OPTION_NAMES.length + 2);
    expect(lines.find((line) => line.includes('ZSTACK_SPIN_US'))).toBe(
      '| `--spin-us <us>` | `ZSTACK_SPIN_US` | `spin-us` | a whole number from 0 to 1000000 (us) | `20` | microseconds that a waiting program polls before it sleeps |',
    );
  });

  test('texts are read strictly', () => {
    const integer = { kind: 'integer', min: 0, max: 10, unit: 's' } as const;
    expect(['0', '10', '11', '-1', '1e1', '', ' 1', '0x1'].map((text) => parseText(integer, text))).toEqual([
      ...[0, 10, undefined, undefined, undefined, undefined, undefined, undefined],
    ]);
    expect(['1', 'off', 'perhaps'].map((text) => parseText({ kind: 'flag' }, text))).toEqual([true, false, undefined]);
    expect(parseText({ kind: 'list', form: '' }, ' -a  b ')).toEqual(['-a', 'b']);
  });

  test('the nearest name is suggested only when it is near', () => {
    expect(nearest('memroy', ['memory', 'linger'])).toBe('memory');
    expect(nearest('zzz', ['memory', 'linger'])).toBeUndefined();
  });
});

describe('strength', () => {
  const file = 'memory = 100\nlinger = 5\nspin-us = 7\ntcp = "kernel"\n\n[profiles.fast]\nspin-us = 50\nmemory = 200\n';

  test('flags over environment over profile over file over defaults, with their origins', async () => {
    const path = toml(file);
    const env = { ...empty, ZSTACK_LINGER: '9', ZSTACK_MEMORY: '300', ZSTACK_PROFILE: 'fast' };
    const { options, origins } = await resolveOptions({ memory: 400 }, env, directory);
    expect(options).toMatchObject({ memory: 400, linger: 9, spinUs: 50, tcp: 'kernel', udp: 'auto', profile: 'fast' });
    expect(origins.memory).toEqual({ kind: 'flag', where: '--memory' });
    expect(origins.linger).toEqual({ kind: 'environment', where: 'ZSTACK_LINGER' });
    expect(origins.spinUs).toEqual({ kind: 'profile', where: `${path}:7` });
    expect(origins.tcp).toEqual({ kind: 'file', where: `${path}:4` });
    expect(origins.udp).toEqual({ kind: 'default', where: '' });
  });

  test('the file of the working directory is preferred to that of the user; --config to both', async () => {
    const home = join(directory, 'zstack');
    const { mkdirSync } = await import('node:fs');
    mkdirSync(home);
    writeFileSync(join(home, 'config.toml'), 'memory = 111\n');
    const env = { XDG_CONFIG_HOME: directory };
    expect((await resolveOptions({}, env, '/')).options.memory).toBe(111);
    toml('memory = 222\n');
    expect((await resolveOptions({}, env, directory)).options.memory).toBe(222);
    const other = join(directory, 'other.toml');
    writeFileSync(other, 'memory = 333\n');
    expect((await resolveOptions({ config: other }, env, directory)).options.memory).toBe(333);
  });

  test('a wrapped program names the same engine: its variable has the uid', async () => {
    const { options } = await resolveOptions({}, { ...empty, ZSTACK_ENGINE: `${process.getuid?.()}-mine` }, directory);
    expect(options.engine).toBe('mine');
  });

  test('a misspelt variable is warned about, the variables of other parts are not', async () => {
    const env = { ...empty, ZSTACK_MEMROY: '1', ZSTACK_RUN: 'ab', ZSTACK_TEST_ALL: '1' };
    expect((await resolveOptions({}, env, directory)).warnings).toEqual([
      'ZSTACK_MEMROY is not a variable of Z-stack; did you mean ZSTACK_MEMORY?',
    ]);
  });
});

describe('malformed configuration', () => {
  test.each([
    ['memory = 1', 'ZS1013', ':1: memory = 1', 'expected a whole number from 16 to 1048576 (MiB)'],
    ['\n\nmemory = "big"', 'ZS1013', ':3: memory = "big"', 'expected a whole number from 16 to 1048576 (MiB)'],
    ['tcp = "fast"', 'ZS1013', ':1: tcp = "fast"', 'expected one of auto, kernel'],
    ['eal = ["-a", 3]', 'ZS1013', ':1: eal.1 = 3', 'expected a list of strings'],
    ['engine = "Big"', 'ZS1013', ':1: engine = "Big"', 'expected a letter, then up to 31 of a-z 0-9 _ -'],
    ['# x\nmemroy = 100', 'ZS1012', ':2: unknown key memroy', 'did you mean memory?'],
    ['[profiles.a]\nlinger = 1\nlingre = 2', 'ZS1012', ':3: unknown key profiles.a.lingre', 'did you mean linger?'],
    [
      '[profiles.a]\nlinger = 1.5',
      'ZS1013',
      ':2: profiles.a.linger = 1.5',
      'expected a whole number from 0 to 86400 (s)',
    ],
    ['memory = 100\nlinger = = 3', 'ZS1011', ':2: not TOML', 'column'],
  ])('%j', async (text, code, what, hint) => {
    const path = toml(text);
    const error = await errorOf(resolveOptions({}, empty, directory));
    expect(error.code).toBe(code);
    expect(error.what).toContain(`${path}${what}`);
    expect(error.hint).toContain(hint);
  });

  test('a file that is named and missing, a profile that is missing', async () => {
    const missing = await errorOf(resolveOptions({ config: '/nonexistent.toml' }, empty, directory));
    expect([missing.code, missing.what]).toEqual(['ZS1010', expect.stringContaining('/nonexistent.toml')]);
    toml('[profiles.a]\n[profiles.b]\n');
    const profile = await errorOf(resolveOptions({ profile: 'c' }, empty, directory));
    expect([profile.code, profile.hint]).toEqual(['ZS1014', 'its profiles are a, b']);
  });

  test('a malformed variable names the expected form', async () => {
    const error = await errorOf(resolveOptions({}, { ...empty, ZSTACK_LINGER: 'long' }, directory));
    expect(error.message).toBe(
      'ZSTACK_LINGER=long in the environment - hint: expected a whole number from 0 to 86400 (s)',
    );
  });
});
