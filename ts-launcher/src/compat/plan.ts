// SPDX-License-Identifier: BSD-3-Clause
/** Which cells run, and which are left out and why. */
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { LauncherError } from '../errors.js';
import { BACKENDS, caseId, type Backend, type Case } from './case.js';

export interface Cell {
  readonly each: Case;
  readonly backend: Backend;
}

export interface LeftOut extends Cell {
  readonly why: string;
}

export interface Plan {
  readonly cells: readonly Cell[];
  readonly leftOut: readonly LeftOut[];
  /** Every cell of the cases is in one of the two: nothing was selected. */
  readonly whole: boolean;
}

export interface Selection {
  /** Patterns of `PROGRAM/NAME`, `*` for anything; a bare PROGRAM means all of its cases. */
  readonly only: readonly string[];
  readonly backends: readonly Backend[];
  readonly shard?: { readonly index: number; readonly count: number };
  readonly quick: boolean;
}

/** What this machine allows. */
export interface Abilities {
  /** Why no network namespaces can be made, if so. */
  readonly noWire: string | undefined;
  missing(needs: readonly string[]): string[];
}

/** `PROGRAM/NAME@BACKEND`. */
export function cellId({ each, backend }: Cell): string {
  return `${caseId(each)}@${backend}`;
}

/** The command line that repeats a cell. */
export function repeatCommand(cell: Cell, extra: readonly string[]): string {
  const quoted = extra.map((word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return ['zstack-run compat --only', caseId(cell.each), '--backend', cell.backend, ...quoted].join(' ');
}

function matches(pattern: string, each: Case): boolean {
  const full = pattern.includes('/') ? pattern : `${pattern}/*`;
  const escaped = full.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  return new RegExp(`^${escaped}$`).test(caseId(each));
}

/**
 * @throws LauncherError ZS1003 for a pattern that no case has
 */
export function plan(cases: readonly Case[], { only, backends, shard, quick }: Selection, can: Abilities): Plan {
  for (const pattern of only) {
    if (!cases.some((each) => matches(pattern, each)))
      throw new LauncherError('ZS1003', `--only ${pattern}`, 'no case has that name; see zstack-run compat --list');
  }
  const chosen = cases
    .filter((each) => only.length === 0 || only.some((pattern) => matches(pattern, each)))
    .filter((each) => !quick || each.quick === true)
    .filter((_, i) => shard === undefined || i % shard.count === shard.index - 1);
  const cells: Cell[] = [];
  const leftOut: LeftOut[] = [];
  for (const each of chosen) {
    const missing = can.missing(each.needs ?? []);
    for (const backend of BACKENDS) {
      const reference = backend === 'kernel' && each.suite === true;
      if ((!backends.includes(backend) && !reference) || each.backends?.includes(backend) === false) continue;
      const cell = { each, backend };
      if (missing.length > 0) leftOut.push({ ...cell, why: `not installed: ${missing.join(', ')}` });
      else if (backend === 'wire' && can.noWire !== undefined) leftOut.push({ ...cell, why: can.noWire });
      else cells.push(cell);
    }
  }
  const whole = only.length === 0 && !quick && shard === undefined && backends.length === BACKENDS.length;
  return { cells, leftOut, whole };
}

/** Where programs are looked for: PATH, and where Debian keeps servers. */
export function missingPrograms(needs: readonly string[]): string[] {
  const path = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return needs.filter((name) => {
    if (name.includes('/')) return !existsSync(name);
    return !path.some((directory) => {
      try {
        accessSync(join(directory, name), constants.X_OK);
        return directory !== '';
      } catch {
        return false;
      }
    });
  });
}
