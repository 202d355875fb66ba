// SPDX-License-Identifier: BSD-3-Clause
/** A network namespace for one test file. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

export class NetworkNamespace {
  readonly name = `zst-${process.pid}-${randomBytes(3).toString('hex')}`;

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name]);
    try {
      this.ip('link', 'set', 'lo', 'up');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Whether this user may make namespaces. */
  static possible(): boolean {
    try {
      new NetworkNamespace().remove();
      return true;
    } catch {
      return false;
    }
  }

  /** What comes before a command to run it inside. */
  get prefix(): string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  /** `ip` inside. */
  ip(...args: string[]): void {
    execFileSync('ip', ['-n', this.name, ...args]);
  }

  /** Runs a command inside, and returns what it wrote. @throws what execFileSync does */
  run(...command: readonly string[]): string {
    const [file = '', ...args] = [...this.prefix, ...command];
    return execFileSync(file, args, { encoding: 'utf8' });
  }

  remove(): void {
    execFileSync('ip', ['netns', 'delete', this.name]);
  }
}
