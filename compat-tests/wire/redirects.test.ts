// SPDX-License-Identifier: BSD-3-Clause
/** A router, Linux, that names a better one on the same link (ICMP and ICMPv6 redirects): the engine goes there from then on. */
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { NetworkNamespace } from '../lib/netns.js';
import { useStage } from '../lib/stage.js';
import { sleep, until } from '../lib/wait.js';
import { Datagrams } from './dgram.js';

/** The second router, and what only it leads to. */
const SECOND = '192.0.2.3';
const SECOND6 = '2001:db8::3';
const BEYOND = '198.51.100.1';
const BEYOND6 = '2001:db8:99::1';
/** Redirects of IPv6 come from and name link-local addresses. */
const LINK6 = 'fe80::1';
const SECOND_LINK6 = 'fe80::3';

describe('a router that redirects', () => {
  const stage = useStage({ wire: 'af_packet' });
  let second: NetworkNamespace;

  /** The first router and a switch, on which the engine, both routers and nobody else are. */
  function routers(): void {
    const { far } = stage.link;
    far.ip('link', 'add', 'br0', 'type', 'bridge');
    far.ip('link', 'add', 'to2', 'type', 'veth', 'peer', 'name', 'r2', 'netns', second.name);
    far.ip('addr', 'flush', 'dev', 'far0');
    for (const port of ['far0', 'to2']) far.ip('link', 'set', port, 'master', 'br0', 'up');
    // The link-local address given below is its only one: a redirect is believed from the gateway's address alone.
    far.ip('link', 'set', 'br0', 'addrgenmode', 'none', 'up');
    second.ip('link', 'set', 'r2', 'up');
    const addresses = [
      [far, 'br0', `${FAR}/24`, `${FAR6}/64`, `${LINK6}/64`],
      [second, 'r2', `${SECOND}/24`, `${SECOND6}/64`, `${SECOND_LINK6}/64`],
      [second, 'lo', `${BEYOND}/32`, `${BEYOND6}/128`],
    ] as const;
    for (const [namespace, device, ...own] of addresses)
      for (const address of own)
        namespace.ip('addr', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
    far.ip('route', 'add', `${BEYOND}/32`, 'via', SECOND);
    far.ip('route', 'add', `${BEYOND6}/128`, 'via', SECOND_LINK6, 'dev', 'br0');
    const settings = ['ip_forward', 'conf.all.send_redirects', 'conf.br0.send_redirects'].map((s) => `net.ipv4.${s}=1`);
    far.run('sysctl', '-qw', ...settings, 'net.ipv6.conf.all.forwarding=1');
  }

  beforeAll(async () => {
    second = new NetworkNamespace();
    routers();
    await stage.engine.stop();
    const { port, ...rest } = stage.link.engine();
    if (port === undefined) throw new Error('a link has a port');
    const own = `ip=${NEAR}/24,gateway=${FAR},ip6=${NEAR6}/64,gateway6=${LINK6}`;
    await stage.startEngine({ ...rest, port: { ...port, port: `net_af_packet0,${own}` } });
  }, 60_000);
  afterAll(() => second.remove());

  /** Packets that the first router has passed on. */
  function forwarded(family: 4 | 6): number {
    const text = stage.link.far.run('cat', family === 4 ? '/proc/net/snmp' : '/proc/net/snmp6');
    if (family === 6) return Number(/^Ip6OutForwDatagrams\s+(\d+)/m.exec(text)?.[1]);
    const [names = [], values = []] = [...text.matchAll(/^Ip: (.*)$/gm)].map((line) => (line[1] ?? '').split(' '));
    return Number(values[names.indexOf('ForwDatagrams')]);
  }

  test.each([
    [4, BEYOND],
    [6, BEYOND6],
  ] as const)(
    'IPv%d: the better hop is taken, and the first router passes nothing on any more',
    async (family, host) => {
      const [p, beyond] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, second)];
      await beyond.calls(['open', 'b', family]);
      const port = await beyond.call('bind', 'b', host, 0);
      await p.calls(['open', 'a', family], ['connect', 'a', host, port]);
      const arrives = async (text: string) => {
        await p.calls(['send', 'a', text]);
        expect(await beyond.call('recv', 'b')).toMatchObject({ data: text });
      };
      const taken = async () => (await stage.engine.status()).stack?.['redirects_taken'] ?? 0;
      const [before, passed] = [await taken(), forwarded(family)];
      // The first one has the engine ask for the new hop; Linux says it again, ever more rarely.
      await until('the redirect is believed', async () => {
        await arrives('by the first router');
        await sleep(100);
        return (await taken()) > before;
      });
      const first = forwarded(family);
      expect(first).toBeGreaterThan(passed);
      for (let i = 0; i < 5; i++) await arrives(`by the second ${i}`);
      expect(forwarded(family)).toBe(first);
    },
    30_000,
  );
});
