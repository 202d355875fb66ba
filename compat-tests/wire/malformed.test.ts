// SPDX-License-Identifier: BSD-3-Clause
/** Frames that no honest host sends: each is counted where the table says, and what is honest goes on. */
import { WireMeter } from '../lib/accel.js';
import { FAR, NEAR } from '../lib/link.js';
import { freePort } from '../lib/ports.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON, Talk } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

const CASES: readonly (readonly [string, string])[] = [
  ['ip header cut', 'ip_bad_header'],
  ['ip version 6', 'ip_bad_header'],
  ['ip header length 4', 'ip_bad_header'],
  ['ip header longer than the packet', 'ip_bad_header'],
  ['ip length beyond the frame', 'ip_bad_header'],
  ['ip length below the header', 'ip_bad_header'],
  ['ip checksum', 'ip_bad_cksum'],
  ['ip from everybody', 'ip_bad_source'],
  ['ip from 127.0.0.1', 'ip_bad_source'],
  ['ip source route', 'ip_source_route'],
  ['ip option without end', 'ip_bad_header'],
  ['ip option of length 0', 'ip_bad_header'],
  ['ip to somebody else', 'ip_not_ours'],
  ['ip protocol 200', 'ip_proto'],
  ['tcp header cut', 'tcp_bad_header'],
  ['tcp offset 3', 'tcp_bad_header'],
  ['tcp offset beyond the packet', 'tcp_bad_header'],
  ['tcp checksum', 'tcp_bad_cksum'],
  ['tcp SYN and FIN', 'tcp_bad_flags'],
  ['tcp SYN and RST', 'tcp_bad_flags'],
  ['tcp option of length 0', 'tcp_bad_header'],
  ['tcp option beyond the header', 'tcp_bad_header'],
  ['udp header cut', 'udp_bad'],
  ['udp length beyond the packet', 'udp_bad'],
  ['udp length below the header', 'udp_bad'],
  ['udp checksum', 'udp_bad_cksum'],
  ['icmp cut', 'icmp_bad'],
  ['icmp checksum', 'icmp_bad'],
  ['arp cut', 'arp_bad'],
  ['fragments that overlap', 'frag_overlap'],
  ['fragment beyond 65,535', 'frag_bad'],
  ['fragment of no multiple of 8', 'frag_bad'],
];

describeOnStacks([['tap'], ['af_packet'], ['af_xdp']] as const, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });
  // Under net_af_packet the kernel reassembles: fragments that make no packet do not arrive.
  // FreeBSD has other names for what is wrong, and takes some of it: there it counts that they arrived.
  const cases = CASES.filter(([name]) => kind !== 'af_packet' || !name.startsWith('fragment')).map(
    ([name, counter]) => [name, stack === 'native' ? counter : 'port_rx'] as const,
  );

  test('each is counted by its name; connections go on', async () => {
    const port = await freePort();
    const server = stage.wrapped([PYTHON, wireProgram('answer.py'), 'echo', '', `${port}`]);
    await server.says(/ready/);
    const peer = await Talk.start(stage, 'far', port, NEAR);
    expect(await peer.ask('open a')).toBe('ok');
    expect(await peer.ask('say a before')).toBe('ok');
    const inject = stage.far([PYTHON, wireProgram('inject.py'), 'far0', FAR, NEAR, `${port}`], { input: 'open' });
    await inject.says(/ready/);

    let sent = 0;
    const send = async (name: string, timeoutMs?: number): Promise<void> => {
      inject.write(`${name}\n`);
      sent++;
      await inject.says(new RegExp(`^(sent \\d+\\n){${sent}}`, 'm'), timeoutMs);
    };
    const seen: Record<string, string> = {};
    for (const [name, counter] of cases) {
      const used = await WireMeter.start(stage.engines);
      await send(name);
      // On failure the difference shows which counters grew instead.
      seen[name] = await until(
        'something is counted',
        async () => {
          const growth = await used.growth();
          return (growth[counter] ?? 0) > 0 ? counter : undefined;
        },
        500,
      ).catch(async () => JSON.stringify(Object.entries(await used.growth()).filter(([, by]) => by > 0)));
    }
    expect(seen).toEqual(Object.fromEntries(cases));
    expect(await peer.ask('say a after each')).toBe('ok');

    const used = await WireMeter.start(stage.engines);
    await send('random', 30_000);
    let arrived = 0;
    await until(
      () => `most of the random frames arrive; ${arrived} did`,
      async () => (arrived = (await used.growth())['port_rx'] ?? 0) > 2000,
    );
    expect(await peer.ask('say a after them all')).toBe('ok');
    expect(await peer.ask('open b')).toBe('ok');
    expect(await peer.ask('say b hello')).toBe('ok');
    expect(stage.engine.running).toBe(true);
    await peer.end();
  }, 60_000);
});
