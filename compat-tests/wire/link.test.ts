// SPDX-License-Identifier: BSD-3-Clause
/** A link that comes up, again or later than the engine: who is there learns the engine's addresses without asking. */
import { NEAR, NEAR6 } from '../lib/link.js';
import { useStage } from '../lib/stage.js';
import { until } from '../lib/wait.js';

describe.each([['tap'], ['af_packet'], ['af_xdp']] as const)('%s', (kind) => {
  const stage = useStage({ wire: kind });

  /** The kernel's neighbours beyond, by address. */
  function neighbours(): Map<string, string> {
    const text = stage.link.far.run('ip', '-j', 'neigh', 'show', 'dev', 'far0');
    const entries = JSON.parse(text) as { dst: string; lladdr?: string }[];
    return new Map(entries.map(({ dst, lladdr = '' }) => [dst, lladdr]));
  }

  const port = async () => (await stage.engine.status()).ports?.[0];

  test('carrier comes back: the addresses are announced to those who had not asked', async () => {
    // What nobody asked for is learned, too: only announcements come, and Linux would believe them for known neighbours alone
    // (over IPv6 a router may do otherwise).
    for (const key of ['ipv4.conf.far0.arp_accept', 'ipv6.conf.far0.forwarding', 'ipv6.conf.far0.accept_untracked_na'])
      stage.link.far.run('sysctl', '-qw', `net.${key}=1`);
    const before = (await port())?.link_ups ?? NaN;
    for (let round = 1; round <= 2; round++) {
      stage.link.far.ip('link', 'set', 'far0', 'down');
      await until('the engine sees it', async () => (await port())?.link === false);
      expect(neighbours().get(NEAR)).toBeUndefined();
      stage.link.far.ip('link', 'set', 'far0', 'up');
      const mac = (await port())?.mac?.toLowerCase();
      await until('IPv4 and IPv6 are known', () => [NEAR, NEAR6].every((a) => neighbours().get(a) === mac), 20_000);
      expect((await port())?.link_ups).toBeGreaterThanOrEqual(before + round);
    }
  }, 60_000);
});
