// SPDX-License-Identifier: BSD-3-Clause
/**
 * Runs cases of a suite, one after the other, and writes one JSON line at the beginning and at the end of each.
 *
 *   node child.js list                                      all definitions
 *   node child.js run WORLD SUITE HOSTS PIPES|- CASE...
 *   node child.js peer REQUESTS ANSWERS                     the far side
 */
import { readFileSync, writeSync } from 'node:fs';
import { libc, type Libc } from '../libc/index.js';
import { suites } from '../suites/index.js';
import { Case, type Definition, type Side, type World } from './case.js';
import { Remote, serve } from './remote.js';

/** What the kernel's TCP and UDP of this network namespace did (RFC 4022, RFC 4113). */
export interface KernelWork {
  readonly connections: number;
  readonly datagrams: number;
}

function kernelWork(): KernelWork {
  const counters = new Map<string, number>();
  for (const file of ['/proc/self/net/snmp', '/proc/self/net/snmp6']) {
    const lines = readFileSync(file, 'latin1').trim().split('\n');
    if (file.endsWith('6')) {
      for (const line of lines) counters.set(line.split(/\s+/)[0] ?? '', Number(line.split(/\s+/)[1]));
      continue;
    }
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [names, values] = [(lines[i] ?? '').split(' '), (lines[i + 1] ?? '').split(' ')];
      const prefix = (names[0] ?? '').replace(':', '');
      names.forEach((name, j) => counters.set(prefix + name, Number(values[j])));
    }
  }
  const sum = (...names: string[]) => names.reduce((total, name) => total + (counters.get(name) ?? 0), 0);
  return {
    connections: sum('TcpActiveOpens', 'TcpPassiveOpens'),
    datagrams: sum('UdpOutDatagrams', 'Udp6OutDatagrams'),
  };
}

function say(value: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  for (let done = 0; done < bytes.length;) done += writeSync(1, bytes, done);
}

function runOne(definition: Definition, world: World, near: Side, far: Side): void {
  say({ begin: definition.name });
  const before = kernelWork();
  const t = new Case(world, near, far);
  let error: string | undefined;
  try {
    definition.run(t);
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  t.end();
  const after = kernelWork();
  const kernel = {
    connections: after.connections - before.connections,
    datagrams: after.datagrams - before.datagrams,
  };
  say({ end: definition.name, lines: t.lines, connections: t.connections, kernel, error });
}

function run(world: World, suite: string, hosts: string, pipes: string, names: readonly string[]): void {
  const [nearHost = '', farHost = '', nearHost6 = '', farHost6 = ''] = hosts.split(',');
  const near: Side = { libc, host: nearHost, host6: nearHost6 };
  let far: Side = { ...near, host: farHost, host6: farHost6 };
  if (pipes !== '-') {
    const [requests = '', answers = ''] = pipes.split(',');
    const remote = new Remote(requests, answers);
    const begin = (name: keyof Libc, ...args: readonly unknown[]) => remote.begin(name, args);
    far = { libc: remote.libc, host: farHost, host6: farHost6, begin };
  } else if (nearHost === farHost) far = near;
  for (const definition of suites.find((s) => s.name === suite)?.cases ?? [])
    if (names.includes(definition.name)) runOne(definition, world, near, far);
}

const [command, ...args] = process.argv.slice(2);
if (command === 'list')
  say(suites.map(({ name, cases }) => ({ name, cases: cases.map(({ run: _, ...rest }) => rest) })));
else if (command === 'peer') serve(args[0] ?? '', args[1] ?? '');
else run(args[0] as World, args[1] ?? '', args[2] ?? '', args[3] ?? '', args.slice(4));
// Without a look at what is still open: the runner looks at the engine.
process.exit(0);
