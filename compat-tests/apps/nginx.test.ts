// SPDX-License-Identifier: BSD-3-Clause
/** Debian's nginx as installed: files byte-exact, load, reload, binary upgrade, quit. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { localConnections, Meter } from '../lib/accel.js';
import { listening, sha256, silent } from '../lib/net.js';
import { needs } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { processes } from '../lib/processes.js';
import { CLIENTS, useStage } from '../lib/stage.js';
import { sleep, until } from '../lib/wait.js';
import { makeFile, masterPid, NGINX, nginxConfiguration, startNginx, wrkReport } from './nginx.js';

const SIZES = [0, 1, 1448, 30_721, 1 << 20, 100 << 20];

needs(
  describe,
  'nginx',
  'curl',
  'wrk',
)('nginx', () => {
  const stage = useStage();
  const hashes = new Map<number, string>();

  beforeAll(async () => {
    mkdirSync(join(stage.directory, 'html'), { recursive: true });
    for (const size of SIZES) {
      makeFile(join(stage.directory, 'html', `${size}`), size);
      hashes.set(size, await sha256(join(stage.directory, 'html', `${size}`)));
    }
  }, 30_000);

  /** Fetches all files with curl, on one connection or each on its own, and compares. */
  async function fetchAll(wrapped: boolean, port: number, keepAlive: boolean): Promise<void> {
    const to = (size: number) => join(stage.directory, `got-${size}`);
    const fetches = SIZES.flatMap((size) => ['-o', to(size), `http://127.0.0.1:${port}/${size}`]);
    const close = keepAlive ? [] : ['-H', 'Connection: close'];
    const report = ['-w', '%{http_code} %{num_connects}\\n'];
    const { stdout } = await stage.ok(wrapped, ['curl', '-sS', '--fail', ...report, ...close, ...fetches]);
    const lines = stdout.trim().split('\n');
    expect(lines).toEqual(SIZES.map((_, i) => `200 ${keepAlive && i > 0 ? 0 : 1}`));
    for (const size of SIZES) expect([size, await sha256(to(size))]).toEqual([size, hashes.get(size)]);
  }

  test('why of a worker, which was forked with the listener', async () => {
    const port = await freePort();
    const nginx = await startNginx(stage, port, { workers: 2 });
    await fetchAll(true, port, true);
    const told = async (pid: number) =>
      (await stage.engine.why(pid)).sockets.some(
        ({ local, verdict, reason }) => local?.endsWith(`:${port}`) && verdict === 'both' && reason === 'LISTENER',
      );
    const workers = processes().filter(({ parent }) => parent === masterPid(stage, port));
    expect(workers.length).toBe(2);
    for (const { pid } of workers) await until(`worker ${pid} tells of its listener`, () => told(pid));
    expect((await nginx.end('SIGQUIT')).status).toBe(0);
  });

  describe.each([1, 2])('with %i workers', (workers) => {
    test.each(CLIENTS)(
      'files are byte-exact for %s',
      async (_, wrapped) => {
        const port = await freePort();
        const nginx = await startNginx(stage, port, { workers });
        const meter = await Meter.start(stage.engine);
        await fetchAll(wrapped, port, true);
        await fetchAll(wrapped, port, false);
        await meter.expect(wrapped, 1 + SIZES.length, 200 << 20);
        expect((await nginx.end('SIGQUIT')).status).toBe(0);
      },
      60_000,
    );

    test.each(CLIENTS)(
      'serves 100 connections of wrk without an error to %s',
      async (_, wrapped) => {
        const port = await freePort();
        const nginx = await startNginx(stage, port, { workers });
        const meter = await Meter.start(stage.engine);
        const wrk = await stage.ok(wrapped, ['wrk', '-t1', '-c100', '-d5s', `http://127.0.0.1:${port}/30721`]);
        const { requests, errors } = wrkReport(wrk.stdout);
        expect(errors).toEqual([]);
        expect(requests).toBeGreaterThan(0);
        await meter.expect(wrapped, 100, requests * 30_721);
        expect((await nginx.end('SIGQUIT')).status).toBe(0);
      },
      40_000,
    );
  });

  test.each(CLIENTS)(
    'reloads under the load of %s without an error',
    async (_, wrapped) => {
      const port = await freePort();
      const nginx = await startNginx(stage, port, { workers: 2 });
      const meter = await Meter.start(stage.engine);
      const workers = () => processes().filter((p) => p.parent === nginx.pid);
      // A connection for each request: on those that are kept, a reload closes between requests, with the kernel too.
      const wrk = stage.start(wrapped, [
        ...['wrk', '-t1', '-c20', '-d4s', '-H', 'Connection: close'],
        `http://127.0.0.1:${port}/1448`,
      ]);
      await sleep(500);
      for (let i = 0; i < 3; i++) {
        const old = new Set(workers().map((p) => p.pid));
        nginx.signal('SIGHUP');
        await until('the old workers went', () => workers().length === 2 && workers().every((p) => !old.has(p.pid)));
        await sleep(300);
      }
      const { requests, errors } = wrkReport((await wrk.ended()).stdout);
      expect(errors).toEqual([]);
      expect(requests).toBeGreaterThan(0);
      await meter.expect(wrapped, 1, 1448);
      expect((await nginx.end('SIGQUIT')).status).toBe(0);
    },
    40_000,
  );

  test.each(CLIENTS)(
    'upgrades its binary, and the new one serves %s',
    async (_, wrapped) => {
      const port = await freePort();
      // Only a daemon obeys USR2 and WINCH.
      const configuration = nginxConfiguration(stage.directory, port, { workers: 1, daemon: true });
      const start = stage.wrapped([NGINX, '-p', stage.directory, '-c', configuration]);
      expect(await start.exited()).toBe(0);
      await listening(port);
      const old = masterPid(stage, port);
      stage.adopt(old);
      await fetchAll(wrapped, port, true);
      process.kill(old, 'SIGUSR2');
      const fresh = await until('the new binary writes its pid', () => {
        const pid = masterPid(stage, port);
        return pid > 0 && pid !== old && processes().some((p) => p.parent === pid) ? pid : undefined;
      });
      await fetchAll(wrapped, port, true);
      process.kill(old, 'SIGWINCH');
      await until(
        'the old workers went',
        () => processes().filter((p) => p.parent === old && p.pid !== fresh).length === 0,
      );
      await fetchAll(wrapped, port, true);
      process.kill(old, 'SIGQUIT');
      await until('the old master went', () => !processes().some((p) => p.pid === old));
      const meter = await Meter.start(stage.engine);
      await fetchAll(wrapped, port, true);
      await fetchAll(wrapped, port, false);
      await meter.expect(wrapped, 1 + SIZES.length, 200 << 20);
      process.kill(fresh, 'SIGQUIT');
      await until('the new master went', () => !processes().some((p) => p.pid === fresh));
      await silent(port);
    },
    60_000,
  );

  test('quits after what is under way is served', async () => {
    const port = await freePort();
    const nginx = await startNginx(stage, port, { server: 'limit_rate 512k;' });
    const curl = stage.wrapped([
      'curl',
      '-sS',
      '-o',
      join(stage.directory, 'slow'),
      `http://127.0.0.1:${port}/1048576`,
    ]);
    await localConnections(stage.engine, curl.pid);
    nginx.signal('SIGQUIT');
    await silent(port);
    expect((await curl.ended()).status).toBe(0);
    expect(await sha256(join(stage.directory, 'slow'))).toBe(hashes.get(1 << 20));
    expect((await nginx.ended()).status).toBe(0);
  }, 30_000);
});
