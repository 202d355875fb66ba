// SPDX-License-Identifier: BSD-3-Clause
/** How connections over the wire begin: towards hosts that are not there, and to listeners that wait for data (TCP_DEFER_ACCEPT). */
import { FAR } from '../lib/link.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { bothEnds, wireProgram } from './wire.js';

const UNREACHABLE = '198.51.100.0/24';
const PROGRAM = [PYTHON, wireProgram('opening.py')];

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack, keys: `route=${UNREACHABLE}@${FAR}` });

  test.each([
    ['IPv4: nobody answers for its address', '192.0.2.77'],
    ['IPv6: nobody answers for its address', '2001:db8::77'],
  ])(
    'a connection is not opened: %s',
    async (_name, host) => {
      const { stdout } = await stage.ends('out').ok([...PROGRAM, 'connect', host, '9']);
      expect(stdout).toBe('EHOSTUNREACH\n');
    },
    30_000,
  );

  test('a connection is not opened: a router says that the host is not reached', async () => {
    stage.link.far.ip('route', 'add', 'unreachable', UNREACHABLE);
    await stage.far(['sysctl', '-qw', 'net.ipv4.ip_forward=1']).ended();
    const { stdout } = await stage.ends('out').ok([...PROGRAM, 'connect', '198.51.100.7', '9']);
    expect(stdout).toBe('EHOSTUNREACH\n');
  }, 30_000);

  describe.each<readonly [string, Direction]>([
    ['served under Z-stack', 'in'],
    ['served by the peer', 'out'],
  ])('TCP_DEFER_ACCEPT %s', (_name, direction) => {
    test('who says something is accepted before who says nothing, who is gone is not', async () => {
      const ends = stage.ends(direction);
      const port = `${await freePort()}`;
      const server = ends.server([...PROGRAM, 'defer', ends.host, port, '3', '2']);
      await server.says(/ready/);
      await ends.ok([...PROGRAM, 'connect', ends.host, port, 'reset']);
      const connect = () => ends.client([...PROGRAM, 'connect', ends.host, port], { input: 'open' });
      const silent = connect();
      await silent.says(/open/);
      const talks = connect();
      await talks.says(/open/);
      talks.write('hello\n');
      const { stdout, stderr } = await server.ended(20_000);
      expect({ stdout, stderr }).toEqual({ stdout: 'ready\nhello\nnothing\n', stderr: '' });
      for (const end of [silent, talks]) end.endInput();
      for (const end of [silent, talks]) expect((await end.ended()).status).toBe(0);
    }, 40_000);

    if (stack === 'fstack' && direction === 'in')
      test('as many as the backlog wait, the oldest give way', async () => {
        const ends = stage.ends(direction);
        const port = `${await freePort()}`;
        const server = ends.server([...PROGRAM, 'defer', ends.host, port, '60', '1']);
        await server.says(/ready/);
        // Three more than there is room for, see the program.
        const { stdout } = await ends.ok([...PROGRAM, 'silent', ends.host, port, '131']);
        expect(JSON.parse(stdout)).toEqual([0, 1, 2]);
        expect((await server.ended()).stdout).toBe('ready\nhello\n');
      }, 30_000);

    test('who is accepted has been heard', async () => {
      const { served } = await bothEnds<{ empty: number }>(stage.ends(direction), 'defer_many.py', '1000');
      expect(served.empty).toBe(0);
    }, 60_000);
  });
});
