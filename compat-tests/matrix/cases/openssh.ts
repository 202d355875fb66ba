// SPDX-License-Identifier: BSD-3-Clause
/** OpenSSH: a server of the cell's own, with its own keys and port, and as the user that runs it. */
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { assert, at, makeFile, sha256, type Case, type Ground } from '../lib/kit.js';

const needs = ['/usr/sbin/sshd', 'ssh', 'scp', 'ssh-keygen'];

interface Shell {
  readonly options: readonly string[];
  readonly target: string;
}

async function start(t: Ground): Promise<Shell> {
  const port = await t.port();
  for (const name of ['host', 'user'])
    await t.prepare(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', at(t, name)]);
  await t.prepare(['cp', at(t, 'user.pub'), at(t, 'authorized')]);
  const lines = [
    ...[`Port ${port}`, `ListenAddress ${t.host}`, `HostKey ${at(t, 'host')}`, `PidFile ${at(t, 'sshd.pid')}`],
    ...[`AuthorizedKeysFile ${at(t, 'authorized')}`, 'StrictModes no', 'UsePAM no', 'PasswordAuthentication no'],
    ...['PermitRootLogin prohibit-password', 'Subsystem sftp internal-sftp', 'UseDNS no', 'MaxStartups 50'],
  ];
  writeFileSync(at(t, 'sshd_config'), `${lines.join('\n')}\n`);
  // sshd wants this directory when it runs as root.
  if (process.getuid?.() === 0) await t.prepare(['mkdir', '-p', '/run/sshd']);
  const server = t.server(['/usr/sbin/sshd', '-D', '-e', '-f', at(t, 'sshd_config')]);
  await server.says(/Server listening/);
  const known = ['-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${at(t, 'known')}`, '-o', 'BatchMode=yes'];
  const options = [...known, '-F', 'none', '-i', at(t, 'user'), '-o', `Port=${port}`, '-o', 'LogLevel=ERROR'];
  return { options, target: `${userInfo().username}@${t.host}` };
}

async function copy(t: Ground, flags: readonly string[]): Promise<void> {
  const { options, target } = await start(t);
  makeFile(at(t, 'there'), 10_000_001);
  await t.ok(['scp', '-q', ...flags, ...options, at(t, 'there'), `${target}:${at(t, 'copied')}`]);
  await t.ok(['scp', '-q', ...flags, ...options, `${target}:${at(t, 'copied')}`, at(t, 'back')]);
  const hash = await sha256(at(t, 'there'));
  for (const name of ['copied', 'back']) assert.equal(await sha256(at(t, name)), hash, name);
}

const common = { program: 'openssh', needs };

export default [
  { ...common, name: 'scp', least: { connections: 2, bytes: 20_000_000 }, run: (t) => copy(t, []) },
  {
    ...common,
    name: 'scp-client',
    wire: 'out',
    least: { connections: 2, bytes: 20_000_000 },
    run: (t) => copy(t, ['-O']),
  },
  {
    ...common,
    name: 'commands',
    least: { connections: 5, bytes: 1_300_000 },
    async run(t) {
      const { options, target } = await start(t);
      const input = 'line of text\n'.repeat(50_000);
      const { stdout } = await t.ok(['ssh', ...options, target, 'cat'], { input });
      assert.ok(stdout === input, 'what cat gave back differs');
      for (let i = 0; i < 3; i++) {
        const outcome = await t.client(['ssh', ...options, target, `exit ${i + 1}`]).ended();
        assert.equal(outcome.status, i + 1, outcome.stderr);
      }
      const forced = await t.ok(['ssh', '-tt', ...options, target, 'tty; echo done']);
      assert.match(forced.stdout, /\/dev\/pts\/\d+\s+done/);
    },
  },
] satisfies Case[];
