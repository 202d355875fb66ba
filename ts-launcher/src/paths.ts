/** Where the parts of Z-stack are, relative to this file; nothing is configured, nothing depends on the working directory. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LauncherError } from './errors.js';

/** The project root: two directories above `dist/` or `src/`. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const build = process.env['ZSTACK_BUILD_DIR'] ?? join(ROOT, 'build');

/** The native parts. `ZSTACK_BUILD_DIR` and `ZSTACK_ZSTACKD` put others in their place (tests, sanitizer builds). */
export const PARTS = {
  preload: join(build, 'libzstack_preload.so'),
  exec: join(build, 'zstack-exec'),
  engine: process.env['ZSTACK_ZSTACKD'] ?? join(build, 'zstackd'),
  /** `zstackd` with libfstack, where that was found when it was built. */
  fstackEngine: process.env['ZSTACK_ZSTACKD_FSTACK'] ?? join(build, 'zstackd-fstack'),
  pingpong: join(build, 'apps', 'echo-c', 'pingpong'),
  many: join(build, 'apps', 'echo-c', 'many'),
  stream: join(build, 'apps', 'echo-c', 'stream'),
  'zc-stream': join(build, 'apps', 'zerocopy-c', 'zc-stream'),
  load: join(build, 'apps', 'load-c', 'load'),
  bulk: join(build, 'apps', 'load-c', 'bulk'),
  stackBench: join(build, 'bench', 'stack_bench'),
  ealArgs: join(build, 'bench', 'libeal_args.so'),
  path: join(build, 'apps', 'load-c', 'path'),
} as const;

/**
 * The path of a native part.
 * @throws LauncherError ZS1301 when it is not built
 */
export function part(name: keyof typeof PARTS): string {
  const path = PARTS[name];
  if (!existsSync(path))
    throw new LauncherError('ZS1301', `${path} is not built`, 'run `npm run build` in the project');
  return path;
}

/**
 * The program of an engine with this TCP/IP stack.
 * @throws LauncherError ZS1301 nothing is built, ZS1303 the build has no F-Stack
 */
export function enginePart(stack: 'native' | 'fstack'): string {
  if (stack === 'native') return part('engine');
  const missing = fstackMissing();
  if (missing === undefined) return PARTS.fstackEngine;
  throw new LauncherError(
    'ZS1303',
    `--stack fstack: this build has no F-Stack: ${missing}`,
    'install F-Stack or set FSTACK_ROOT to its source tree, then `npm run build`',
  );
}

/** The version of the shared-memory contract that the library of this build knows; `undefined`: not said. */
export function layoutOfBuild(): number | undefined {
  try {
    return Number(readFileSync(join(build, 'layout.txt'), 'utf8')) || undefined; // written by CMake
  } catch {
    return undefined;
  }
}

/** What this build lacks for `--stack fstack`; `undefined`: nothing. */
export function fstackMissing(): string | undefined {
  if (existsSync(PARTS.fstackEngine)) return undefined;
  try {
    // Written by CMake: `found PATH` or `missing NAME...`.
    const note = readFileSync(join(build, 'fstack.txt'), 'utf8').trim();
    const names = /^missing (.+)$/.exec(note)?.[1];
    return names === undefined
      ? 'zstackd-fstack is not built'
      : `${names.split(' ').join(', ')} not found when it was built`;
  } catch {
    return 'zstackd-fstack is not built';
  }
}
