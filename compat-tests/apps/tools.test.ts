// SPDX-License-Identifier: BSD-3-Clause
/** Other programs of Debian: iperf3, memcached, curl, ab, socat, nc. */
import { join } from 'node:path';
import { datagramBytes, localConnections, Meter, socketsOf } from '../lib/accel.js';
import { listening, sha256 } from '../lib/net.js';
import { needs, program, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import { CLIENTS, useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';
import { makeFile, startNginx } from './nginx.js';

interface IperfEnd {
  readonly error?: string;
  readonly end: { readonly sum?: { bytes: number }; readonly sum_received?: { bytes: number } };
}

describe('tools', () => {
  const stage = useStage();
  const file = (name: string) => join(stage.directory, name);

  beforeAll(() => makeFile(file('data'), 5_000_001));

  needs(describe, 'iperf3')('iperf3', () => {
    const MODES = [
      ['forwards', []],
      ['backwards', ['-R']],
      ['both ways', ['--bidir']],
      ['four streams', ['-P4']],
      ['datagrams', ['-u', '-b', '50M', '-l', '1400']],
      ['datagrams backwards', ['-u', '-b', '50M', '-l', '1400', '-R']],
    ] as const;
    describe.each(MODES)('%s', (_mode, flags) => {
      test.each(CLIENTS)(
        '%s',
        async (_, wrapped) => {
          const port = await freePort();
          const server = stage.wrapped(['iperf3', '-s', '-B', '127.0.0.1', '-p', `${port}`, '--forceflush']);
          await server.says(/listening/);
          const meter = await Meter.start(stage.engine);
          const client = stage.start(wrapped, [
            'iperf3',
            '-c',
            '127.0.0.1',
            '-p',
            `${port}`,
            '-t',
            '1',
            '--json',
            ...flags,
          ]);
          const datagrams =
            flags[0] === '-u' ? Math.max(0, await peak(() => datagramsAround(server.pid, client.pid))) : 0;
          const { status, stdout } = await client.ended();
          const report = JSON.parse(stdout) as IperfEnd;
          expect(report.error).toBeUndefined();
          expect(status).toBe(0);
          const bytes = report.end.sum?.bytes ?? report.end.sum_received?.bytes ?? 0;
          expect(bytes).toBeGreaterThan(100_000);
          if (flags[0] !== '-u') await meter.expect(wrapped, 1 + (flags[0] === '-P4' ? 4 : 1), bytes);
          else if (wrapped) expect(datagrams).toBeGreaterThan(0);
          else expect(datagrams).toBe(0);
          await server.end('SIGTERM');
        },
        30_000,
      );
    });

    async function datagramsAround(...pids: number[]): Promise<number> {
      let sum = 0;
      for (const pid of pids) sum += await datagramBytes(stage.engine, pid).catch(() => 0);
      return sum;
    }

    /** The largest value seen in a while: the sockets close with the test. */
    async function peak(probe: () => Promise<number>): Promise<number> {
      let most = 0;
      const end = Date.now() + 1000;
      await until('a while passed', async () => {
        most = Math.max(most, await probe());
        return most > 0 || Date.now() > end;
      });
      return most;
    }
  });

  needs(describe, 'memcached')('memcached', () => {
    test.each(CLIENTS)(
      'values are byte-exact with four threads, %s',
      async (_, wrapped) => {
        const port = await freePort();
        const command = [
          'memcached',
          '-u',
          'nobody',
          '-l',
          '127.0.0.1',
          '-p',
          `${port}`,
          '-U',
          '0',
          '-t',
          '4',
          '-m',
          '256',
        ];
        const server = stage.wrapped(command);
        await listening(port);
        const meter = await Meter.start(stage.engine);
        const client = await stage.ok(wrapped, [process.execPath, program('memcache.mjs'), `${port}`, '24']);
        expect(client.stdout).toBe('done\n');
        await meter.expect(wrapped, 24, 2 * 24 * 1_400_000);
        expect((await server.end('SIGTERM')).status).toBe(0);
      },
      30_000,
    );
  });

  needs(describe, 'curl')('curl', () => {
    test.each(CLIENTS)(
      'uploads and downloads many at once, %s',
      async (_, wrapped) => {
        const port = await freePort();
        const server = stage.wrapped([process.execPath, join(ROOT, 'apps/http-node/server.js')], {
          env: { PORT: `${port}`, HOST: '127.0.0.1' },
        });
        await server.says(/listening/);
        const meter = await Meter.start(stage.engine);
        const names = Array.from({ length: 10 }, (_unused, i) => file(`echo-${i}`));
        const each = names.flatMap((name, i) => [
          ...(i === 0 ? [] : ['--next']),
          ...['-sS', '--fail', '-o', name, '--data-binary', `@${file('data')}`, `http://127.0.0.1:${port}/echo`],
        ]);
        await stage.ok(wrapped, ['curl', '--parallel', '--parallel-immediate', ...each]);
        const wanted = await sha256(file('data'));
        for (const name of names) expect(await sha256(name)).toBe(wanted);
        await meter.expect(wrapped, 1, 20 * 5_000_001);
        expect((await server.end('SIGTERM')).status).toBe(0);
      },
      30_000,
    );
  });

  needs(
    describe,
    'ab',
    'nginx',
  )('ab', () => {
    describe.each([
      ['a connection for each request', []],
      ['keep-alive', ['-k']],
    ])('%s', (_mode, flags) => {
      test.each(CLIENTS)(
        '%s',
        async (_, wrapped) => {
          const port = await freePort();
          const nginx = await startNginx(stage, port);
          const meter = await Meter.start(stage.engine);
          const ab = ['ab', '-q', '-n', '5000', '-c', '50', ...flags, `http://127.0.0.1:${port}/hello`];
          const { stdout } = await stage.ok(wrapped, ab);
          expect(stdout).toMatch(/^Complete requests: +5000$/m);
          expect(stdout).toMatch(/^Failed requests: +0$/m);
          await meter.expect(wrapped, flags.length > 0 ? 50 : 5000, 5000 * 36);
          expect((await nginx.end('SIGQUIT')).status).toBe(0);
        },
        30_000,
      );
    });
  });

  needs(describe, 'socat')('socat', () => {
    test.each(CLIENTS)(
      'a file goes through, %s',
      async (_, wrapped) => {
        const port = await freePort();
        const server = stage.wrapped([
          ...['socat', '-u', `TCP-LISTEN:${port},reuseaddr,bind=127.0.0.1`, `CREATE:${file('socat')}`],
        ]);
        await socketsOf(stage.engine, server.pid, 'a listener', (s) => s.verdict === 'both');
        const client = stage.start(wrapped, ['socat', '-u', `OPEN:${file('data')}`, `TCP:127.0.0.1:${port}`]);
        expect((await client.ended()).status).toBe(0);
        expect((await server.ended()).status).toBe(0);
        expect(await sha256(file('socat'))).toBe(await sha256(file('data')));
      },
      30_000,
    );

    test.each(CLIENTS)(
      'a process for each connection, %s',
      async (_, wrapped) => {
        const port = await freePort();
        const server = stage.wrapped(['socat', `TCP-LISTEN:${port},reuseaddr,bind=127.0.0.1,fork`, 'EXEC:cat']);
        await socketsOf(stage.engine, server.pid, 'a listener', (s) => s.verdict === 'both');
        const meter = await Meter.start(stage.engine);
        const text = `${'0123456789'.repeat(1000)}\n`;
        for (let i = 0; i < 5; i++) {
          const { stdout } = await stage.ok(wrapped, ['socat', '-t5', '-', `TCP:127.0.0.1:${port}`], { input: text });
          expect(stdout === text).toBe(true);
        }
        expect((await meter.growth()).accepts).toBe(wrapped ? 5 : 0);
        await server.end('SIGTERM');
      },
      30_000,
    );
  });

  needs(describe, 'nc')('nc', () => {
    test.each(CLIENTS)(
      'a file goes through, %s',
      async (_, wrapped) => {
        const port = await freePort();
        const server = stage.wrapped(['/bin/sh', '-c', `exec nc -l 127.0.0.1 ${port} > "$1"`, 'sh', file('nc')]);
        await socketsOf(stage.engine, server.pid, 'a listener', (s) => s.verdict === 'both');
        const client = stage.start(wrapped, [
          '/bin/sh',
          '-c',
          `exec nc -N 127.0.0.1 ${port} < "$1"`,
          'sh',
          file('data'),
        ]);
        expect((await client.ended()).status).toBe(0);
        expect((await server.ended()).status).toBe(0);
        expect(await sha256(file('nc'))).toBe(await sha256(file('data')));
      },
      30_000,
    );

    test('its conversation is local', async () => {
      const port = await freePort();
      const server = stage.wrapped(['nc', '-l', '127.0.0.1', `${port}`], { input: 'open' });
      await socketsOf(stage.engine, server.pid, 'a listener', (s) => s.verdict === 'both');
      const client = stage.wrapped(['nc', '127.0.0.1', `${port}`], { input: 'open' });
      client.write('question\n');
      await server.says(/question/);
      server.write('answer\n');
      await client.says(/answer/);
      expect(await localConnections(stage.engine, client.pid)).toHaveLength(1);
      expect(await localConnections(stage.engine, server.pid)).toHaveLength(1);
      await client.end('SIGTERM');
      await server.ended();
    }, 30_000);
  });
});
