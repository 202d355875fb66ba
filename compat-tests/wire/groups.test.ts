// SPDX-License-Identifier: BSD-3-Clause
/** Multicast and broadcast over a TAP, both ways; membership as the kernel at the other end sees it in IGMP and MLD. */
import { execFileSync } from 'node:child_process';
import { FAR, NEAR } from '../lib/link.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';
import { Datagrams, type Where } from './dgram.js';

const GROUP = '239.1.2.3';
const GROUP6 = 'ff15::1:3';
const SCOPE = 0x5a530000;
const ENDS: readonly (readonly [string, Where])[] = [
  ['joins under Z-stack', 'near'],
  ['joins on the kernel', 'far'],
];
const ERROR = (name: string) => ({ error: name });

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack });
  const start = (where: Where) => Datagrams.start(stage, where);
  const own = (where: Where) => (where === 'near' ? NEAR : FAR);
  const other = (where: Where): Where => (where === 'near' ? 'far' : 'near');
  /** The interface's number, as a program of that end names it. */
  const index = (where: Where): number =>
    where === 'near'
      ? SCOPE + 1
      : ((
          JSON.parse(
            execFileSync('ip', ['-n', stage.link.far.name, '-j', 'link', 'show', 'far0'], { encoding: 'utf8' }),
          ) as { ifindex: number }[]
        )[0]?.ifindex ?? 0);

  async function counter(name: string): Promise<number> {
    return (await stage.engine.status()).stack?.[name] ?? 0;
  }

  describe.each(ENDS)('%s', (_, where) => {
    test('IPv4: join, receive with TTL and destination, leave', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      const before = await counter('igmp_reports_tx');
      // FreeBSD takes its time, a random one; what is left before it was told is not told at all.
      const reported = async (count: number) => {
        if (where === 'near')
          await until('reports are sent', async () => (await counter('igmp_reports_tx')) - before >= count);
      };
      const mreq = [GROUP, own(where)];
      await p.calls(['open', 'b', 4]);
      const port = await p.call('bind', 'b', '0.0.0.0', 0);
      await p.calls(
        ['set', 'b', 'IPPROTO_IP', 'IP_PKTINFO', 1],
        ['set', 'b', 'IPPROTO_IP', 'IP_RECVTTL', 1],
        ['set', 'b', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', mreq],
      );
      expect(await p.call('set', 'b', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', mreq)).toEqual(ERROR('EADDRINUSE'));
      await q.calls(
        ['open', 'a', 4],
        ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_IF', [own(other(where))]],
        ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_TTL', 3],
        ['sendto', 'a', 'to all', GROUP, port],
      );
      const got = await p.call('recv', 'b');
      expect(got).toMatchObject({
        data: 'to all',
        TTL: 3,
        PKTINFO: { index: index(where), spec: own(where), dst: GROUP },
      });
      await reported(1);
      await p.calls(['set', 'b', 'IPPROTO_IP', 'IP_DROP_MEMBERSHIP', mreq]);
      expect(await p.call('set', 'b', 'IPPROTO_IP', 'IP_DROP_MEMBERSHIP', mreq)).toEqual(ERROR('EADDRNOTAVAIL'));
      await q.calls(['sendto', 'a', 'to nobody', GROUP, port]);
      expect(await p.call('nothing', 'b', 0.3)).toBe('ok');
      await reported(2);
    });

    test('IPv6: join by the number of the interface, hop limit', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      const mreq = [GROUP6, index(where)];
      await p.calls(['open', 'b', 6]);
      const port = await p.call('bind', 'b', '::', 0);
      await p.calls(
        ['set', 'b', 'IPPROTO_IPV6', 'IPV6_RECVHOPLIMIT', 1],
        ['set', 'b', 'IPPROTO_IPV6', 'IPV6_JOIN_GROUP', mreq],
      );
      await q.calls(
        ['open', 'a', 6],
        ['set', 'a', 'IPPROTO_IPV6', 'IPV6_MULTICAST_IF', index(other(where))],
        ['set', 'a', 'IPPROTO_IPV6', 'IPV6_MULTICAST_HOPS', 5],
        ['sendto', 'a', 'to all', GROUP6, port],
      );
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'to all', HOPLIMIT: 5 });
      await p.calls(['set', 'b', 'IPPROTO_IPV6', 'IPV6_LEAVE_GROUP', mreq], ['close', 'b']);
    });

    test('IPv4: members at the sender get it too, unless IP_MULTICAST_LOOP is off', async () => {
      const p = await start(where);
      await p.calls(
        ['open', 'b', 4],
        ['open', 'c', 4],
        ['set', 'b', 'SOL_SOCKET', 'SO_REUSEADDR', 1],
        ['set', 'c', 'SOL_SOCKET', 'SO_REUSEADDR', 1],
      );
      const port = await p.call('bind', 'b', '0.0.0.0', 0);
      await p.calls(['bind', 'c', GROUP, port]);
      await p.calls(['set', 'b', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', [GROUP, own(where)]]);
      await p.calls(
        ['open', 'a', 4],
        ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_IF', [own(where)]],
        ['sendto', 'a', 'loop', GROUP, port],
      );
      for (const name of ['b', 'c'])
        expect(await p.call('recv', name)).toMatchObject({ data: 'loop', from: [own(where), expect.any(Number)] });
      await p.calls(['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_LOOP', 0], ['sendto', 'a', 'no loop', GROUP, port]);
      expect(await p.call('nothing', 'b', 0.2)).toBe('ok');
      // Only of groups that the socket joined itself.
      await p.calls(
        ['set', 'c', 'IPPROTO_IP', 'IP_MULTICAST_ALL', 0],
        ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_LOOP', 1],
        ['sendto', 'a', 'joined', GROUP, port],
      );
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'joined' });
      expect(await p.call('nothing', 'c', 0.2)).toBe('ok');
    });

    test('IPv4: from one source only', async () => {
      const [p, q] = [await start(where), await start(other(where))];
      await p.calls(['open', 'b', 4]);
      const port = await p.call('bind', 'b', '0.0.0.0', 0);
      const from = (source: string) =>
        ['set', 'b', 'IPPROTO_IP', 'IP_ADD_SOURCE_MEMBERSHIP', [GROUP, own(where), source]] as const;
      await p.calls(from('192.0.2.99'));
      await q.calls(
        ['open', 'a', 4],
        ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_IF', [own(other(where))]],
        ['sendto', 'a', 'no', GROUP, port],
      );
      expect(await p.call('nothing', 'b', 0.3)).toBe('ok');
      await p.calls(from(own(other(where))));
      await q.calls(['sendto', 'a', 'yes', GROUP, port]);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'yes' });
    });

    test.each(['192.0.2.255', '255.255.255.255'])('broadcast to %s', async (to) => {
      const [p, q] = [await start(where), await start(other(where))];
      await p.calls(['open', 'b', 4], ['set', 'b', 'IPPROTO_IP', 'IP_PKTINFO', 1]);
      const port = await p.call('bind', 'b', '0.0.0.0', 0);
      await q.calls(['open', 'a', 4]);
      await q.call('bind', 'a', own(other(where)), 0);
      expect(await q.call('sendto', 'a', 'x', to, port)).toEqual(ERROR('EACCES'));
      await q.calls(['set', 'a', 'SOL_SOCKET', 'SO_BROADCAST', 1]);
      await q.calls(['sendto', 'a', 'to all', to, port]);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'to all', PKTINFO: { spec: own(where), dst: to } });
    });
  });

  test('a socket that names no interface joins where the way is: here only the port', async () => {
    const [p, far] = [await start('near'), await start('far')];
    await p.calls(['open', 'b', 4], ['set', 'b', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', [GROUP, '0.0.0.0']]); // before it is bound
    const port = await p.call('bind', 'b', '0.0.0.0', 0);
    await far.calls(
      ['open', 'a', 4],
      ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_IF', [FAR]],
      ['sendto', 'a', 'found', GROUP, port],
    );
    expect(await p.call('recv', 'b')).toMatchObject({ data: 'found' });
    const joined = await far.call('open', 'c', 4);
    expect(joined).toBe('ok');
    const back = await far.call('bind', 'c', '0.0.0.0', 0);
    await far.calls(['set', 'c', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', [GROUP, FAR]]);
    await p.calls(['sendto', 'b', 'back', GROUP, back]);
    expect(await far.call('recv', 'c')).toMatchObject({ data: 'back', from: [NEAR, port] });
  });
});

/** A program that knows only the kernel's interface means the port that takes its packets. */
describeOnStacks([['af_packet'], ['af_xdp']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });

  test('groups and devices by the name of the interface', async () => {
    const [p, far] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, 'far')];
    const [near0] = (await p.call('index', 'near0')) as [number];
    const [far0] = (await far.call('index', 'far0')) as [number];
    await p.calls(['open', 'b', 4], ['set', 'b', 'SOL_SOCKET', 'SO_BINDTODEVICE', 'near0']);
    const port = await p.call('bind', 'b', '0.0.0.0', 0);
    await p.calls(['set', 'b', 'IPPROTO_IP', 'IP_ADD_MEMBERSHIP', [GROUP, '0.0.0.0', near0]]);
    await far.calls(['open', 'a', 4], ['set', 'a', 'IPPROTO_IP', 'IP_MULTICAST_IF', [FAR]]);
    await far.calls(['sendto', 'a', 'group', GROUP, port], ['sendto', 'a', 'plain', NEAR, port]);
    expect(await p.call('recv', 'b')).toMatchObject({ data: 'group' });
    expect(await p.call('recv', 'b')).toMatchObject({ data: 'plain' });
    await p.calls(['open', 'c', 6], ['set', 'c', 'IPPROTO_IPV6', 'IPV6_JOIN_GROUP', [GROUP6, near0]]);
    const port6 = await p.call('bind', 'c', '::', 0);
    await far.calls(['open', 'd', 6], ['set', 'd', 'IPPROTO_IPV6', 'IPV6_MULTICAST_IF', far0]);
    await far.calls(['sendto', 'd', 'group', GROUP6, port6]);
    expect(await p.call('recv', 'c')).toMatchObject({ data: 'group' });
    // Once each: not by the kernel, too.
    expect(await p.call('nothing', 'b', 0.2)).toBe('ok');
    expect(await p.call('nothing', 'c', 0.2)).toBe('ok');
  });
});
