// SPDX-License-Identifier: BSD-3-Clause
/** Who serves which address; names, refusals, closes; datagrams of every size; ICMP. */
import { join } from 'node:path';
import { datagramBytes, Meter, socketsOf, WireMeter } from '../lib/accel.js';
import { FAR, NEAR } from '../lib/link.js';
import { program, ROOT } from '../lib/paths.js';
import { freePort } from '../lib/ports.js';
import type { Program } from '../lib/processes.js';
import { describeOnStacks } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { wireProgram } from './wire.js';

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];

interface Names {
  readonly accepted: [string, number];
  readonly local: [string, number];
  readonly peer: [string, number];
}

interface Connected {
  readonly local: [string, number];
  readonly peer: [string, number];
  readonly said: string;
}

/** Under net_af_packet the kernel reassembles what comes in fragments, and the port cannot take that: it says so in its log. */
const KINDS = [
  ['tap', 65_507],
  ['af_packet', 1472],
  ['af_xdp', 65_507],
] as const;

describeOnStacks(KINDS, (stack, kind, largest) => {
  const stage = useStage({ wire: kind, stack });
  const upTo = { env: { TEST_LARGEST: `${largest}` } };
  const datagrams = largest < 60_000 ? 5 : 10;
  const meter = () => WireMeter.start(stage.engines);
  const command = (script: string, what: string, host: string, port: number) => [
    ...[PYTHON, wireProgram(script), what, host, `${port}`],
  ];
  const parse = (text: string): unknown => JSON.parse(text);

  /** A server at `host`, of Z-stack. */
  async function answering(what: string, host: string): Promise<{ port: number; server: Program }> {
    const port = await freePort();
    const server = stage.wrapped(command('answer.py', what, host, port), { input: 'open' });
    await server.says(/ready/);
    return { port, server };
  }

  /** What a client says: under Z-stack, on the kernel of the same host, or at the far end. */
  async function asking(who: 'wrapped' | 'kernel' | 'far', what: string, host: string, port: number): Promise<unknown> {
    const client = stage[who](command('ask.py', what, host, port), upTo);
    const { status, stdout, stderr } = await client.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return parse(stdout);
  }

  test('a wildcard listener serves this engine, this kernel and the wire', async () => {
    const { port } = await answering('names', '');
    const local = await Meter.start(stage.engine);
    const wire = await meter();
    const ask = async (who: 'wrapped' | 'kernel' | 'far', host: string) => {
      const { local: mine, peer, said } = (await asking(who, 'connect', host, port)) as Connected;
      const names = parse(said) as Names;
      expect(peer).toEqual([host, port]);
      expect(names.local).toEqual([host, port]);
      expect([names.accepted, names.peer]).toEqual([mine, mine]);
      return mine[0];
    };
    expect(await ask('wrapped', '127.0.0.1')).toBe('127.0.0.1');
    expect((await local.growth()).accepts).toBe(1);
    expect(await ask('kernel', '127.0.0.1')).toBe('127.0.0.1');
    expect((await local.growth()).accepts).toBe(1);
    // Its own address is this host: by shared memory.
    expect(await ask('wrapped', NEAR)).toBe(NEAR);
    expect((await local.growth()).accepts).toBe(2);
    expect((await wire.growth())['tcp_opened_passive']).toBe(0);
    expect(await ask('far', NEAR)).toBe(FAR);
    expect((await wire.growth())['tcp_opened_passive']).toBe(1);
    expect((await wire.growth())['wire_connections_accepted']).toBe(1);
  }, 30_000);

  test("a listener at the engine's address says so, and is not at 127.0.0.1", async () => {
    const { port, server } = await answering('names', NEAR);
    expect(await server.says(/ready (.*)/)).toContain(JSON.stringify([NEAR, port]).replace(',', ', '));
    const wire = await meter();
    expect(await asking('far', 'connect', NEAR, port)).toMatchObject({ peer: [NEAR, port] });
    expect((await wire.growth())['tcp_opened_passive']).toBe(1);
    expect(await asking('wrapped', 'connect', NEAR, port)).toMatchObject({ peer: [NEAR, port] });
    expect((await wire.growth())['tcp_opened_passive']).toBe(1);
    for (const who of ['wrapped', 'kernel'] as const)
      expect(await asking(who, 'connect', '127.0.0.1', port)).toBe('ECONNREFUSED');
  }, 30_000);

  test('where nobody listens, a connection is refused', async () => {
    const wire = await meter();
    const port = await freePort();
    expect(await asking('far', 'connect', NEAR, port)).toBe('ECONNREFUSED');
    if (stack === 'native') expect((await wire.growth())['tcp_rst_tx']).toBe(1);
    expect(await asking('wrapped', 'connect', FAR, port)).toBe('ECONNREFUSED');
    if (stack === 'native') expect((await wire.growth())['tcp_rst_rx']).toBe(1);
    expect(await asking('wrapped', 'connect', NEAR, port)).toBe('ECONNREFUSED');
  }, 30_000);

  describe.each(DIRECTIONS)('%s', (_, direction) => {
    const ends = () => stage.ends(direction);

    async function conversation(server: string[] | string, what: string): Promise<unknown> {
      const port = await freePort();
      const { host } = ends();
      const serving = Array.isArray(server)
        ? ends().server([...server, `${port}`], { env: { PORT: `${port}`, HOST: host, TEST_HOST: host } })
        : ends().server(command('answer.py', server, host, port));
      await serving.says(/ready|listening/);
      return parse((await ends().ok(command('ask.py', what, host, port), upTo)).stdout);
    }

    const ECHO = [process.execPath, join(ROOT, 'apps/echo-node/server.js')];

    test('half a connection is closed while the other half goes on', async () => {
      const wire = await meter();
      expect(await conversation(ECHO, 'half-close')).toBe(true);
      expect(await conversation('late', 'late-answer')).toBe('after question');
      await wire.used(2, 6_000_000);
    }, 30_000);

    test('SO_LINGER 0 resets', async () => {
      const wire = await meter();
      expect(await conversation('reset', 'reset')).toBe('ECONNRESET');
      const growth = await wire.growth();
      // FreeBSD does not count them.
      if (stack === 'native') expect(growth[direction === 'in' ? 'tcp_rst_tx' : 'tcp_rst_rx']).toBe(1);
    }, 30_000);

    test.each([['udp'], ['udp-connected']])(
      'datagrams of every size come back: %s',
      async (what) => {
        const wire = await meter();
        const answer = await conversation([PYTHON, program('py_servers.py'), 'udp'], what);
        const local = what === 'udp' ? true : [direction === 'in' ? FAR : NEAR, expect.any(Number)];
        expect(answer).toEqual({ wrong: [], local });
        const growth = await wire.growth();
        expect(growth['udp_rx']).toBe(datagrams);
        expect(growth['udp_tx']).toBe(datagrams);
        expect(growth['port_bytes']).toBeGreaterThan(2 * (largest < 60_000 ? 3044 : 106_000));
      },
      30_000,
    );

    test('a datagram to a port without a socket: ECONNREFUSED', async () => {
      const wire = await meter();
      const port = await freePort();
      const { stdout } = await ends().ok(command('ask.py', 'udp-refused', ends().host, port));
      expect(parse(stdout)).toBe('ECONNREFUSED');
      const growth = await wire.growth();
      if (direction === 'in') expect(growth['udp_no_port']).toBe(1);
      else expect(growth['icmp_rx']).toBe(1);
    }, 30_000);
  });

  test('one datagram socket serves this host and the wire', async () => {
    const port = await freePort();
    const server = stage.wrapped([PYTHON, program('py_servers.py'), 'udp', `${port}`], { env: { TEST_HOST: '' } });
    await server.says(/ready/);
    const local = { wrong: [], local: true };
    const wire = await meter();
    expect(await asking('wrapped', 'udp', '127.0.0.1', port)).toEqual(local);
    expect((await wire.growth())['udp_rx']).toBe(0);
    const before = await datagramBytes(stage.engine, server.pid);
    expect(before).toBeGreaterThan(largest < 60_000 ? 3044 : 106_000);
    expect(await asking('kernel', 'udp', '127.0.0.1', port)).toEqual(local);
    expect((await wire.growth())['udp_rx']).toBe(0);
    expect(await asking('far', 'udp', NEAR, port)).toEqual(local);
    expect((await wire.growth())['udp_rx']).toBe(datagrams);
    expect(await asking('wrapped', 'udp', '127.0.0.1', port)).toEqual(local);
  }, 30_000);

  test('ICMP echo is answered, fragments included', async () => {
    const wire = await meter();
    const sizes = [0, 56, 1472, 1473, 20_000, 60_000].filter((size) => size <= largest);
    const { stdout } = await stage.ends('in').ok([PYTHON, wireProgram('ping.py'), NEAR, ...sizes.map(String)]);
    expect(stdout).toBe(sizes.map((size) => `${size} ok\n`).join(''));
    const growth = await wire.growth();
    expect(growth['icmp_echo_replies']).toBe(sizes.length);
    expect(growth['ip_reassembled']).toBe(sizes.filter((size) => size > 1472).length);
  }, 30_000);

  test('connections are named by why', async () => {
    const { port, server } = await answering('hold', '');
    server.write('go\n');
    const far = stage.far([PYTHON, program('talk.py'), `${port}`], { input: 'open', env: { TEST_HOST: NEAR } });
    far.write('open a\nsay a hello\n');
    await far.says(/say a ok/);
    const [connection] = await socketsOf(
      stage.engine,
      server.pid,
      'a connection over the wire',
      (s) => s.verdict === 'wire',
    );
    expect(connection).toMatchObject({
      proto: 'tcp',
      reason: 'WIRE_ROUTE',
      local: `${NEAR}:${port}`,
      bytes_in: 6,
      bytes_out: 6,
    });
    expect(connection?.remote).toMatch(new RegExp(`^${FAR}:\\d+$`));
    const [listener] = await socketsOf(stage.engine, server.pid, 'a listener', (s) => s.verdict === 'both');
    expect(listener?.local).toBe(`0.0.0.0:${port}`);
  }, 30_000);
});
