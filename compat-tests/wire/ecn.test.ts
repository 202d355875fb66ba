// SPDX-License-Identifier: BSD-3-Clause
/** `--ecn` of an engine against a kernel that asks for ECN, or takes it when it is asked: what both ends agree on (RFC 3168 6.1.1). */
import { WireMeter } from '../lib/accel.js';
import { describeOnStacks } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { bothEnds } from './wire.js';

/** The mode, and whether there is ECN when the kernel asks and when Z-stack opens the connection. */
const MODES = [
  ['passive', true, false],
  ['on', true, true],
  ['off', false, false],
] as const;

describeOnStacks(MODES, (stack, ecn, asked, opened) => {
  const stage = useStage({ wire: 'tap', stack, engine: { ecn } });

  test.each([
    ['a kernel that asks', 'in', asked],
    ['a kernel that is asked', 'out', opened],
  ] as const)('%s', async (_name, direction, agreed) => {
    const ends = stage.ends(direction);
    const used = await WireMeter.start(stage.engines);
    const kernel = direction === 'in' ? '1' : '2';
    const { served, connected } = await bothEnds<boolean>(ends, 'ecn.py', kernel);
    expect(connected).toBe(agreed);
    expect(served).toBe(agreed);
    await used.used(1, 1);
  });
});
