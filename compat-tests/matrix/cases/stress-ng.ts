// SPDX-License-Identifier: BSD-3-Clause
/** stress-ng's network stressors, each a number of operations: it checks what it gets (`--verify`) and says when it fails. */
import { assert, type Case } from '../lib/kit.js';

const STRESSORS: readonly (readonly [string, readonly string[], number])[] = [
  ['sock', ['--sock', '2', '--sock-ops', '200'], 2],
  ['sock-ipv6', ['--sock', '1', '--sock-ops', '100', '--sock-domain', 'ipv6'], 1],
  ['sock-sendmmsg', ['--sock', '1', '--sock-ops', '100', '--sock-opts', 'sendmmsg'], 1],
  ['sockmany', ['--sockmany', '1', '--sockmany-ops', '200'], 100],
  ['epoll', ['--epoll', '1', '--epoll-ops', '500', '--epoll-domain', 'ipv4'], 10],
  ['udp', ['--udp', '2', '--udp-ops', '500'], 0],
  ['udp-flood', ['--udp-flood', '1', '--udp-flood-ops', '2000'], 0],
  ['sockabuse', ['--sockabuse', '1', '--sockabuse-ops', '50'], 1],
];

export default STRESSORS.map(([name, flags, connections]): Case => ({
  ...{ program: 'stress-ng', name, needs: ['stress-ng'], backends: ['kernel', 'same-host'] },
  quick: name === 'sock',
  least: { connections, bytes: name === 'epoll' || name === 'udp-flood' ? 0 : 1 },
  async run(t) {
    const port = await t.port();
    const kind = flags[0]?.slice(2) ?? '';
    const at = ['sock', 'sockmany', 'epoll', 'udp', 'sockabuse'].includes(kind) ? [`--${kind}-port`, `${port}`] : [];
    const command = ['stress-ng', '--verify', '--timeout', '40', '--temp-path', t.directory, ...flags, ...at];
    const { stdout, stderr } = await t.ok(command, { timeoutMs: 55_000 });
    assert.match(stdout + stderr, /successful run completed/);
    assert.doesNotMatch(stdout + stderr, /\bfail(ed)?:/);
  },
}));
