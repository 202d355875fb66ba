/**
 * The configuration file: found, read, checked. Errors name file, key, line and the expected form.
 * Loaded only when there is a file: it brings the TOML parser and zod.
 */
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { LauncherError, textOf } from '../errors.js';
import { fileSchema } from './schema.js';
import { nearest, OPTION_NAMES, spec } from './table.js';

export type FileValues = Record<string, unknown>;

/** A checked configuration file. */
export interface ConfigFile {
  readonly path: string;
  readonly values: FileValues;
  readonly profiles: Readonly<Record<string, FileValues>>;
  /** The line of a key, counted from 1. */
  lineOf(path: readonly string[]): number;
}

/**
 * Reads and checks a configuration file.
 * @throws LauncherError ZS1010 unreadable, ZS1011 not TOML, ZS1012 unknown key, ZS1013 malformed value
 */
export function readConfigFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new LauncherError('ZS1010', `${path}: ${textOf(error)}`, 'name another file with --config');
  }
  let data: FileValues;
  try {
    data = parse(text) as FileValues;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
    throw new LauncherError('ZS1011', `${path}:${error.line}: not TOML: ${reason}`, `see column ${error.column}`);
  }
  const lineOf = (key: readonly string[]) => findLine(text, key);
  check(path, data, lineOf);
  const { profiles = {}, ...values } = data as { profiles?: Record<string, FileValues> } & FileValues;
  return { path, values, profiles, lineOf };
}

function check(path: string, data: FileValues, lineOf: (key: readonly string[]) => number): void {
  const result = fileSchema().safeParse(data);
  if (result.success) return;
  const issue = result.error.issues[0];
  if (issue === undefined) return;
  const at = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    const key = [...at, issue.keys[0] ?? ''];
    const known = OPTION_NAMES.map((name) => spec(name).toml).filter((name) => name !== undefined);
    const near = nearest(issue.keys[0] ?? '', at.length === 0 ? [...known, 'profiles'] : known);
    throw new LauncherError(
      'ZS1012',
      `${path}:${lineOf(key)}: unknown key ${key.join('.')}`,
      near === undefined ? `the keys are ${known.join(', ')}` : `did you mean ${near}?`,
    );
  }
  const value = at.reduce<unknown>((inner, key) => (inner as FileValues | undefined)?.[key], data);
  throw new LauncherError('ZS1013', `${path}:${lineOf(at)}: ${at.join('.')} = ${JSON.stringify(value)}`, issue.message);
}

/**
 * The line where a key is set, counted from 1. The parser gives no positions; a file that it accepted has its keys at
 * the start of a line, in a table or dotted, which is what this looks for. 1 when it is written in some other way.
 */
function findLine(text: string, key: readonly string[]): number {
  const wanted = key.filter((part) => !/^\d+$/.test(part)).join('.');
  let table: string[] = [];
  let containing = 1;
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[{1,2}([^\]]+)\]/.exec(line);
    const assigned = /^\s*([A-Za-z0-9_\-."' ]+?)\s*=/.exec(line);
    const full = header ? names(header[1]) : assigned ? [...table, ...names(assigned[1])] : undefined;
    if (header && full) table = full;
    if (full === undefined) continue;
    const dotted = full.join('.');
    if (dotted === wanted || (header && dotted.startsWith(`${wanted}.`))) return index + 1;
    if (wanted.startsWith(`${dotted}.`)) containing = index + 1;
  }
  return containing;
}

function names(dotted: string | undefined): string[] {
  return (dotted ?? '').split('.').map((part) => part.trim().replace(/^["'](.*)["']$/, '$1'));
}
