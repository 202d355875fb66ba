/**
 * Where an option's value comes from. Strength: flags, environment, profile of the file, file, default.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LauncherError } from '../errors.js';
import type { ConfigFile } from './file.js';
import { formOf, nearest, OPTION_NAMES, OPTIONS, parseText, spec, type OptionName, type Value } from './table.js';

/** The values of all options. */
export interface Options {
  readonly engine: string;
  readonly memory: number;
  readonly linger: number;
  readonly hugepages: 'auto' | 'on' | 'off';
  readonly cores: string | undefined;
  readonly workers: number;
  readonly pollUs: number;
  readonly eal: readonly string[];
  readonly dpdk: boolean;
  readonly port: readonly string[];
  readonly stack: 'native' | 'fstack';
  readonly fstackSysctl: readonly string[];
  readonly ecn: 'passive' | 'on' | 'off';
  readonly netns: string | undefined;
  readonly tcp: 'auto' | 'kernel';
  readonly udp: 'auto' | 'kernel';
  readonly ownCalls: 'auto' | 'kernel';
  readonly spinUs: number;
  readonly log: 'error' | 'warn' | 'info' | 'debug';
  readonly trace: boolean;
  readonly capture: string | undefined;
  readonly captureSnaplen: number;
  readonly captureMaxSize: number;
  readonly quiet: boolean;
  readonly fallback: 'none' | 'kernel';
  readonly force: boolean;
  readonly profile: string | undefined;
  readonly config: string | undefined;
}

export type OriginKind = 'flag' | 'environment' | 'profile' | 'file' | 'default';

/** Where a value comes from: `where` is the flag, the variable, or `file:line`. */
export interface Origin {
  readonly kind: OriginKind;
  readonly where: string;
}

/** All values with their origins, and the file that was read. */
export interface Resolved {
  readonly options: Options;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  readonly file: string | undefined;
  /** Things to be warned about: variables that look like a misspelt option. */
  readonly warnings: readonly string[];
}

/** Variables that other parts read; no misspelt options. */
const OTHER_VARIABLES = ['ZSTACK_RUN', 'ZSTACK_PRELOAD', 'ZSTACK_INHERIT', 'ZSTACK_TOKEN', 'ZSTACK_ZSTACKD'];

/**
 * Merges all sources.
 * @param flags values of the command line, already checked
 * @param env the environment
 * @param cwd where `zstack.toml` is looked for
 * @throws LauncherError ZS1003 malformed variable, ZS1010 to ZS1014 configuration file
 */
export async function resolveOptions(
  flags: Partial<Record<OptionName, Value>>,
  env: NodeJS.ProcessEnv,
  cwd: string,
): Promise<Resolved> {
  const fromEnv = readEnvironment(env);
  const early = { ...fromEnv, ...flags };
  const file = await openFile(early.config as string | undefined, env, cwd);
  const profileName = early.profile as string | undefined;
  const profile = profileName === undefined ? undefined : findProfile(file, profileName);

  const values: Record<string, Value | undefined> = {};
  const origins: Record<string, Origin> = {};
  for (const name of OPTION_NAMES) {
    const option = spec(name);
    const key = option.toml;
    if (flags[name] !== undefined) {
      values[name] = flags[name];
      origins[name] = { kind: 'flag', where: flagName(name) };
    } else if (fromEnv[name] !== undefined) {
      values[name] = fromEnv[name];
      origins[name] = { kind: 'environment', where: option.env ?? '' };
    } else if (key !== undefined && file !== undefined && profile?.[key] !== undefined) {
      values[name] = profile[key] as Value;
      origins[name] = { kind: 'profile', where: `${file.path}:${file.lineOf(['profiles', profileName ?? '', key])}` };
    } else if (key !== undefined && file?.values[key] !== undefined) {
      values[name] = file.values[key] as Value;
      origins[name] = { kind: 'file', where: `${file.path}:${file.lineOf([key])}` };
    } else {
      values[name] = option.default;
      origins[name] = { kind: 'default', where: '' };
    }
  }
  return {
    options: values as unknown as Options,
    origins: origins as Record<OptionName, Origin>,
    file: file?.path,
    warnings: misspelt(env),
  };
}

/** The long flag of an option, as `--spin-us`. */
export function flagName(name: OptionName): string {
  return /--[a-z-]+/.exec(OPTIONS[name].flag)?.[0] ?? name;
}

function readEnvironment(env: NodeJS.ProcessEnv): Partial<Record<OptionName, Value>> {
  const values: Partial<Record<OptionName, Value>> = {};
  for (const name of OPTION_NAMES) {
    const option = spec(name);
    const text = option.env === undefined ? undefined : env[option.env];
    if (text === undefined) continue;
    const value = parseText(option.type, name === 'engine' ? ownEngine(text) : text);
    if (value === undefined) {
      throw new LauncherError('ZS1003', `${option.env}=${text} in the environment`, `expected ${formOf(option.type)}`);
    }
    values[name] = value;
  }
  return values;
}

/** Wrapped programs see `<uid>-<name>`: a zstack-run started by one of them uses the same engine. */
function ownEngine(text: string): string {
  const prefix = `${process.getuid?.() ?? 0}-`;
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

async function openFile(
  named: string | undefined,
  env: NodeJS.ProcessEnv,
  cwd: string,
): Promise<ConfigFile | undefined> {
  const configHome = env['XDG_CONFIG_HOME'];
  const candidates = [
    join(cwd, 'zstack.toml'),
    join(
      configHome !== undefined && configHome !== '' ? configHome : join(homedir(), '.config'),
      'zstack',
      'config.toml',
    ),
  ];
  const path = named ?? candidates.find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  const { readConfigFile } = await import('./file.js');
  return readConfigFile(path);
}

function findProfile(file: ConfigFile | undefined, name: string): Record<string, unknown> {
  const profile = file?.profiles[name];
  if (profile !== undefined) return profile;
  if (file === undefined) {
    throw new LauncherError('ZS1014', `profile ${name}: there is no configuration file`, 'name one with --config');
  }
  const all = Object.keys(file.profiles);
  const hint = all.length === 0 ? `add [profiles.${name}]` : `its profiles are ${all.join(', ')}`;
  throw new LauncherError('ZS1014', `profile ${name} is not in ${file.path}`, hint);
}

function misspelt(env: NodeJS.ProcessEnv): string[] {
  const known = OPTION_NAMES.map((name) => spec(name).env).filter((name) => name !== undefined);
  const warnings: string[] = [];
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('ZSTACK_') || known.includes(variable) || OTHER_VARIABLES.includes(variable)) continue;
    const near = nearest(
      variable.slice(7),
      known.map((name) => name.slice(7)),
    );
    if (near !== undefined) warnings.push(`${variable} is not a variable of Z-stack; did you mean ZSTACK_${near}?`);
  }
  return warnings;
}
