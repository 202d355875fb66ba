// SPDX-License-Identifier: BSD-3-Clause
/** `--fstack-sysctl`: FreeBSD's own choice of TCP and congestion control, and whatever else a sysctl of it sets. */
import { freePort } from '../lib/ports.js';
import { describeOnFstack } from '../lib/stacks.js';
import { type Direction, type Stage, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

const BYTES = 8_000_000;
const FUNCTIONS = 'net.inet.tcp.functions_default';
const ALGORITHM = 'net.inet.tcp.cc.algorithm';

/** What is set, which of FreeBSD's TCPs serves connections then, by which congestion control. */
const CHOICES = [
  [{}, 'freebsd', 'cubic'],
  [{ [FUNCTIONS]: 'rack' }, 'rack', 'cubic'],
  [{ [FUNCTIONS]: 'bbr' }, 'bbr', 'cubic'],
  [{ [ALGORITHM]: 'htcp', 'net.inet.tcp.reass.maxqueuelen': '500' }, 'freebsd', 'htcp'],
  // Set at boot only.
  [{ 'net.inet.tcp.reass.maxsegments': '30000' }, 'freebsd', 'cubic'],
] as const satisfies readonly (readonly [Record<string, string>, string, string])[];

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];

/** What the engine says of a connection that has carried bytes both ways, and is open still; and its congestion control as its program is told. */
async function carried(stage: Stage, direction: Direction, ...options: readonly string[]) {
  const ends = stage.ends(direction);
  const port = await freePort();
  const command = (role: string) => [PYTHON, wireProgram('bulk.py'), role, ends.host, `${port}`, `${BYTES}`];
  const ours = (end: Direction) => (direction === end ? options : []);
  const server = ends.server([...command('serve'), ...ours('in')], { input: 'open' });
  await server.says(/ready/);
  const client = ends.client([...command('connect'), ...ours('out')], { input: 'open' });
  await client.says(/right/, 30_000);
  await server.says(/right/);
  const { wire } = await stage.engine.status();
  for (const end of [client, server]) end.endInput();
  for (const end of [client, server]) {
    const { status, stderr } = await end.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  }
  return { wire, told: (direction === 'in' ? server : client).stdout.trim().split(' ').at(-1) };
}

describeOnFstack('over the wire', () => {
  describe.each(CHOICES)('%j', (sysctls, functions, congestion) => {
    const stage = useStage({ wire: 'tap', stack: 'fstack', engine: { sysctls } });

    test('is told by the status', async () => {
      expect((await stage.engine.status()).wire?.sysctls).toEqual(sysctls);
    });

    test.each(DIRECTIONS)(
      'bytes are right: %s',
      async (_, direction) => {
        const { wire, told } = await carried(stage, direction);
        expect(told).toBe(congestion);
        expect(wire?.congestion).toEqual({ [congestion]: 1 });
        expect(wire?.tcp_functions?.[functions]).toBeGreaterThanOrEqual(1);
        await until('the connection is gone', async () => (await stage.engine.status()).wire?.connections === 0);
      },
      60_000,
    );
  });

  describe('TCP_CONGESTION', () => {
    const stage = useStage({ wire: 'tap', stack: 'fstack' });

    test.each([
      ['reno', 'newreno'],
      ['cubic', 'cubic'],
    ])("%s is FreeBSD's %s", async (asked, had) => {
      const { wire, told } = await carried(stage, 'out', asked);
      expect(told).toBe(asked);
      expect(wire?.congestion).toEqual({ [had]: 1 });
    });
  });

  describe('what cannot be set ends the start, by its name', () => {
    const stage = useStage({ wire: 'tap', stack: 'fstack' });

    test.each([
      ['net.inet.tcp.nothing', '1', 'this libfstack has no such sysctl'],
      ['kern.ipc.maxsockbuf', 'large', 'expected a whole number in its range'],
      ['net.inet.tcp.sack.enable', '99999999999', 'expected a whole number in its range'],
      [ALGORITHM, 'vegas', 'No such process'],
      [FUNCTIONS, 'nothing', 'No such file or directory'],
      ['kern.hz', '1000', 'the engine ticks this clock'],
    ])('%s=%s', async (name, value, why) => {
      await stage.engine.stop();
      await stage.link.gone();
      await expect(stage.startEngine({ sysctls: { [name]: value } })).rejects.toThrow(
        `error ZS2132: --fstack-sysctl ${name}=${value}: ${why}`,
      );
      await stage.link.gone();
      await stage.startEngine();
    });
  });
});
