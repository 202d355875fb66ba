// SPDX-License-Identifier: BSD-3-Clause
/** Go: its standard library's own tests, a server and a client that use what it has for the network, caddy. Programs with cgo, as `go build` makes them. */
import { writeFileSync } from 'node:fs';
import {
  assert,
  at,
  content,
  endsWell,
  fetchAndLoad,
  FILE_SIZES,
  type Case,
  type Ground,
  type Running,
} from '../lib/kit.js';
import { goBuild, goTests, SUITE_MS } from '../lib/go.js';

const GO = 'go';

/** Packages whose tests open connections, and how many they do at least. */
const PACKAGES: Readonly<Record<string, number>> = {
  net: 100,
  'net/http': 300,
  'net/http/httptest': 5,
  'net/http/httputil': 20,
  'net/rpc': 5,
  'net/smtp': 5,
  'crypto/tls': 10,
  'os/exec': 0,
  'runtime/pprof': 0,
  'os/signal': 0,
  os: 0,
  syscall: 0,
};

/** They look with strace whether a file went by sendfile(2), from a socket that the kernel would have. */
const OTHERWISE = ['TestLinuxSendfile'];

const suites = Object.entries(PACKAGES).map(([name, connections]): Case => ({
  ...{ program: 'go', name: name.replaceAll('/', '-'), suite: true, backends: ['kernel', 'same-host'] },
  needs: [GO],
  timeoutMs: SUITE_MS,
  quick: name === 'net',
  least: { connections, bytes: connections === 0 ? 0 : 1000 },
  run: goTests(name, OTHERWISE),
}));

/** What the client of `programs/go` found, in its order. */
const FOUND = [
  'a file',
  '20 bodies at a time',
  'a stream',
  '50 streams at a time',
  'a deadline',
  'a datagram',
  'after a program was run',
];

async function served(t: Ground): Promise<{ program: string; port: number; server: Running }> {
  const program = await goBuild(t);
  writeFileSync(at(t, 'words'), 'words of a file\n'.repeat(100_000));
  const port = await t.port();
  const server = t.server([program, 'serve', t.host, `${port}`], { env: { TMPDIR: t.directory } });
  await server.says(/ready/);
  return { program, port, server };
}

async function asked(t: Ground, program: string, port: number): Promise<void> {
  const env = { TMPDIR: t.directory };
  const { stdout } = await t.ok([program, 'ask', t.host, `${port}`, 'words'], { env, timeoutMs: 40_000 });
  assert.deepEqual(stdout.trim().split('\n'), FOUND);
}

export default [
  ...suites,
  {
    program: 'go',
    name: 'network',
    needs: [GO],
    quick: true,
    least: { connections: 60, bytes: 40_000_000 },
    timeoutMs: 120_000,
    async run(t) {
      const { program, port, server } = await served(t);
      await asked(t, program, port);
      await endsWell(server);
    },
  },
  {
    program: 'go',
    name: 'graceful-restart',
    needs: [GO],
    // It is the children of the server that serve, which end with it.
    least: { connections: 60, bytes: 40_000_000 },
    timeoutMs: 120_000,
    async run(t) {
      const { program, port, server } = await served(t);
      server.signal('SIGHUP');
      await server.says(/took over/);
      assert.equal(await server.exited(), 0, 'the first one ends');
      await asked(t, program, port);
    },
  },
  {
    program: 'caddy',
    name: 'files',
    needs: ['caddy', 'curl', 'wrk'],
    least: { connections: 40, bytes: 18_000_000 },
    async run(t) {
      const hashes = await content(t, FILE_SIZES);
      const port = await t.port();
      const lines = [
        '{',
        ' admin off',
        ' auto_https off',
        '}',
        `http://${t.host}:${port} {`,
        ` root * ${at(t, 'html')}`,
        ' file_server',
        '}',
      ];
      writeFileSync(at(t, 'Caddyfile'), `${lines.join('\n')}\n`);
      const server = t.server(['caddy', 'run', '--config', at(t, 'Caddyfile'), '--adapter', 'caddyfile'], {
        env: { HOME: t.directory, XDG_DATA_HOME: t.directory, XDG_CONFIG_HOME: t.directory },
      });
      await t.listening(port);
      await fetchAndLoad(t, `http://${t.host}:${port}`, hashes);
      await endsWell(server);
    },
  },
] satisfies Case[];
