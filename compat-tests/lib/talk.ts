// SPDX-License-Identifier: BSD-3-Clause
/** A client that does what the test says, step by step: `apps/programs/talk.py`. */
import { program } from './paths.js';
import type { Program } from './processes.js';
import type { Stage } from './stage.js';
import { until } from './wait.js';

export const PYTHON = '/usr/bin/python3';

export class Talk {
  private read = 0;

  private constructor(readonly process: Program) {}

  /** Starts a client for the server at `port`: under Z-stack, on the kernel, or at the far end of the wire. */
  static async start(stage: Stage, where: boolean | 'far', port: number, host = '127.0.0.1'): Promise<Talk> {
    const command = [PYTHON, program('talk.py'), `${port}`];
    const options = { input: 'open', env: { TEST_HOST: host } } as const;
    const talk = new Talk(where === 'far' ? stage.far(command, options) : stage.start(where, command, options));
    await talk.answer(10_000);
    return talk;
  }

  /** Gives a command without waiting for its answer. */
  tell(command: string): void {
    this.process.write(`${command}\n`);
  }

  /** The next answer: its last word. */
  async answer(timeoutMs = 10_000): Promise<string> {
    const line = await until(
      () => `${this.process.name} answers; it wrote:\n${this.process.stdout}${this.process.stderr}`,
      () => {
        const lines = this.process.stdout.split('\n').slice(0, -1);
        if (lines[this.read] === undefined && !this.process.running)
          throw new Error(`${this.process.name} ended:\n${this.process.stderr}`);
        return lines[this.read];
      },
      timeoutMs,
    );
    this.read++;
    return line.split(' ').at(-1) ?? '';
  }

  async ask(command: string, timeoutMs = 10_000): Promise<string> {
    this.tell(command);
    return this.answer(timeoutMs);
  }

  /** Gives all commands at once; the answers. */
  async askAll(commands: readonly string[], timeoutMs = 10_000): Promise<string[]> {
    for (const command of commands) this.tell(command);
    const answers: string[] = [];
    for (let i = 0; i < commands.length; i++) answers.push(await this.answer(timeoutMs));
    return answers;
  }

  /** Ends it: status 0. */
  async end(): Promise<void> {
    this.process.endInput();
    const { status, stderr } = await this.process.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  }
}
