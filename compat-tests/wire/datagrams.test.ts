// SPDX-License-Identifier: BSD-3-Clause
/**
 * What goes with datagrams over the wire: errors (IP_RECVERR), ancillary data, sources, devices, sizes. The same steps at both ends
 * of a TAP, under Z-stack towards the kernel and on the kernel towards the engine, with one expectation.
 */
import { WireMeter } from '../lib/accel.js';
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { Datagrams, type Where } from './dgram.js';

const SCOPE = 0x5a530000;
const ENDS: readonly (readonly [string, Where])[] = [
  ['under Z-stack', 'near'],
  ['on the kernel', 'far'],
];
const other = (where: Where): Where => (where === 'near' ? 'far' : 'near');
const own = (where: Where) => (where === 'near' ? NEAR : FAR);
const own6 = (where: Where) => (where === 'near' ? NEAR6 : FAR6);
const LEVEL = { 4: 'IPPROTO_IP', 6: 'IPPROTO_IPV6' } as const;

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack });
  const start = (where: Where) => Datagrams.start(stage, where);
  /** Datagrams to one host that wait for its link address. */
  const kept = stack === 'native' ? 4 : 16;

  describe.each(ENDS)('errors %s', (_, where) => {
    const peer = own(other(where));
    const peer6 = own6(other(where));

    test.each([
      [4, peer],
      [6, peer6],
    ] as const)('IPv%i: a connected socket is told that nobody is there', async (family, host) => {
      const p = await start(where);
      await p.calls(['open', 'a', family], ['connect', 'a', host, await freePort()], ['send', 'a', 'hello']);
      expect(await p.call('poll', 'a')).toEqual(['ERR', 'OUT']);
      expect(await p.call('recv', 'a')).toEqual({ error: 'ECONNREFUSED' });
      await p.calls(['send', 'a', 'again']);
      expect(await p.call('poll', 'a')).toEqual(['ERR', 'OUT']);
      expect(await p.call('get', 'a', 'SOL_SOCKET', 'SO_ERROR')).toBe(111);
      expect(await p.call('poll', 'a', 0)).toEqual(['OUT']);
    });

    test.each([
      [4, peer, 'IP_RECVERR', { origin: 2, type: 3, code: 3 }],
      [6, peer6, 'IPV6_RECVERR', { origin: 3, type: 1, code: 4 }],
    ] as const)('IPv%i: who asks for errors gets all of them', async (family, host, option, told) => {
      const p = await start(where);
      const port = await freePort();
      await p.calls(
        ['open', 'a', family],
        ['set', 'a', LEVEL[family], option, 1],
        ['sendto', 'a', 'hello', host, port],
      );
      expect(await p.call('poll', 'a')).toEqual(['ERR', 'OUT']);
      expect(await p.call('recv', 'a')).toEqual({ error: 'ECONNREFUSED' });
      const offender = host;
      const first = { from: [host, port], RECVERR: { error: 'ECONNREFUSED', ...told, info: 0, offender } };
      // RFC 792 asks for 8 bytes of the datagram, others quote more.
      expect(await p.call('errors', 'a')).toMatchObject(first);
      expect(await p.call('errors', 'a')).toEqual({ error: 'EAGAIN' });
      expect(await p.call('poll', 'a', 0)).toEqual(['OUT']);
    });

    test('an unconnected socket that did not ask is not told', async () => {
      const p = await start(where);
      const q = await start(other(where));
      const port = (await q.call('open', 'b', 4)) === 'ok' ? await q.call('bind', 'b', '', 0) : 0;
      await p.calls(
        ['open', 'a', 4],
        ['sendto', 'a', 'lost', peer, await freePort()],
        ['sendto', 'a', 'hello', peer, port],
      );
      expect(await q.call('recv', 'b')).toMatchObject({ data: 'hello' });
      expect(await p.call('poll', 'a', 0.2)).toEqual(['OUT']);
    });

    test.each([
      [4, '192.0.2.77', 'IP_RECVERR', { origin: 2, type: 3, code: 1, offender: own(where) }],
      [6, '2001:db8::77', 'IPV6_RECVERR', { origin: 3, type: 1, code: 3, offender: own6(where) }],
    ] as const)(
      'IPv%i: nobody answers for the address',
      async (family, nobody, option, told) => {
        const p = await start(where);
        await p.calls(
          ['open', 'quiet', family],
          ['connect', 'quiet', nobody, 9],
          ['open', 'a', family],
          ['set', 'a', LEVEL[family], option, 1],
          ['connect', 'a', nobody, 9],
          ['send', 'quiet', 'x'],
          ['send', 'a', 'anyone?'],
        );
        expect(await p.call('poll', 'a', 15)).toEqual(['ERR', 'OUT']);
        expect(await p.call('errors', 'a')).toEqual({
          data: 'anyone?',
          from: [nobody, 9],
          RECVERR: { error: 'EHOSTUNREACH', info: 0, ...told },
        });
        // That is transient, and only told to who asked (RFC 1122 4.1.3.3).
        expect(await p.call('poll', 'quiet', 0.2)).toEqual(['OUT']);
      },
      30_000,
    );

    if (where === 'near')
      test('nobody answers for the address: of many datagrams the latest are told of', async () => {
        const p = await start(where);
        await p.calls(['open', 'a', 4], ['set', 'a', 'IPPROTO_IP', 'IP_RECVERR', 1], ['connect', 'a', '192.0.2.78', 9]);
        const texts = Array.from({ length: kept + 8 }, (_, i) => `number ${i}`);
        await p.calls(...texts.map((text) => ['send', 'a', text] as const));
        expect(await p.call('poll', 'a', 15)).toEqual(['ERR', 'OUT']);
        const told: unknown[] = [];
        for (;;) {
          const error = (await p.call('errors', 'a')) as { data?: string };
          if (error.data === undefined) break;
          told.push(error.data);
        }
        expect(told).toEqual(texts.slice(-kept));
      }, 30_000);

    test('a datagram that is not to be fragmented and is too long', async () => {
      const p = await start(where);
      await p.calls(
        ['open', 'a', 4],
        ['set', 'a', 'IPPROTO_IP', 'IP_RECVERR', 1],
        ['set', 'a', 'IPPROTO_IP', 'IP_MTU_DISCOVER', 2],
        ['connect', 'a', peer, 9],
      );
      expect(await p.call('get', 'a', 'IPPROTO_IP', 'IP_MTU')).toBe(1500);
      expect(await p.call('send', 'a', 1473)).toEqual({ error: 'EMSGSIZE' });
      expect(await p.call('errors', 'a')).toMatchObject({
        RECVERR: { error: 'EMSGSIZE', origin: 1, type: 0, code: 0, info: 1500, offender: null },
      });
      expect(await p.call('send', 'a', 1472)).toBe(1472);
    });
  });

  describe.each(ENDS)('received %s', (_, where) => {
    const index = (answer: unknown, key: string) => (answer as Record<string, { index: number }>)[key]?.index ?? 0;

    test('IPv4: TTL, TOS, destination, set by options and by ancillary data', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      const used = await WireMeter.start(stage.engines);
      await p.calls(['open', 'b', 4]);
      const port = await p.call('bind', 'b', '0.0.0.0', 0);
      for (const option of ['IP_PKTINFO', 'IP_RECVTTL', 'IP_RECVTOS', 'IP_RECVORIGDSTADDR'])
        await p.calls(['set', 'b', 'IPPROTO_IP', option, 1]);
      await q.calls(
        ['open', 'a', 4],
        ['set', 'a', 'IPPROTO_IP', 'IP_TTL', 7],
        ['set', 'a', 'IPPROTO_IP', 'IP_TOS', 0x28],
      );
      await q.calls(['sendto', 'a', 'one', own(where), port]);
      const one = await p.call('recv', 'b');
      const PKTINFO = { spec: own(where), dst: own(where) };
      expect(one).toMatchObject({ data: 'one', TTL: 7, TOS: 0x28, PKTINFO, ORIGDST: [own(where), port] });
      if (where === 'near') expect(index(one, 'PKTINFO')).toBe(SCOPE + 1);
      const control = [
        ['IPPROTO_IP', 'IP_TTL', 9],
        ['IPPROTO_IP', 'IP_TOS', 0x10],
      ];
      expect(await q.call('sendmsg', 'a', 'two', [own(where), port], control)).toBe(3);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'two', TTL: 9, TOS: 0x10 });
      await used.used(0, 0);
    });

    test('IPv6: hop limit, traffic class, destination', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      await p.calls(['open', 'b', 6]);
      const port = await p.call('bind', 'b', '::', 0);
      for (const option of ['IPV6_RECVPKTINFO', 'IPV6_RECVHOPLIMIT', 'IPV6_RECVTCLASS'])
        await p.calls(['set', 'b', 'IPPROTO_IPV6', option, 1]);
      await q.calls(
        ['open', 'a', 6],
        ['set', 'a', 'IPPROTO_IPV6', 'IPV6_UNICAST_HOPS', 33],
        ['set', 'a', 'IPPROTO_IPV6', 'IPV6_TCLASS', 0x20],
        ['sendto', 'a', 'one', own6(where), port],
      );
      expect(await p.call('recv', 'b')).toMatchObject({
        data: 'one',
        HOPLIMIT: 33,
        TCLASS: 0x20,
        PKTINFO6: { dst: own6(where) },
      });
      const control = [
        ['IPPROTO_IPV6', 'IPV6_HOPLIMIT', 44],
        ['IPPROTO_IPV6', 'IPV6_TCLASS', 0x40],
      ];
      expect(await q.call('sendmsg', 'a', 'two', [own6(where), port], control)).toBe(3);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'two', HOPLIMIT: 44, TCLASS: 0x40 });
    });

    test('the source of an answer is chosen by IP_PKTINFO', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      await q.calls(['open', 'a', 4]);
      const port = await q.call('bind', 'a', '', 0);
      await p.calls(['open', 'b', 4]);
      await p.call('bind', 'b', '', 0);
      const pktinfo = [0, own(where), '0.0.0.0'];
      const to = [own(other(where)), port];
      expect(await p.call('sendmsg', 'b', 'x', to, [['IPPROTO_IP', 'IP_PKTINFO', pktinfo]])).toBe(1);
      expect(await q.call('recv', 'a')).toMatchObject({ from: [own(where), expect.any(Number)] });
      const foreign = [0, '198.51.100.1', '0.0.0.0'];
      expect(await p.call('sendmsg', 'b', 'x', to, [['IPPROTO_IP', 'IP_PKTINFO', foreign]])).toEqual({
        error: expect.stringMatching(/EINVAL|ENETUNREACH/) as unknown,
      });
    });
  });

  describe('devices', () => {
    test('a socket that is bound to a port of the engine is reached by that alone', async () => {
      const [p, far] = [await start('near'), await start('far')];
      await p.calls(['open', 'b', 4]);
      expect(await p.call('set', 'b', 'SOL_SOCKET', 'SO_BINDTODEVICE', 'net_tap9')).toEqual({ error: 'ENODEV' });
      await p.calls(['set', 'b', 'SOL_SOCKET', 'SO_BINDTODEVICE', 'net_tap0']);
      expect(await p.call('index', 'net_tap0')).toEqual([SCOPE + 1, 'net_tap0']);
      expect(await p.call('index', 'net_tap9')).toEqual({ error: 'no interface with this name' });
      expect(await p.call('index', 'lo')).toEqual([1, 'lo']);
      expect(await p.call('get', 'b', 'SOL_SOCKET', 'SO_BINDTODEVICE', 32)).toBe('net_tap0');
      const port = await p.call('bind', 'b', '', 0);
      await p.calls(['open', 'local', 4], ['sendto', 'local', 'local', NEAR, port]);
      await far.calls(['open', 'a', 4], ['sendto', 'a', 'wire', NEAR, port]);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'wire' });
      expect(await p.call('nothing', 'b', 0.2)).toBe('ok');
    });

    test.each([4, 6] as const)(
      'IPv%i: SO_REUSEPORT spreads flows from the wire',
      async (family) => {
        const [p, far] = [await start('near'), await start('far')];
        const host = family === 4 ? NEAR : NEAR6;
        let port: unknown = 0;
        for (const name of ['x', 'y']) {
          await p.calls(['open', name, family], ['set', name, 'SOL_SOCKET', 'SO_REUSEPORT', 1]);
          port = await p.call('bind', name, family === 4 ? '0.0.0.0' : '::', port);
        }
        const flows = 24;
        for (let i = 0; i < flows; i++)
          await far.calls(['open', 'f', family], ['sendto', 'f', 'q', host, port], ['close', 'f']);
        let count = { x: 0, y: 0 };
        for (const name of ['x', 'y'] as const)
          while ((await p.call('nothing', name, 0.5)) !== 'ok') count = { ...count, [name]: count[name] + 1 };
        expect(count.x + count.y).toBe(flows);
        expect(Math.min(count.x, count.y)).toBeGreaterThan(flows / 8);
      },
      30_000,
    );
  });
});
