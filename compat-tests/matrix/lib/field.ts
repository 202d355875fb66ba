// SPDX-License-Identifier: BSD-3-Clause
/** Where the cells of the matrix run: a stage per backend, with its engine; a directory and a log per cell. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type {
  Backend,
  Case,
  Field,
  FieldGround,
  Least,
  Outcome,
  PortKind,
  Running,
  StartOptions,
  Tests,
} from '../../../ts-launcher/src/compat/case.js';
import type { Engine, Status } from '../../lib/engine.js';
import { freePort } from '../../lib/ports.js';
import type { Program } from '../../lib/processes.js';
import { Stage, type Ends } from '../../lib/stage.js';
import { until } from '../../lib/wait.js';

/** Of what a program wrote, this much goes into the log from its begin and from its end. */
const LOG_PART = 100_000;

/** Opens the ground of a backend; `isolated`: in network namespaces of its own, which the wire always has. */
export async function openField(backend: Backend, over: PortKind, isolated: boolean): Promise<Field> {
  const stage = new Stage(backend === 'wire' ? { wire: over } : { namespace: isolated });
  try {
    await stage.open();
    chmodSync(stage.directory, 0o755);
  } catch (error) {
    await stage.close().catch(() => undefined);
    throw error;
  }
  return {
    ground: async (each, name, reference) => {
      const directory = join(stage.directory, name);
      mkdirSync(directory);
      chmodSync(directory, 0o755);
      return new StageGround(backend, each, stage, directory, reference, await used(stage.engines));
    },
    close: () => stage.close(),
  };
}

/** What went through the engines since they started. */
interface Used {
  readonly connections: number;
  readonly bytes: number;
}

class StageGround implements FieldGround {
  readonly host: string;
  private readonly ends: Ends;
  private readonly programs: Program[] = [];
  private readonly lines: string[] = [];
  /** Connections that only asked whether somebody listens; they show nothing. */
  private probes = 0;

  constructor(
    readonly backend: Backend,
    private readonly each: Case,
    private readonly stage: Stage,
    readonly directory: string,
    readonly reference: Tests,
    private readonly before: readonly Used[],
  ) {
    this.ends = backend === 'wire' ? stage.ends(each.wire ?? 'in') : stage.sameHost(backend === 'same-host');
    this.host = this.ends.host;
  }

  port(): Promise<number> {
    return freePort();
  }

  server(command: readonly string[], options: StartOptions = {}): Running {
    return this.keep(this.ends.server(command, { cwd: this.directory, ...options }));
  }

  client(command: readonly string[], options: StartOptions = {}): Running {
    return this.keep(this.ends.client(command, { cwd: this.directory, ...options }));
  }

  ok(command: readonly string[], options: StartOptions = {}): Promise<Outcome> {
    return succeeded(this.client(command, options), command);
  }

  prepare(command: readonly string[], options: StartOptions = {}): Promise<Outcome> {
    return succeeded(this.keep(this.stage.kernel(command, { cwd: this.directory, ...options })), command);
  }

  async listening(port: number): Promise<void> {
    await this.ends.listening(port);
    this.probes++;
  }

  until<T>(what: string, probe: () => T | undefined | false | Promise<T | undefined | false>, ms?: number): Promise<T> {
    return until(what, probe, ms);
  }

  log(text: string): void {
    this.lines.push(text);
  }

  private keep(program: Program): Program {
    this.programs.push(program);
    return program;
  }

  async checkAccelerated(): Promise<string> {
    const least: Required<Least> = { connections: 1, bytes: 1, ...this.each.least };
    const growth = async () => {
      const now = await used(this.stage.engines);
      return now.map((each, i) => ({
        connections: each.connections - (this.before[i]?.connections ?? 0) - this.probes,
        bytes: each.bytes - (this.before[i]?.bytes ?? 0),
      }));
    };
    if (this.backend === 'kernel') {
      if ((await growth()).some(({ connections, bytes }) => connections + bytes > 0))
        throw new Error('the reference was accelerated: it did not run on the kernel');
      return '';
    }
    let last: readonly Used[] = [];
    // A program that has just ended is counted when the engine has seen its end.
    await until(
      () => `sockets were accelerated: at least ${text(least)}, but there were ${last.map(text).join(', ')}`,
      async () => {
        last = await growth();
        return last.every(({ connections, bytes }) => connections >= least.connections && bytes >= least.bytes);
      },
      10_000,
    );
    return `accelerated: ${last.map(text).join(', ')}`;
  }

  transcript(): string {
    const written = this.programs.map(
      (program) => `$ ${program.command.join(' ')}\n${part(program.stdout)}${part(program.stderr)}`,
    );
    const engines = this.stage.engines.map((engine) => `engine ${engine.name}:\n${part(engine.logText())}`);
    return [...this.lines, ...written, ...engines].join('\n');
  }

  async clear(): Promise<void> {
    await this.stage.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function text({ connections, bytes }: Used): string {
  return `${connections} connections, ${bytes} bytes`;
}

function part(output: string): string {
  if (output.length <= 2 * LOG_PART) return output;
  return `${output.slice(0, LOG_PART)}\n[...]\n${output.slice(-LOG_PART)}`;
}

async function succeeded(program: Running, command: readonly string[]): Promise<Outcome> {
  const outcome = await program.ended();
  if (outcome.status === 0) return outcome;
  const how = outcome.status ?? outcome.signal;
  const written = `${outcome.stdout.slice(-1500)}${outcome.stderr.slice(-1500)}`;
  throw new Error(`${command.join(' ').slice(0, 200)} ended with ${how}; it wrote:\n${written}`);
}

/** By every engine: connections and bytes of programs that run and of those that ended, or over the wire. */
async function used(engines: readonly Engine[]): Promise<Used[]> {
  return Promise.all(engines.map(async (engine) => counted(await engine.status())));
}

function counted({ clients, totals, stack }: Status): Used {
  const sum = (each: (client: Status['clients'][number]) => number) => clients.reduce((all, c) => all + each(c), 0);
  const of = (name: string, from: Readonly<Record<string, number>> = totals) => from[name] ?? 0;
  const bytes = sum((c) => c.bytes_in + c.bytes_out) + of('ended_bytes_in') + of('ended_bytes_out');
  if (stack === undefined) return { connections: sum((c) => c.accepts) + of('ended_accepts'), bytes };
  return { connections: of('tcp_opened_passive', stack) + of('tcp_opened_active', stack), bytes };
}
