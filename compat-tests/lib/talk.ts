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

  /** Starts a client for the server at `port`. */
  static async start(stage: Stage, wrapped: boolean, port: number): Promise<Talk> {
    const talk = new Talk(stage.start(wrapped, [PYTHON, program('talk.py'), `${port}`], { input: 'open' }));
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
