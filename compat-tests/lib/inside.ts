// SPDX-License-Identifier: BSD-3-Clause
/** Requests to an engine in a network namespace: abstract names belong to it, so a program inside passes them on. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { NetworkNamespace } from './netns.js';
import { ROOT } from './paths.js';
import { within } from './wait.js';

interface Answer {
  readonly id: number;
  readonly ok: boolean;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class InsideClient {
  private readonly child: ChildProcess;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private text = '';
  private errors = '';
  private lost: Error | undefined;

  constructor(namespace: NetworkNamespace, identity: string) {
    const relay = join(ROOT, 'compat-tests', 'lib', 'admin-inside.mjs');
    const [file = '', ...args] = [...namespace.prefix, process.execPath, relay, identity];
    this.child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.receive(text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    this.child.stdin?.on('error', () => undefined);
    this.child.once('error', (error) => this.end(error));
    this.child.once('close', () => this.end(new Error(`engine ${identity} closed the connection: ${this.errors}`)));
  }

  request(cmd: string, args: Record<string, unknown>): Promise<unknown> {
    const id = this.nextId++;
    const answer = new Promise((resolve, reject) => {
      if (this.lost !== undefined) return reject(this.lost);
      this.pending.set(id, { resolve, reject });
      this.child.stdin?.write(`${JSON.stringify({ id, cmd, ...args })}\n`);
    });
    return within(10_000, `the engine answers ${cmd}`, answer);
  }

  close(): void {
    this.child.kill('SIGKILL');
  }

  private receive(text: string): void {
    const lines = (this.text + text).split('\n');
    this.text = lines.pop() ?? '';
    for (const line of lines) {
      const { id, ok, result, error } = JSON.parse(line) as Answer;
      const waiting = this.pending.get(id);
      this.pending.delete(id);
      if (ok) waiting?.resolve(result);
      else waiting?.reject(new Error(error?.message ?? 'refused'));
    }
  }

  private end(error: Error): void {
    this.lost ??= error;
    for (const waiting of this.pending.values()) waiting.reject(error);
    this.pending.clear();
  }
}
