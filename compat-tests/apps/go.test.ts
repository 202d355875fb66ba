// SPDX-License-Identifier: BSD-3-Clause
/** Go programs: what the matrix does not ask (compat-tests/matrix/cases/go.ts). */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';
import { goEnvironment } from '../matrix/lib/go.js';
import { own } from '../matrix/lib/kit.js';

needs(describe, 'go')('a Go program', () => {
  const stage = useStage();
  let program = '';

  function build(name: string, variables: Record<string, string>): string {
    const path = join(stage.directory, name);
    execFileSync('go', ['build', '-o', path, '.'], {
      cwd: own('go'),
      env: { ...process.env, ...goEnvironment(stage), ...variables },
      stdio: 'inherit',
    });
    return path;
  }

  beforeAll(() => {
    program = build('with-cgo', {});
    writeFileSync(join(stage.directory, 'words'), 'words of a file\n');
  }, 120_000);

  /** Served by one, asked by another; how the server ended. */
  async function isServed(server: string, env: Record<string, string>): Promise<string> {
    const port = `${await freePort()}`;
    const options = { env: { TMPDIR: stage.directory, ...env } };
    const running = stage.wrapped([server, 'serve', '127.0.0.1', port], options);
    await running.says(/ready/);
    await stage.ok(true, [program, 'ask', '127.0.0.1', port, 'words'], options);
    const { status, stderr } = await running.end('SIGTERM');
    expect(status).toBe(0);
    return stderr;
  }

  /** Connections that programs accepted in shared memory which have ended by now. */
  async function accepts(): Promise<number> {
    return (await stage.engine.status()).totals['ended_accepts'] ?? NaN;
  }

  test('is accelerated', async () => {
    const before = await accepts();
    expect(await isServed(program, {})).toBe('');
    await until('its connections are counted', async () => (await accepts()) - before >= 50);
  }, 30_000);

  test('is left to the kernel where that was asked for', async () => {
    const before = await accepts();
    await isServed(program, { ZSTACK_OWN_CALLS: 'kernel' });
    expect(await accepts()).toBe(before);
  }, 30_000);

  test('without cgo it is refused: it is static', async () => {
    const fixed = build('without-cgo', { CGO_ENABLED: '0' });
    const { status, stderr } = await stage.launched([fixed]).ended();
    expect({ status, stderr }).toEqual({ status: 126, stderr: expect.stringMatching(/CGO_ENABLED=1/) as string });
  }, 120_000);
});
