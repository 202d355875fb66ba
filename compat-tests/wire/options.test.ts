// SPDX-License-Identifier: BSD-3-Clause
/** What tcp(7) offers beside read and write, between Z-stack at one end and a kernel at the other: urgent data, MSG_MORE, TCP_CORK,
 * TCP_DEFER_ACCEPT, TCP_MAXSEG, TCP_NOTSENT_LOWAT, TCP_CONGESTION, SO_MAX_PACING_RATE, TCP_INFO. */
import { WireMeter } from '../lib/accel.js';
import { describeOnStacks } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { bothEnds } from './wire.js';

interface Told {
  readonly congestion: string;
  /** Sent, and received, as this end counts them. */
  readonly segments: number;
  readonly arrived: number;
  readonly filled: number;
  readonly unsent: number;
  readonly read: number;
  /** Seconds, and bytes per second: see options.py. */
  readonly paced: Readonly<Record<'half' | 'rest' | 'pacing_rate' | 'max_pacing_rate', number>>;
  readonly info: Readonly<
    Record<'state' | 'snd_mss' | 'rtt' | 'cwnd' | 'bytes_acked' | 'bytes_received' | 'segs_in', number>
  >;
}

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];

describeOnStacks<[string]>([['tap']], (stack) => {
  const native = stack === 'native';
  const stage = useStage({ wire: 'tap', stack });

  test.each(DIRECTIONS)(
    '%s',
    async (_name, direction) => {
      const ends = stage.ends(direction);
      const used = await WireMeter.start(stage.engines);
      const { served, connected } = await bothEnds<Told>(ends, 'options.py');
      const [ours, theirs] = direction === 'in' ? [served, connected] : [connected, served];
      expect(ours.congestion).toBe('cubic');
      // One with MSG_MORE, one with TCP_CORK. FreeBSD counts no segments of one connection: the kernel tells what came.
      expect(theirs).toMatchObject({ segments: 2, arrived: 2 });
      if (native) expect(ours).toMatchObject({ segments: 2, arrived: 2 });
      for (const told of [connected, served]) {
        expect(told.info.rtt).toBeGreaterThan(0);
        expect(told.info.cwnd).toBeGreaterThan(0);
        expect(told.info.bytes_acked).toBeGreaterThanOrEqual(400);
        if (native || told === theirs) expect(told.info.segs_in).toBeGreaterThan(0);
      }
      // TCP_MAXSEG. FreeBSD keeps to it and goes on announcing what the interface carries.
      expect(connected.info.snd_mss).toBeLessThanOrEqual(1000);
      if (native || direction === 'in') expect(served.info.snd_mss).toBeLessThanOrEqual(1000);
      expect(connected.info.state).toBe(1);
      // TCP_NOTSENT_LOWAT: FreeBSD has no such thing.
      if (native || direction === 'in') expect(connected.unsent).toBeLessThanOrEqual(16_384 + 4096);
      // SO_MAX_PACING_RATE, nor that. Half a second and a quarter; the kernel does not pace the first segments.
      if (native || direction === 'in') {
        expect(connected.paced.half).toBeGreaterThan(0.4);
        expect(connected.paced.rest).toBeGreaterThan(0.2);
        expect(connected.paced.rest).toBeLessThan(connected.paced.half);
        expect(connected.paced.pacing_rate).toBeLessThanOrEqual(1_200_000);
      }
      expect(connected.paced.max_pacing_rate).toBe(1_200_000);
      expect(served.read).toBe(connected.filled + 1);
      expect(served.info.bytes_received).toBeGreaterThanOrEqual(connected.filled);
      await used.used(1, connected.filled);
    },
    90_000,
  );
});
