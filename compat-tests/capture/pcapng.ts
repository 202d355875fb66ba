// SPDX-License-Identifier: BSD-3-Clause
/** What Wireshark's own programs see in a capture file. */
import { spawnSync } from 'node:child_process';

/** Wireshark checks no sums unless it is told to. */
const CHECKED = ['tcp.check_checksum:TRUE', 'udp.check_checksum:TRUE', 'ip.check_checksum:TRUE'].flatMap((p) => [
  '-o',
  p,
]);

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 256 << 20 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The fields of the packets that a display filter lets through: one array per packet. */
export function packets(file: string, filter: string, ...fields: string[]): string[][] {
  const wanted = fields.flatMap((field) => ['-e', field]);
  const out = run('tshark', ['-n', '-r', file, ...CHECKED, '-Y', filter, '-T', 'fields', ...wanted]);
  return out.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')]));
}

/** Numbers of the packets with a bad checksum, malformed, or at odds with the sequence of their connection. */
export function faulty(file: string): string[] {
  const bad = ['_ws.malformed', 'tcp.analysis.flags', 'tcp.checksum.status == 0', 'udp.checksum.status == 0'];
  const filter = [...bad, 'ip.checksum.status == 0'].join(' || ');
  return packets(file, filter, 'frame.number', '_ws.col.Info').map((fields) => fields.join(' '));
}

/** What went from the client to the server of a TCP connection, and back, as "Follow TCP Stream" has it. */
export function stream(file: string, number = 0): { there: Buffer; back: Buffer } {
  const out = run('tshark', ['-n', '-r', file, '-q', '-z', `follow,tcp,raw,${number}`]);
  const lines = out.split('\n').filter((line) => /^\t?[0-9a-f]+$/.test(line));
  const bytes = (from: string[]) => Buffer.concat(from.map((line) => Buffer.from(line.trim(), 'hex')));
  return {
    there: bytes(lines.filter((line) => !line.startsWith('\t'))),
    back: bytes(lines.filter((line) => line.startsWith('\t'))),
  };
}

/** Interfaces, packets and whether the file ends where a block does, as capinfos says. */
export function summary(file: string): string {
  return run('capinfos', [file]);
}
