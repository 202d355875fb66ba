/** An engine with a TAP, for real: in network namespaces of the test, which go away. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { statusSchema } from '../src/engine/protocol.js';
import { ROOT } from '../src/paths.js';
import { outcome, Sandbox } from './support.js';

const box = new Sandbox();
const build = process.env['ZSTACK_BUILD_DIR'] ?? join(ROOT, 'build');
const [own, other] = [`zsr-${process.pid}-a`, `zsr-${process.pid}-b`];
const engine = `real-${process.pid}`;

function possible(): boolean {
  try {
    for (const name of [own, other]) {
      execFileSync('ip', ['netns', 'add', name], { stdio: 'pipe' });
      execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    }
    return existsSync('/dev/net/tun') && existsSync(join(build, 'zstackd'));
  } catch {
    return false;
  }
}

const real = possible() ? test : test.skip;
const env = { ZSTACK_BUILD_DIR: build, ZSTACK_ZSTACKD: join(build, 'zstackd') };
const shell = `exec ip netns exec ${own} "$0" "$@"`;
const inside = (...args: string[]) => box.run(args, { env, shell });

afterAll(async () => {
  await inside('engine', 'stop', '--force', '--engine', engine);
  for (const name of [own, other]) {
    try {
      execFileSync('ip', ['netns', 'delete', name], { stdio: 'pipe' });
    } catch {
      // It could not be made.
    }
  }
  await box.remove();
});

real(
  'a program is reached from another namespace over the TAP, and the interface goes away with the engine',
  async () => {
    const server = ['/usr/bin/python3', '-m', 'http.server', '8080', '--directory', box.directory];
    const options = ['--engine', engine, '--linger', '1', '--port', 'tap', '--netns', other];
    const child = box.start([...options, ...server], { env, shell });
    const end = outcome(child);
    const address = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const found = /listening on (198\.1[89]\.\d+\.\d+):8080 \(wire, port tap zs-[0-9a-f]{8}\)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
      void end.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)));
    });
    box.file('hello', 'over the wire');
    // Plain curl, beside the engine's namespace.
    const curl = ['netns', 'exec', other, 'curl', '-sS', '--max-time', '10', `http://${address}:8080/hello`];
    expect(execFileSync('ip', curl).toString()).toBe('over the wire');

    const json = (await inside('engine', 'status', '--engine', engine, '--json')).stdout;
    const status = statusSchema.parse(JSON.parse(json));
    expect(status.ports).toMatchObject([{ device: 'net_tap0', kind: 'tap', ip: [`${address}/30`], link: true }]);
    expect(status.ports?.[0]?.rx_packets).toBeGreaterThan(0);

    child.kill('SIGTERM');
    await end;
    const links = () => execFileSync('ip', ['-n', other, '-br', 'link']).toString();
    for (let i = 0; i < 100 && links().includes('zs-'); i++) await sleep(50);
    expect(links()).not.toContain('zs-');
  },
  60_000,
);
