// SPDX-License-Identifier: BSD-3-Clause
/** Finds the files of cases and reads them. */
import { readdirSync, statSync } from 'node:fs';
import { register } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { LauncherError, textOf } from '../errors.js';
import { ROOT } from '../paths.js';
import { BACKENDS, caseId, type Case, type OpenField } from './case.js';

/** The matrix' own cases. */
export const OWN_CASES = join(ROOT, 'compat-tests', 'matrix', 'cases');

const word = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/, 'lower case letters, digits, ".", "_" and "-"');

const schema = z.strictObject({
  program: word,
  name: word,
  needs: z.array(z.string()).optional(),
  backends: z.array(z.enum(BACKENDS)).min(1).optional(),
  wire: z.enum(['in', 'out']).optional(),
  least: z.strictObject({ connections: z.int().min(0).optional(), bytes: z.int().min(0).optional() }).optional(),
  timeoutMs: z.int().min(1).optional(),
  quick: z.boolean().optional(),
  suite: z.boolean().optional(),
  run: z.custom<Case['run']>((value) => typeof value === 'function', 'a function'),
});

let hooked = false;

/** Imports a module that may be TypeScript. */
async function load(path: string): Promise<Record<string, unknown>> {
  if (!hooked) register(new URL('./typescript-hook.js', import.meta.url));
  hooked = true;
  return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
}

function files(directory: string): string[] {
  try {
    if (!statSync(directory).isDirectory()) return [directory];
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mts|js|mjs)$/.test(name) && !/(\.d\.m?ts|\.test\.m?[jt]s)$/.test(name))
      .sort()
      .map((name) => join(directory, name));
  } catch (error) {
    throw new LauncherError(
      'ZS1701',
      `the cases cannot be read: ${textOf(error)}`,
      'give --cases a directory or a file',
    );
  }
}

/**
 * The cases below a directory, or of one file, in the order of their files.
 * @throws LauncherError ZS1701 no such directory, a file that is no case, two cases of one name
 */
export async function loadCases(directory: string): Promise<Case[]> {
  const found = new Map<string, Case>();
  for (const path of files(resolve(directory))) {
    const shown = relative(process.cwd(), path);
    let exported: unknown;
    try {
      exported = (await load(path))['default'];
    } catch (error) {
      throw new LauncherError('ZS1701', `${shown} cannot be loaded: ${textOf(error)}`, 'mend the file');
    }
    for (const value of Array.isArray(exported) ? exported : [exported]) {
      const parsed = schema.safeParse(value);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        const where = issue === undefined || issue.path.length === 0 ? 'default export' : issue.path.join('.');
        throw new LauncherError(
          'ZS1701',
          `${shown} has no case: ${where}: ${issue?.message ?? 'not as expected'}`,
          'export default { program, name, run }; see README, "The matrix"',
        );
      }
      const each = value as Case;
      if (found.has(caseId(each)))
        throw new LauncherError('ZS1701', `${shown}: there are two cases ${caseId(each)}`, 'rename one');
      found.set(caseId(each), each);
    }
  }
  if (found.size === 0) throw new LauncherError('ZS1701', `no cases in ${directory}`, 'a case is a .ts or .mjs file');
  return [...found.values()];
}

/** What cells run on: it belongs to the tests, whose support code it shares. */
export async function loadField(): Promise<OpenField> {
  const path = join(ROOT, 'compat-tests', 'matrix', 'lib', 'field.ts');
  return (await load(path))['openField'] as OpenField;
}
