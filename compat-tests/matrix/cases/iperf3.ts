// SPDX-License-Identifier: BSD-3-Clause
import { assert, type Case, type Ground } from '../lib/kit.js';

interface Report {
  readonly error?: string;
  readonly end: { readonly sum?: { bytes: number }; readonly sum_received?: { bytes: number } };
}

async function iperf(t: Ground, flags: readonly string[]): Promise<void> {
  const port = await t.port();
  const server = t.server(['iperf3', '-s', '-B', t.host, '-p', `${port}`, '--forceflush']);
  await server.says(/listening/);
  const { status, stdout } = await t
    .client(['iperf3', '-c', t.host, '-p', `${port}`, '-t', '1', '--json', ...flags])
    .ended(30_000);
  const report = JSON.parse(stdout) as Report;
  assert.deepEqual([report.error, status], [undefined, 0]);
  const bytes = report.end.sum?.bytes ?? report.end.sum_received?.bytes ?? 0;
  assert.ok(bytes > 100_000, `${bytes} bytes`);
}

const MODES: readonly (readonly [string, 'in' | 'out', readonly string[]])[] = [
  ['forwards', 'in', []],
  ['forwards-client', 'out', []],
  ['backwards', 'in', ['-R']],
  ['backwards-client', 'out', ['-R']],
  ['both-ways', 'in', ['--bidir']],
  ['four-streams', 'in', ['-P4']],
  ['zero-copy', 'out', ['-Z']],
  ['datagrams', 'in', ['-u', '-b', '30M', '-l', '1400']],
  ['datagrams-backwards', 'in', ['-u', '-b', '30M', '-l', '1400', '-R']],
];

export default MODES.map(([name, wire, flags]): Case => ({
  ...{ program: 'iperf3', name, wire, needs: ['iperf3'], quick: name === 'both-ways' || name === 'datagrams' },
  least: { connections: 1, bytes: 100_000 },
  run: (t) => iperf(t, flags),
}));
