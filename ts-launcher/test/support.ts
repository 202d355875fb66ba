/** What the tests of the launcher share: the launcher itself with a fake engine, and directories that go away. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../src/paths.js';

export const LAUNCHER = join(ROOT, 'zstack-run');
export const FAKE = join(ROOT, 'ts-launcher/test/fake/zstackd.mjs');

/** How a program ended and what it wrote. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory for one test file, with the helper and an empty preload library in `build`. */
export class Sandbox {
  readonly directory = mkdtempSync(join(tmpdir(), 'zstack-unit-'));
  readonly build = this.directory;
  private readonly engines = new Set<string>();

  constructor() {
    const cc = (...args: string[]) => execFileSync('cc', args, { stdio: ['pipe', 'inherit', 'inherit'], input: '' });
    cc('-O1', '-o', join(this.build, 'zstack-exec'), join(ROOT, 'ts-launcher/native/zstack-exec.c'));
    cc('-shared', '-fPIC', '-x', 'c', '-', '-o', join(this.build, 'libzstack_preload.so'));
  }

  /** A file in the directory. */
  file(name: string, content: string, mode = 0o644): string {
    const path = join(this.directory, name);
    writeFileSync(path, content, { mode });
    return path;
  }

  /** A name for an engine that no other test uses; ended by {@link remove}. */
  engine(prefix: string): string {
    const name = `${prefix}${process.pid}-${this.engines.size}`;
    this.engines.add(name);
    return name;
  }

  /** The environment in which the launcher uses the fake engine. */
  get env(): NodeJS.ProcessEnv {
    const env: NodeJS.ProcessEnv = {};
    for (const [key, value] of Object.entries(process.env)) if (!key.startsWith('ZSTACK_')) env[key] = value;
    return {
      ...env,
      ZSTACK_BOOTSTRAP: '0',
      ZSTACK_BUILD_DIR: this.build,
      ZSTACK_ZSTACKD: FAKE,
      // Tests run in the machine's network namespace: nothing is made there.
      ZSTACK_PORT: 'none',
      XDG_CONFIG_HOME: join(this.directory, 'none'),
      NODE_OPTIONS: '',
    };
  }

  /** Starts the launcher. */
  start(
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; cwd?: string; shell?: string } = {},
  ): ChildProcess {
    const env = { ...this.env, ...options.env };
    const cwd = options.cwd ?? this.directory;
    return options.shell === undefined
      ? spawn(LAUNCHER, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
      : spawn('/bin/sh', ['-c', options.shell, LAUNCHER, ...args], { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Runs the launcher to its end. `shell`: a script that starts it as `"$0" "$@"`. */
  run(
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; cwd?: string; shell?: string } = {},
  ): Promise<Outcome> {
    return outcome(this.start(args, options));
  }

  /** Ends the engines and removes the directory. */
  async remove(): Promise<void> {
    for (const name of this.engines) await this.run(['engine', 'stop', '--force', '--engine', name]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Waits for a program's end. */
export function outcome(child: ChildProcess): Promise<Outcome> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}

/** Resolves with what stdout has once it matches. */
export function untilPrinted(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  let text = '';
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const match = pattern.exec(text);
      if (match) resolve(match);
    });
    child.once('close', () => reject(new Error(`ended before ${String(pattern)} was printed: ${text}`)));
  });
}

/** Ids of the processes whose command line contains `text`. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}
