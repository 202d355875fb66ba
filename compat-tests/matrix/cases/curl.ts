// SPDX-License-Identifier: BSD-3-Clause
/** curl as the program under test: over the wire it is the one under Z-stack. */
import { assert, at, content, fetchFiles, makeFile, nginx, NGINX, sha256, type Case, type Ground } from '../lib/kit.js';

const needs = ['curl', NGINX];
const SIZES = Array.from({ length: 30 }, (_, i) => 1 + i * 37_003);

async function put(t: Ground, flags: readonly string[]): Promise<void> {
  const { port } = await nginx(t, {
    server: 'client_max_body_size 100m; location /up/ { dav_methods PUT; create_full_put_path on; }',
  });
  makeFile(at(t, 'data'), 8_000_001);
  await t.prepare(['chmod', '777', at(t, 'html')]);
  await t.ok(['curl', '-sS', '--fail', ...flags, '-T', at(t, 'data'), `http://${t.host}:${port}/up/data`]);
  assert.equal(await sha256(at(t, 'html/up/data')), await sha256(at(t, 'data')));
}

export default [
  {
    program: 'curl',
    name: 'parallel',
    needs,
    wire: 'out',
    quick: true,
    least: { connections: 5, bytes: 16_000_000 },
    async run(t) {
      const hashes = await content(t, SIZES);
      const { port } = await nginx(t);
      await fetchFiles(t, `http://${t.host}:${port}`, hashes, ['--parallel', '--parallel-immediate']);
    },
  },
  {
    program: 'curl',
    name: 'put-expect-100',
    needs,
    wire: 'out',
    least: { bytes: 8_000_001 },
    run: (t) => put(t, []),
  },
  {
    program: 'curl',
    name: 'put-rate-limited',
    needs,
    wire: 'out',
    least: { bytes: 8_000_001 },
    run: (t) => put(t, ['--limit-rate', '6M', '-H', 'Expect:']),
  },
  {
    program: 'curl',
    name: 'ranges',
    needs,
    wire: 'out',
    least: { connections: 3, bytes: 3_000_000 },
    async run(t) {
      const hashes = await content(t, [3_000_000]);
      const { port } = await nginx(t);
      const url = `http://${t.host}:${port}/3000000`;
      const part = (i: number) => `${i * 1_000_000}-${(i + 1) * 1_000_000 - 1}`;
      for (let i = 0; i < 3; i++)
        await t.ok(['sh', '-c', 'curl -sS --fail -r "$1" "$2" >>"$3"', 'sh', part(i), url, at(t, 'joined')]);
      assert.equal(await sha256(at(t, 'joined')), hashes.get(3_000_000));
    },
  },
  {
    program: 'curl',
    name: 'refused',
    needs,
    wire: 'out',
    least: { connections: 1 },
    async run(t) {
      const { port } = await nginx(t);
      const nobody = await t.port();
      const refused = await t.client(['curl', '-sS', `http://${t.host}:${nobody}/`]).ended();
      assert.equal(refused.status, 7, refused.stderr);
      assert.match(refused.stderr, /Connection refused|Couldn't connect|Failed to connect/);
      await t.ok(['curl', '-sS', '--fail', `http://${t.host}:${port}/hello`]);
    },
  },
] satisfies Case[];
