// SPDX-License-Identifier: BSD-3-Clause
/** Readers that stand still do not keep the ports' receive buffers from everybody else; what was sent to them arrives. */
import { WireMeter } from '../lib/accel.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { bothEnds } from './wire.js';

const KINDS = [['tap'], ['af_packet'], ['af_xdp']] as const;

/** Connections, and bytes of each write to them: a packet, however small, takes a receive buffer. */
const LOADS = [
  [24, 65_536],
  [64, 100],
] as const;

describeOnStacks(KINDS, (stack, kind) => {
  const stage = useStage({ wire: kind, stack });

  test.each(LOADS)(
    '%d connections, %d bytes at a time',
    async (count, size) => {
      const used = await WireMeter.start(stage.engines);
      const { served, connected } = await bothEnds<{ bytes: number[] }>(
        stage.ends('in'),
        'slow.py',
        `${count}`,
        `${size}`,
      );
      expect(served).toEqual(connected);
      const bytes = served.bytes.reduce((sum, each) => sum + each, 0);
      await used.used(count + 1, bytes);
    },
    60_000,
  );
});
