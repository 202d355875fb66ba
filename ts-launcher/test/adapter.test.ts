// SPDX-License-Identifier: BSD-3-Clause
/** What `bench --fstack-adapter` starts: its configuration, its figures, and the end of its processes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adapterDirectory, adapterServer, configuration } from '../src/bench/adapter.js';
import { commandLine, startServer } from '../src/bench/processes.js';
import { summarize } from '../src/bench/statistics.js';
import { stackText } from '../src/commands/bench-text.js';
import { allowedCpus } from '../src/engine/eal.js';
import { Sandbox } from './support.js';

const box = new Sandbox();
afterAll(() => box.remove());

describe("F-Stack's own adapter", () => {
  test('a directory without its programs is named', () => {
    expect(() => adapterDirectory('/nonexistent')).toThrow(
      '--fstack-adapter /nonexistent: no fstack and libff_syscall.so in it',
    );
  });

  test('its configuration has the address, the mask, the broadcast address and the CPU', () => {
    const network = { length: 26, gateway: '192.0.2.65' };
    const place = {
      port: 80,
      host: '192.0.2.66',
      bind: '0.0.0.0',
      seconds: 1,
      directory: '/',
      netns: 'n',
      interface: 'i',
    };
    const text = configuration({ ...place, network, cpus: { stack: 5, program: 1 } });
    for (const line of ['addr=192.0.2.66', 'netmask=255.255.255.192', 'broadcast=192.0.2.127', 'lcore_mask=20'])
      expect(text).toContain(`\n${line}\n`);
  });

  describe('its processes, also one that left its parent and wants no end,', () => {
    const directory = box.directory;
    const stays = `setsid sh -c 'trap "" TERM; while :; do sleep 1; done' "${directory}/orphan" &`;
    const script = (name: string, ...lines: string[]) =>
      writeFileSync(join(directory, name), ['#!/bin/sh', ...lines].join('\n'), { mode: 0o755 });
    const left = () =>
      readdirSync('/proc').filter((pid) => {
        try {
          return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory);
        } catch {
          return false;
        }
      });
    const place = { port: 80, host: '192.0.2.66', bind: '0.0.0.0', seconds: 1, netns: '', interface: 'i', directory };
    const network = { length: 26, gateway: '192.0.2.65' };

    beforeEach(() => {
      script('fstack', stays, 'echo memzone successful', 'exec sleep 1000');
      script('nginx', 'trap "" TERM', stays, 'while :; do sleep 1; done');
      writeFileSync(join(directory, 'libff_syscall.so'), '');
      rmSync(join(directory, 'huge'), { recursive: true, force: true });
    });

    function line(): [string, ...string[]] {
      const { command, cpu } = adapterServer(directory, { ...place, network, cpus: { stack: 0, program: 0 } });
      return commandLine(
        { command: ['env', `PATH=${directory}:${process.env['PATH'] ?? ''}`, ...command], cpu },
        'kernel',
        '',
      );
    }

    test('end with the server', async () => {
      const [, , , ...command] = line();
      const program = { command, cpu: allowedCpus()[0] ?? 0 };
      const server = await startServer(
        program,
        'kernel',
        '',
        (said) => said.includes('ready') && left().length >= 4,
        20_000,
      );
      await server.stop();
      expect(left()).toEqual([]);
    }, 40_000);

    test('end with what started them, when that is killed', async () => {
      const starter = spawn('/bin/sh', ['-c', '"$@" & wait', 'sh', ...line()], { stdio: ['ignore', 'pipe', 'ignore'] });
      await once(starter.stdout, 'data');
      expect(left().length).toBeGreaterThanOrEqual(4);
      starter.kill('SIGKILL');
      for (let i = 0; i < 500 && left().length > 0; i++) await sleep(20);
      expect(left()).toEqual([]);
    }, 40_000);
  });

  test('the text tells its figure and by how much ours is better', () => {
    const native = summarize([100]);
    const clientBusy = { native: 0.99, fstack: 0.95, adapter: 0.5 };
    const perCpu = { adapter: 20, fstack: 100 };
    const row = {
      name: 'af_packet-nginx',
      unit: 'requests/s',
      native,
      fstack: summarize([90]),
      ratio: 0.9,
      clientBusy,
    };
    const figures = { adapter: summarize([30]), fstack: summarize([93]), ratio: 3.1, clientBusy, perCpu };
    const adapter = [{ placement: 'two CPUs', ...figures } as const];
    const text = stackText([{ ...row, accelerated: true, adapter }], { rounds: 1, seconds: 1 });
    expect(text).toMatch(/^the stack alone .* 30 .* 93 .*x3\.10 +50 %, 95 %$/m);
    expect(text).toMatch(/^the stack alone .* 20 +100 +x5\.00$/m);
    expect(text).toContain('the better placement of each: x5.00');
    expect(text).toContain('the better placement of each: x3.10, goal x3.00\nof the native stack: x0.90, goal x0.80\n');
    expect(stackText([{ ...row, accelerated: true }], { rounds: 1, seconds: 1 })).not.toContain('adapter');
  });
});
