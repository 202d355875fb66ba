// SPDX-License-Identifier: BSD-3-Clause
/** `--ecn` of an engine against a kernel that asks for ECN, or takes it when it is asked: what both ends agree on (RFC 3168 6.1.1). */
import { WireMeter } from '../lib/accel.js';
import { freePort } from '../lib/ports.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { wireProgram } from './wire.js';

/** The mode, and whether there is ECN when the kernel asks and when Z-stack opens the connection. */
const MODES = [
  ['passive', true, false],
  ['on', true, true],
  ['off', false, false],
] as const;

describe.each(MODES)('--ecn %s', (ecn, asked, opened) => {
  const stage = useStage({ wire: 'tap', engine: { ecn } });

  test.each([
    ['a kernel that asks', 'in', asked],
    ['a kernel that is asked', 'out', opened],
  ] as const)('%s', async (_name, direction, agreed) => {
    const ends = stage.ends(direction);
    const used = await WireMeter.start(stage.engines);
    const port = await freePort();
    const kernel = direction === 'in' ? '1' : '2';
    const server = ends.server([PYTHON, wireProgram('ecn.py'), 'serve', ends.host, `${port}`, kernel]);
    await server.says(/ready/);
    const client = await ends.ok([PYTHON, wireProgram('ecn.py'), 'connect', ends.host, `${port}`, kernel]);
    const { status, stdout, stderr } = await server.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(client.stdout)).toBe(agreed);
    expect(JSON.parse(stdout.replace('ready\n', ''))).toBe(agreed);
    await used.used(1, 1);
  });
});
