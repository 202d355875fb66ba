// SPDX-License-Identifier: BSD-3-Clause
/** Where the parts under test are. `ZSTACK_BUILD` names another build directory than `build`. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const BUILD = resolve(process.env['ZSTACK_BUILD'] ?? process.env['ZSTACK_BUILD_DIR'] ?? join(ROOT, 'build'));
export const PRELOAD = join(BUILD, 'libzstack_preload.so');
export const ZSTACKD = process.env['ZSTACK_ZSTACKD'] ?? join(BUILD, 'zstackd');
/** The engine with libfstack beside the native stack, where that was found. */
export const ZSTACKD_FSTACK = process.env['ZSTACK_ZSTACKD_FSTACK'] ?? join(BUILD, 'zstackd-fstack');
export const LAUNCHER = join(ROOT, 'zstack-run');
/** The C echo programs of the project. */
export const ECHO_SERVER = join(BUILD, 'apps', 'echo-c', 'echo-server');
export const ECHO_CLIENT = join(BUILD, 'apps', 'echo-c', 'echo-client');
/** Messages over many connections, beside them. */
export const MANY = join(BUILD, 'apps', 'echo-c', 'many');

/** The slow and heavy variants are wanted. */
export const ALL = process.env['ZSTACK_TEST_ALL'] === '1';

/** A program of the tests in `compat-tests/apps/programs`. */
export function program(name: string): string {
  return join(ROOT, 'compat-tests', 'apps', 'programs', name);
}

/** The path of an installed program, or `undefined`. */
export function installed(name: string): string | undefined {
  for (const directory of ['/usr/bin', '/usr/sbin', '/bin', '/sbin', ...(process.env['PATH'] ?? '').split(':')]) {
    if (directory !== '' && existsSync(join(directory, name))) return join(directory, name);
  }
  return undefined;
}

/** `describe` or `test` when all programs are installed, else their skipping form. */
export function needs<T extends { skip: T | unknown }>(form: T, ...names: string[]): T {
  return names.every((name) => installed(name) !== undefined) ? form : (form.skip as T);
}
