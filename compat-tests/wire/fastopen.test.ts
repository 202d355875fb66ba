// SPDX-License-Identifier: BSD-3-Clause
/** TCP Fast Open (RFC 7413) between Z-stack at one end and a kernel at the other: the first connection brings the cookie, from the
 * second on the data goes with the SYN, and both ends say so. */
import { WireMeter } from '../lib/accel.js';
import { freePort } from '../lib/ports.js';
import { type Direction, useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { wireProgram } from './wire.js';

const DIRECTIONS: readonly (readonly [string, Direction])[] = [
  ['served under Z-stack', 'in'],
  ['served by the peer', 'out'],
];
const WITH_SYN = [false, true, true, true, true, true];

const stage = useStage({ wire: 'tap' });

test.each(DIRECTIONS)(
  '%s',
  async (_name, direction) => {
    const ends = stage.ends(direction);
    const used = await WireMeter.start(stage.engines);
    const port = await freePort();
    const server = ends.server([PYTHON, wireProgram('fastopen.py'), 'serve', ends.host, `${port}`]);
    await server.says(/ready/);
    const client = await ends.ok([PYTHON, wireProgram('fastopen.py'), 'connect', ends.host, `${port}`]);
    const { status, stdout, stderr } = await server.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(client.stdout)).toEqual(WITH_SYN);
    expect(JSON.parse(stdout.replace('ready\n', ''))).toEqual(WITH_SYN);
    await used.used(WITH_SYN.length, 4_000_000);
  },
  90_000,
);
