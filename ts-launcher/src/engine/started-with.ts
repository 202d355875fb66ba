/** What an engine was started with: it stands in its environment, which /proc shows to those who may use the engine. */
import { readFileSync } from 'node:fs';
import type { Options } from '../options/resolve.js';
import { OPTION_NAMES, spec, type OptionName } from '../options/table.js';

const VARIABLE = 'ZSTACK_STARTED_WITH';

/** The variable for an engine that is started with `options`. */
export function startedWith(options: Options): Record<string, string> {
  return { [VARIABLE]: JSON.stringify(engineOptions(options)) };
}

/**
 * Of `names`, those whose values in `options` are not what the engine was started with. All of them when that cannot be told, as of an
 * engine that was started by hand.
 */
export function differing(pid: number, options: Options, names: readonly OptionName[]): readonly OptionName[] {
  const began = read(pid);
  const now = engineOptions(options);
  return names.filter((name) => JSON.stringify(began[name]) !== JSON.stringify(now[name]));
}

function engineOptions(options: Options): Partial<Record<OptionName, unknown>> {
  return Object.fromEntries(OPTION_NAMES.filter((name) => spec(name).engine).map((name) => [name, options[name]]));
}

function read(pid: number): Partial<Record<OptionName, unknown>> {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    const text = environment.find((entry) => entry.startsWith(`${VARIABLE}=`));
    const value: unknown = text === undefined ? {} : JSON.parse(text.slice(VARIABLE.length + 1));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
