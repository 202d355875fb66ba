// SPDX-License-Identifier: BSD-3-Clause
/** TCP_FASTOPEN_KEY of a server under Z-stack. A kernel's server at the same address, in a namespace of its own that the client
 * reaches by another route, shows that the cookies are the same ones: either server takes what the other one gave. */
import { FAR, FAR6, NEAR, NEAR6 } from '../lib/link.js';
import { NetworkNamespace } from '../lib/netns.js';
import { freePort } from '../lib/ports.js';
import { describeOnFstack } from '../lib/stacks.js';
import { useStage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { wireProgram } from './wire.js';

const KEY = '000102030405060708090a0b0c0d0e0f';
/** Of the client's end of the link to the kernel's server. */
const TWIN_MAC = '02:00:00:00:00:01';
const NEW = 'f0e1d2c3b4a5968778695a4b3c2d1e0f';
const ADDRESSES = [
  ['IPv4', NEAR, FAR, 32],
  ['IPv6', NEAR6, FAR6, 128],
] as const;

const program = (...args: readonly (string | number)[]) => [
  PYTHON,
  wireProgram('fastopen_key.py'),
  ...args.map(String),
];

describe.each([1, 2])('workers: %d', (workers) => {
  const stage = useStage({ wire: 'tap', engine: { workers } });
  let twin: NetworkNamespace;

  beforeAll(() => {
    twin = new NetworkNamespace();
    const { far } = stage.link;
    far.ip('link', 'add', 'twin0', 'address', TWIN_MAC, 'type', 'veth', 'peer', 'name', 'twin1', 'netns', twin.name);
    far.ip('link', 'set', 'twin0', 'up');
    twin.ip('link', 'set', 'twin1', 'up');
    twin.ip('addr', 'add', `${NEAR}/24`, 'dev', 'twin1');
    twin.ip('addr', 'add', `${NEAR6}/64`, 'dev', 'twin1', 'nodad');
    // The client's addresses are those of another interface, which it does not answer for here.
    for (const own of [FAR, FAR6]) twin.ip('neigh', 'add', own, 'lladdr', TWIN_MAC, 'dev', 'twin1');
  });
  afterAll(() => {
    twin.remove();
  });

  describe.each(ADDRESSES)('%s', (_, host, own, bits) => {
    /** Whether the next connection's data went with its SYN. */
    async function withSyn(port: number): Promise<boolean> {
      const { status, stdout, stderr } = await stage.far(program('connect', host, port)).ended();
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      return JSON.parse(stdout) as boolean;
    }

    /** A server under Z-stack; the keys are set before or after listen(2), or after exec(2), too. */
    async function served(keys: string, when: 'before' | 'after' | 'exec'): Promise<number> {
      const port = await freePort();
      await stage.wrapped(program('serve', host, port, keys, when)).says(/ready/);
      return port;
    }

    /** From here on connections go to the kernel's server, or no longer. */
    const route = (what: 'add' | 'del') => {
      stage.link.far.ip('route', what, `${host}/${bits}`, 'dev', 'twin0', 'src', own);
    };
    const forget = () => {
      stage.link.far.ip('tcp_metrics', 'flush');
    };

    beforeEach(forget);

    test('a kernel takes the cookies, and gives such', async () => {
      const port = await served(KEY, 'before');
      await stage.kernel([...twin.prefix, ...program('serve', host, port, KEY, 'before')]).says(/ready/);
      route('add');
      expect([await withSyn(port), await withSyn(port)]).toEqual([false, true]);
      route('del');
      expect(await withSyn(port)).toBe(true);
      forget();
      expect(await withSyn(port)).toBe(false);
      route('add');
      expect(await withSyn(port)).toBe(true);
      route('del');
    }, 60_000);

    test('keys are replaced one after the other', async () => {
      const [old, both, only] = [
        await served(KEY, 'exec'),
        await served(NEW + KEY, 'after'),
        await served(NEW, 'before'),
      ];
      expect([await withSyn(old), await withSyn(old)]).toEqual([false, true]);
      expect([await withSyn(only), await withSyn(only)]).toEqual([false, true]);
      expect([await withSyn(old), await withSyn(old)]).toEqual([false, true]); // the client has one cookie for all ports
      expect([await withSyn(both), await withSyn(only)]).toEqual([true, true]);
      expect(await withSyn(old)).toBe(false);
    }, 60_000);
  });
});

describeOnFstack('has no Fast Open', () => {
  const stage = useStage({ wire: 'tap', stack: 'fstack' });

  test.each(ADDRESSES)('%s: the key is kept, clients get no cookie and are served', async (_, host) => {
    const port = await freePort();
    const server = stage.wrapped(program('serve', host, port, KEY, 'before'));
    await server.says(/ready/);
    for (let i = 0; i < 2; i++) {
      const client = await stage.far(program('connect', host, port)).ended();
      expect({ stdout: client.stdout, stderr: client.stderr }).toEqual({ stdout: 'false\n', stderr: '' });
    }
    await server.end('SIGTERM');
  });
});
