// SPDX-License-Identifier: BSD-3-Clause
/** Debian's nginx in a directory of its own, and wrk's report read. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listening } from '../lib/net.js';
import type { Program } from '../lib/processes.js';
import type { Stage } from '../lib/stage.js';

export const NGINX = '/usr/sbin/nginx';

export interface NginxOptions {
  readonly workers?: number;
  readonly daemon?: boolean;
  /** The address to listen at, 127.0.0.1 unless given. */
  readonly host?: string;
  /** More lines for the `server` block. */
  readonly server?: string;
  readonly http?: string;
}

/** Writes a configuration with everything below the directory; its path. */
export function nginxConfiguration(directory: string, port: number, options: NginxOptions = {}): string {
  const path = join(directory, `nginx-${port}.conf`);
  chmodSync(directory, 0o755);
  for (const sub of ['html', 'tmp']) mkdirSync(join(directory, sub), { recursive: true });
  writeFileSync(
    path,
    `daemon ${options.daemon === true ? 'on' : 'off'};
master_process on;
worker_processes ${options.workers ?? 1};
user www-data;
pid ${directory}/nginx-${port}.pid;
error_log ${options.daemon === true ? `${directory}/error-${port}.log` : 'stderr'} warn;
events { worker_connections 2048; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  client_body_temp_path ${directory}/tmp/body;
  proxy_temp_path ${directory}/tmp/proxy;
  fastcgi_temp_path ${directory}/tmp/fastcgi;
  uwsgi_temp_path ${directory}/tmp/uwsgi;
  scgi_temp_path ${directory}/tmp/scgi;
  default_type application/octet-stream;
  ${options.http ?? ''}
  server {
    listen ${options.host ?? '127.0.0.1'}:${port};
    root ${directory}/html;
    location = /hello { return 200 "Hello from nginx under Z-stack 1234\\n"; }
    ${options.server ?? ''}
  }
}
`,
  );
  return path;
}

/** Starts nginx in the foreground and waits until it serves. */
export async function startNginx(stage: Stage, port: number, options: NginxOptions = {}): Promise<Program> {
  const configuration = nginxConfiguration(stage.directory, port, options);
  const nginx = stage.wrapped([NGINX, '-p', stage.directory, '-c', configuration]);
  await listening(port);
  return nginx;
}

/** The master's process id; 0 while there is no such file. */
export function masterPid(stage: Stage, port: number): number {
  try {
    return Number(readFileSync(join(stage.directory, `nginx-${port}.pid`), 'utf8'));
  } catch {
    return 0; // an upgrade renames it at any moment
  }
}

/** A file of so many bytes that are hard to confuse: random, and every mebibyte different. */
export function makeFile(path: string, size: number): void {
  const block = randomBytes(Math.min(size, 1 << 20));
  const blocks: Buffer[] = [];
  for (let left = size, i = 0; left > 0; left -= block.length, i++) {
    const part = Buffer.from(block.subarray(0, Math.min(left, block.length)));
    if (part.length >= 4) part.writeUInt32LE(i, 0);
    blocks.push(part);
  }
  writeFileSync(path, Buffer.concat(blocks), { mode: 0o644 });
}

/** What wrk reports: requests done, and the lines that speak of errors. */
export function wrkReport(text: string): { requests: number; errors: string[] } {
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  return { requests, errors: text.split('\n').filter((line) => /Socket errors|Non-2xx|unable/.test(line)) };
}
