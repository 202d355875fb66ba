// SPDX-License-Identifier: BSD-3-Clause
/** Routes that are not a port's own network: static ones, and those that a router of IPv6 advertises, with an address of its prefix. */
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { describeOnStacks, testExcept } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { Datagrams } from './dgram.js';
import { wireProgram } from './wire.js';

const PREFIX = '2001:db8:77::';
/** How addresses of it begin: a lone zero is written. */
const BEGINS = '2001:db8:77:';
/** Of a prefix that is advertised for seconds only. */
const SHORT = '2001:db8:78::';
const SHORT_BEGINS = '2001:db8:78:';
const BEYOND = '198.51.100.1';
/** Of the same kind over IPv6, and of networks that are on the link though no address here is theirs. */
const BEYOND6 = '2001:db8:99::1';
/** An address that the other end has, too. */
const TAKEN = '192.0.2.9';
const ON_LINK = '203.0.113.1';
const ON_LINK6 = '2001:db8:55::1';

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack });

  /** An engine whose port has these keys. */
  async function restart(keys: string, address = NEAR): Promise<void> {
    await stage.engine.stop();
    await stage.link.gone();
    const { port, ...rest } = stage.link.engine();
    if (port === undefined) throw new Error('a link has a port');
    await stage.startEngine({ ...rest, port: { ...port, port: `net_tap0,ip=${address}/24,${keys}` } });
  }

  beforeAll(async () => {
    await restart(`ra=on,route=198.51.100.0/24@${FAR}`);
    stage.link.far.ip('addr', 'add', `${BEYOND}/32`, 'dev', 'lo');
    stage.link.far.ip('addr', 'add', `${PREFIX}1/64`, 'dev', 'far0', 'nodad');
  }, 60_000);

  const addresses = async (): Promise<readonly string[]> => (await stage.engine.status()).ports?.[0]?.ip ?? [];
  function advertise(lifetime: number, valid: number, prefix = PREFIX): void {
    stage.link.far.run(PYTHON, wireProgram('advertise.py'), 'far0', prefix, `${lifetime}`, `${valid}`);
  }

  test('a static route: a host behind a gateway', async () => {
    const [p, far] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, 'far')];
    await far.calls(['open', 'b', 4]);
    const port = await far.call('bind', 'b', BEYOND, 0);
    await p.calls(['open', 'a', 4], ['connect', 'a', BEYOND, port], ['send', 'a', 'hello']);
    expect(await p.call('name', 'a')).toEqual([NEAR, expect.any(Number)]);
    expect(await far.call('recv', 'b')).toMatchObject({ data: 'hello', from: [NEAR, expect.any(Number)] });
  });

  test('a router: an address of its prefix, reached and used; gone with the router', async () => {
    expect((await addresses()).filter((a) => a.startsWith(BEGINS))).toEqual([]);
    // Again and again: the router's own link-local address is tentative for a while.
    const found = await until('the port has an address', async () => {
      advertise(1800, 3600);
      return (await addresses()).find((a) => a.startsWith(BEGINS));
    });
    const address = found.replace(/\/64$/, '');
    const [p, far] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, 'far')];
    await p.calls(['open', 'b', 6]);
    const port = await p.call('bind', 'b', '::', 0);
    await far.calls(['open', 'a', 6], ['connect', 'a', address, port], ['send', 'a', 'to the new address']);
    expect(await p.call('recv', 'b')).toMatchObject({ data: 'to the new address' });
    await far.calls(['open', 'c', 6]);
    const back = await far.call('bind', 'c', '::', 0);
    await p.calls(['sendto', 'b', 'back', `${PREFIX}1`, back]);
    expect(await far.call('recv', 'c')).toMatchObject({ data: 'back', from: [address, port] });
    expect((await stage.engine.status()).stack?.['ra_rx']).toBeGreaterThan(0);
    advertise(0, 0); // RFC 4862 5.5.3: the address stays for two hours, the router and the link go
    expect(await addresses()).toContain(found);
  }, 30_000);

  test('the lifetimes of a router and of its prefix: both are used, and end', async () => {
    await restart('ra=on'); // the address of the prefix before stays for two hours, and a port has one
    const p = await Datagrams.start(stage, 'near');
    await p.calls(['open', 'a', 6]);
    const send = () => p.call('sendto', 'a', 'hello', BEYOND6, 9);
    const own = async () => (await addresses()).find((a) => a.startsWith(SHORT_BEGINS));
    expect([await send(), await own()]).toEqual([{ error: 'ENETUNREACH' }, undefined]);
    await until('the port has an address and a router', async () => {
      advertise(3, 3, SHORT);
      return (await own()) !== undefined && (await send()) === 5;
    });
    await until('the router is no more', async () => JSON.stringify(await send()).includes('ENETUNREACH'), 20_000);
    await until('the address is no more', async () => (await own()) === undefined, 20_000);
    expect(await send()).toEqual({ error: 'ENETUNREACH' });
  }, 60_000);

  describe('static routes', () => {
    beforeAll(async () => {
      const networks = [
        `2001:db8:99::/64@${FAR6}`,
        '203.0.113.0/24',
        ...(stack === 'native' ? ['2001:db8:55::/64'] : []),
      ];
      await restart(`ip6=${NEAR6}/64,route=${networks.join('+')}`);
      stage.link.far.ip('addr', 'add', `${BEYOND6}/128`, 'dev', 'lo');
      stage.link.far.ip('addr', 'add', `${ON_LINK}/32`, 'dev', 'far0');
      stage.link.far.ip('addr', 'add', `${ON_LINK6}/128`, 'dev', 'far0', 'nodad');
    }, 60_000);

    const reached = (host: string, own: string, family: 4 | 6) => async () => {
      const [p, far] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, 'far')];
      await far.calls(['open', 'b', family]);
      const port = await far.call('bind', 'b', host, 0);
      await p.calls(['open', 'a', family], ['connect', 'a', host, port], ['send', 'a', 'hello']);
      expect(await far.call('recv', 'b')).toMatchObject({ data: 'hello', from: [own, expect.any(Number)] });
    };

    test('IPv6: a host behind a gateway', reached(BEYOND6, NEAR6, 6));
    test('IPv4: a network on the link', reached(ON_LINK, NEAR, 4));
    testExcept(stack, 'its neighbours are those of its own prefixes and of those that routers advertise')(
      'IPv6: a network on the link',
      reached(ON_LINK6, NEAR6, 6),
    );
  });

  testExcept(stack, 'FreeBSD announces its addresses and does not probe for them')(
    'another host has the address: it is told of, and the address used all the same',
    async () => {
      await restart('redirects=off', TAKEN);
      stage.link.far.ip('addr', 'add', `${TAKEN}/32`, 'dev', 'far0');
      const [p, far] = [await Datagrams.start(stage, 'near'), await Datagrams.start(stage, 'far')];
      // If it did not hear a probe, it says so when it asks for somebody.
      await far.calls(['open', 'c', 4], ['bind', 'c', TAKEN, 0], ['sendto', 'c', 'nobody is there', '192.0.2.77', 9]);
      await until('the log names it', () => stage.engine.logText().includes(`${TAKEN} is taken by another host`));
      expect((await stage.engine.status()).stack?.['arp_conflict']).toBeGreaterThan(0);
      stage.link.far.ip('addr', 'del', `${TAKEN}/32`, 'dev', 'far0');
      await p.calls(['open', 'b', 4]);
      const port = await p.call('bind', 'b', TAKEN, 0);
      await far.calls(['open', 'a', 4], ['connect', 'a', TAKEN, port], ['send', 'a', 'hello']);
      expect(await p.call('recv', 'b')).toMatchObject({ data: 'hello' });
    },
    30_000,
  );

  if (stack === 'fstack')
    test('a route of IPv6 without a gateway is refused by name', async () => {
      await expect(restart('ip6=2001:db8::2/64,route=2001:db8:55::/64')).rejects.toThrow(
        'ZS2130: port net_tap0: a route of IPv6 without a gateway is not for libfstack',
      );
      await stage.link.gone();
      await stage.startEngine();
    });
});
