// SPDX-License-Identifier: BSD-3-Clause
/** What many cases need: assertions, files, certificates, nginx. */
import { strict as assert } from 'node:assert';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Case, Ground, Outcome, Running } from '../../../ts-launcher/src/compat/case.js';
import { makeFile, NGINX, nginxConfiguration, wrkReport, type NginxOptions } from '../../apps/nginx.js';
import { sha256 } from '../../lib/net.js';
import { ROOT } from '../../lib/paths.js';

export { makeFile, NGINX, nginxConfiguration, sha256, ROOT, assert };
export type { Case, Ground, Running };

export const PYTHON = '/usr/bin/python3';

/** A program of this directory's `programs`. */
export function own(name: string): string {
  return join(ROOT, 'compat-tests', 'matrix', 'programs', name);
}

/** A file below the cell's directory. */
export function at(t: Ground, name: string): string {
  return join(t.directory, name);
}

/** Ends a server, which must end well. */
export async function endsWell(server: Running, signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> {
  const outcome = await server.end(signal);
  assert.deepEqual([outcome.status, outcome.signal], [0, null], `the server's end: ${outcome.stderr.slice(-1000)}`);
  return outcome;
}

/** Files of these sizes in `html`, with their hashes. */
export async function content(t: Ground, sizes: readonly number[]): Promise<Map<number, string>> {
  mkdirSync(at(t, 'html'), { recursive: true });
  const hashes = new Map<number, string>();
  for (const size of sizes) {
    makeFile(at(t, `html/${size}`), size);
    hashes.set(size, await sha256(at(t, `html/${size}`)));
  }
  return hashes;
}

/** Fetches the files with one curl, over one connection, or each over its own; every byte is compared. */
export async function fetchFiles(
  t: Ground,
  url: string,
  hashes: ReadonlyMap<number, string>,
  flags: readonly string[] = [],
): Promise<void> {
  const wanted = [...hashes.keys()].flatMap((size) => ['-o', at(t, `got-${size}`), `${url}/${size}`]);
  await t.ok(['curl', '-sS', '--fail', '--insecure', ...flags, ...wanted]);
  for (const [size, hash] of hashes) assert.equal(await sha256(at(t, `got-${size}`)), hash, `file of ${size} bytes`);
}

/** The file of this size is what {@link fetchAndLoad} asks for again and again. */
export const LOAD_SIZE = 1448;
/** What a server of files is asked for: every protocol's edges, and more than its buffers hold. */
export const FILE_SIZES = [0, 1, LOAD_SIZE, 30_721, 1 << 20, 8 << 20];

/** Fetches the files one after the other, then one of them over 40 connections for a second. */
export async function fetchAndLoad(t: Ground, url: string, hashes: ReadonlyMap<number, string>): Promise<void> {
  await fetchFiles(t, url, hashes);
  await wrk(t, `${url}/${LOAD_SIZE}`, ['-t1', '-c40', '-d1s']);
}

/** A key and a certificate for `localhost` and 127.0.0.1, in `key.pem` and `cert.pem`. */
export async function certificate(t: Ground): Promise<{ key: string; cert: string }> {
  const [key, cert] = [at(t, 'key.pem'), at(t, 'cert.pem')];
  await t.prepare([
    ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', key, '-out', cert, '-subj', '/CN=localhost', '-addext', `subjectAltName=IP:${t.host}`],
  ]);
  await t.prepare(['chmod', '644', key]);
  return { key, cert };
}

/** nginx with `html` as its files; it listens. */
export async function nginx(t: Ground, options: NginxOptions = {}): Promise<{ port: number; server: Running }> {
  const port = await t.port();
  const configuration = nginxConfiguration(t.directory, port, { workers: 2, host: t.host, ...options });
  const server = t.server([NGINX, '-p', t.directory, '-c', configuration]);
  await t.listening(port);
  return { port, server };
}

/** Runs wrk, which must not report an error; the number of requests. */
export async function wrk(t: Ground, url: string, flags: readonly string[] = ['-t1', '-c50', '-d1s']): Promise<number> {
  const { stdout } = await t.ok(['wrk', '--timeout', '10', ...flags, url]);
  const { requests, errors } = wrkReport(stdout);
  assert.deepEqual(errors, []);
  assert.ok(requests > 100, `${requests} requests`);
  return requests;
}

/** h2load's report: every request succeeded. */
export async function h2load(t: Ground, url: string, flags: readonly string[]): Promise<void> {
  const { stdout } = await t.ok(['h2load', ...flags, url], { timeoutMs: 40_000 });
  const total = Number(/requests: (\d+) total/.exec(stdout)?.[1]);
  assert.match(stdout, new RegExp(`${total} done, ${total} succeeded, 0 failed, 0 errored, 0 timeout`), stdout);
  assert.ok(total > 0);
}
