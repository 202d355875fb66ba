// SPDX-License-Identifier: BSD-3-Clause
/** The zero-copy calls of `zstack/zstack.h`: each case on the kernel, where all is copied, and under Z-stack. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BUILD, ROOT } from '../lib/paths.js';
import { useStage } from '../lib/stage.js';

const PROGRAM = join(BUILD, 'zerocopy');

function cases(): string[] {
  return existsSync(PROGRAM) ? execFileSync(PROGRAM, ['--list'], { encoding: 'utf8' }).trim().split('\n') : [];
}

describe('zero-copy calls', () => {
  const stage = useStage();

  it('has its program', () => {
    expect(cases().length).toBeGreaterThan(15);
  });

  it.each(cases())(
    '%s',
    async (name) => {
      for (const [wrapped, where] of [
        [false, 'kernel'],
        [true, 'local'],
      ] as const) {
        const { status, signal, stdout, stderr } = await stage.start(wrapped, [PROGRAM, name, where]).ended(40_000);
        expect({ where, status, signal, stdout, stderr }).toEqual({
          where,
          status: 0,
          signal: null,
          stdout: 'ok\n',
          stderr: '',
        });
      }
    },
    90_000,
  );
});

describe('the installed library', () => {
  const stage = useStage();

  it('is found by pkg-config, has versioned symbols and manual pages, and works without Z-stack', async () => {
    const prefix = join(stage.directory, 'usr');
    execFileSync('cmake', ['--install', BUILD, '--prefix', prefix], { stdio: 'pipe' });
    const found = (pattern: string): string =>
      execFileSync('find', [prefix, '-path', pattern, '-print', '-quit'], { encoding: 'utf8' }).trim();
    const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'zstack'], {
      encoding: 'utf8',
      env: { ...process.env, PKG_CONFIG_PATH: dirname(found('*/zstack.pc')) },
    });
    for (const page of ['man7/zstack.7', 'man3/zs_send.3', 'man3/zs_recv.3', 'man3/zs_buffer.3', 'man3/zs_queue.3'])
      expect(found(`*/${page}`)).not.toBe('');
    const source = join(ROOT, 'compat-tests/zerocopy/cases');
    const built = join(stage.directory, 'zerocopy');
    const files = ['main.c', 'calls.c', 'life.c'].map((name) => join(source, name));
    execFileSync('cc', ['-o', built, ...files, ...flags.trim().split(/\s+/), '-pthread'], { stdio: 'pipe' });
    const library = dirname(found('*/libzstack.so'));
    const symbols = execFileSync('nm', ['-D', '--defined-only', join(library, 'libzstack.so')], { encoding: 'utf8' });
    expect(symbols).toMatch(/ zs_send@@ZSTACK_0\.1$/m);
    expect(symbols.split('\n').filter((line) => / [TDB] /.test(line) && !/@@ZSTACK_0\.1$/.test(line))).toEqual([]);
    const { status, stdout } = await stage
      .start(false, [built, 'lent-and-back', 'kernel'], { env: { LD_LIBRARY_PATH: library } })
      .ended(20_000);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ok\n' });
  }, 60_000);
});
