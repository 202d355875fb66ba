// SPDX-License-Identifier: BSD-3-Clause
/** What the tests of the wire share. */
import { join } from 'node:path';
import { ROOT } from '../lib/paths.js';

/** A program of the tests in `compat-tests/wire/programs`. */
export function wireProgram(name: string): string {
  return join(ROOT, 'compat-tests', 'wire', 'programs', name);
}
