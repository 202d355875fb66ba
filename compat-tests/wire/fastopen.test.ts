// SPDX-License-Identifier: BSD-3-Clause
/** TCP Fast Open (RFC 7413) between Z-stack at one end and a kernel at the other: the first connection brings the cookie, from the
 * second on the data goes with the SYN, and both ends say so. */
import { WireMeter } from '../lib/accel.js';
import { describeOnStacks, testExcept } from '../lib/stacks.js';
import { type Direction, useStage } from '../lib/stage.js';
import { bothEnds } from './wire.js';

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];
const WITH_SYN = [false, true, true, true, true, true];

describeOnStacks<[string]>([['tap']], (stack) => {
  const stage = useStage({ wire: 'tap', stack });

  for (const [name, direction] of DIRECTIONS)
    testExcept(stack, 'libfstack is built without TCP_RFC7413; the data goes after the handshake')(
      name,
      async () => {
        const ends = stage.ends(direction);
        const used = await WireMeter.start(stage.engines);
        const { served, connected } = await bothEnds<boolean[]>(ends, 'fastopen.py');
        expect(connected).toEqual(WITH_SYN);
        expect(served).toEqual(WITH_SYN);
        await used.used(WITH_SYN.length, 4_000_000);
      },
      90_000,
    );
});
