// SPDX-License-Identifier: BSD-3-Clause
/** The C library in another process: calls and answers are lines over two named pipes, one call at a time. */
import { openSync, readSync, writeSync } from 'node:fs';
import { libc, type Libc } from '../libc/index.js';

/** Buffers travel as base64. */
function encode(value: unknown): string {
  const text = JSON.stringify(value, (_, v: unknown) => {
    const data = v as { type?: string; data?: number[] } | null;
    return data !== null && typeof data === 'object' && data.type === 'Buffer' && Array.isArray(data.data)
      ? { $buffer: Buffer.from(data.data).toString('base64') }
      : v;
  });
  return `${text}\n`;
}

function decode(text: string): unknown {
  return JSON.parse(text, (_, v: unknown) => {
    const data = v as { $buffer?: string } | null;
    return data !== null && typeof data === 'object' && typeof data.$buffer === 'string'
      ? Buffer.from(data.$buffer, 'base64')
      : v;
  }) as unknown;
}

/** Lines from a descriptor, blocking. */
class Lines {
  private rest = '';
  constructor(private readonly fd: number) {}

  next(): string | undefined {
    const chunk = Buffer.alloc(1 << 16);
    for (;;) {
      const end = this.rest.indexOf('\n');
      if (end >= 0) {
        const line = this.rest.slice(0, end);
        this.rest = this.rest.slice(end + 1);
        return line;
      }
      const n = readSync(this.fd, chunk, 0, chunk.length, null);
      if (n === 0) return undefined;
      this.rest += chunk.toString('latin1', 0, n);
    }
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}

export type Methods = {
  [Name in keyof Libc]: Libc[Name] extends (...args: never[]) => unknown ? Name : never;
}[keyof Libc];

export class Remote {
  private readonly out: number;
  private readonly lines: Lines;
  private busy = false;
  /** The same functions as {@link libc}, called over there. */
  readonly libc: Libc;

  constructor(requests: string, answers: string) {
    this.out = openSync(requests, 'w');
    this.lines = new Lines(openSync(answers, 'r'));
    this.libc = new Proxy(libc, {
      get:
        (_, name) =>
        (...args: unknown[]) =>
          this.begin(String(name), args)(),
    });
  }

  /** Starts a call; what it returns waits for the answer. */
  begin(name: string, args: readonly unknown[]): () => unknown {
    if (this.busy) throw new Error('the other process is in a call');
    this.busy = true;
    writeAll(this.out, encode({ name, args }));
    return () => {
      const line = this.lines.next();
      this.busy = false;
      if (line === undefined) throw new Error('the other process ended');
      const answer = decode(line) as { value?: unknown; error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer.value;
    };
  }
}

/** Answers calls until the other side closes its pipe. */
export function serve(requests: string, answers: string): void {
  const lines = new Lines(openSync(requests, 'r'));
  const out = openSync(answers, 'w');
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const { name, args } = decode(line) as { name: Methods; args: unknown[] };
    let answer: unknown;
    try {
      answer = { value: (libc[name] as (...args: unknown[]) => unknown)(...args) };
    } catch (error) {
      answer = { error: String(error) };
    }
    writeAll(out, encode(answer));
  }
}
