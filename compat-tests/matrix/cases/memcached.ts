// SPDX-License-Identifier: BSD-3-Clause
import { program } from '../../lib/paths.js';
import { assert, endsWell, type Case, type Ground } from '../lib/kit.js';

async function values(t: Ground, connections: number, flags: readonly string[]): Promise<void> {
  const port = await t.port();
  const server = t.server(['memcached', '-u', 'nobody', '-l', t.host, '-p', `${port}`, '-m', '256', ...flags]);
  await t.listening(port);
  const command = [process.execPath, program('memcache.mjs'), `${port}`, `${connections}`];
  const { stdout } = await t.ok(command, { env: { TEST_HOST: t.host }, timeoutMs: 40_000 });
  assert.equal(stdout, 'done\n');
  await endsWell(server);
}

const common = { program: 'memcached', needs: ['memcached'], least: { connections: 10, bytes: 20_000_000 } };

export default [
  { ...common, name: 'values', quick: true, run: (t) => values(t, 10, ['-U', '0', '-t', '4']) },
  { ...common, name: 'one-thread', run: (t) => values(t, 20, ['-U', '0', '-t', '1', '-R', '3']) },
] satisfies Case[];
