// SPDX-License-Identifier: BSD-3-Clause
/** FTP: processes with a limit on their address space (RLIMIT_AS), data connections to the server and, active, to the client. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { assert, at, content, sha256, type Case, type Ground } from '../lib/kit.js';

const SIZES = [1, 30_721, 8 << 20];

async function transfers(t: Ground, flags: readonly string[]): Promise<void> {
  const hashes = await content(t, SIZES);
  const port = await t.port();
  mkdirSync(at(t, 'empty'), { mode: 0o555 });
  chmodSync(at(t, 'html'), 0o555);
  const lines = [
    'listen=YES',
    `listen_port=${port}`,
    `listen_address=${t.host}`,
    'background=NO',
    'anonymous_enable=YES',
    `anon_root=${at(t, 'html')}`,
    `secure_chroot_dir=${at(t, 'empty')}`,
    'seccomp_sandbox=NO', // its filter is of an older C library: it ends the kernel's sessions, too
  ];
  writeFileSync(at(t, 'vsftpd.conf'), `${lines.join('\n')}\n`);
  const server = t.server(['vsftpd', at(t, 'vsftpd.conf')]);
  await t.listening(port);
  for (const [size, hash] of hashes) {
    await t.ok(['curl', '-sS', ...flags, '-o', at(t, `got-${size}`), `ftp://${t.host}:${port}/${size}`]);
    assert.equal(await sha256(at(t, `got-${size}`)), hash, `file of ${size} bytes`);
  }
  await server.end('SIGTERM');
}

const common = { program: 'vsftpd', needs: ['vsftpd', 'curl'], least: { connections: 6, bytes: 8_000_000 } };

export default [
  { ...common, name: 'passive', run: (t) => transfers(t, []) },
  { ...common, name: 'active', run: (t) => transfers(t, ['--ftp-port', '-']) },
] satisfies Case[];
