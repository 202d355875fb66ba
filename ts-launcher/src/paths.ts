/** Where the parts of Z-stack are, relative to this file; nothing is configured, nothing depends on the working directory. */
import { existsSync } from 'node:fs';
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
  pingpong: join(build, 'apps', 'echo-c', 'pingpong'),
  stream: join(build, 'apps', 'echo-c', 'stream'),
  'zc-stream': join(build, 'apps', 'zerocopy-c', 'zc-stream'),
  load: join(build, 'apps', 'load-c', 'load'),
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
