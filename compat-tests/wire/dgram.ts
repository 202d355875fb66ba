// SPDX-License-Identifier: BSD-3-Clause
/** A program with datagram sockets that does what the test says: `programs/dgram.py`, at either end of the wire. */
import type { NetworkNamespace } from '../lib/netns.js';
import type { Program } from '../lib/processes.js';
import type { Stage } from '../lib/stage.js';
import { PYTHON } from '../lib/talk.js';
import { until } from '../lib/wait.js';
import { wireProgram } from './wire.js';

export type Where = 'near' | 'far';

export class Datagrams {
  private read = 0;

  private constructor(private readonly process: Program) {}

  static async start(stage: Stage, where: Where | NetworkNamespace): Promise<Datagrams> {
    const command = [PYTHON, wireProgram('dgram.py')];
    const options = { input: 'open' } as const;
    const process =
      where === 'near'
        ? stage.wrapped(command, options)
        : where === 'far'
          ? stage.far(command, options)
          : stage.inside(where, command, options);
    const program = new Datagrams(process);
    await program.answer();
    return program;
  }

  private async answer(timeoutMs = 20_000): Promise<unknown> {
    const line = await until(
      () => `dgram.py answers; it wrote:\n${this.process.stdout}${this.process.stderr}`,
      () => {
        const lines = this.process.stdout.split('\n').slice(0, -1);
        if (lines[this.read] === undefined && !this.process.running)
          throw new Error(`dgram.py ended:\n${this.process.stderr}`);
        return lines[this.read];
      },
      timeoutMs,
    );
    this.read++;
    return JSON.parse(line);
  }

  /** One call on a socket of the program. */
  async call(name: string, socket: string, ...args: readonly unknown[]): Promise<unknown> {
    this.process.write(`${JSON.stringify([name, socket, ...args])}\n`);
    return this.answer();
  }

  /** Calls that must succeed. */
  async calls(...all: readonly (readonly [string, string, ...unknown[]])[]): Promise<void> {
    for (const [name, socket, ...args] of all) {
      const answer = await this.call(name, socket, ...args);
      if (typeof answer === 'object' && answer !== null && 'error' in answer)
        throw new Error(`${name} ${JSON.stringify(args)}: ${JSON.stringify(answer)}`);
    }
  }
}
