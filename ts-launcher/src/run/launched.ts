/**
 * What the shell script `zstack-run` saw before Node started, as its first argument: Node raises the limit of open
 * files, resets signal dispositions and marks inherited descriptors close-on-exec. All that is given back to the command.
 */

/** The state to give back. */
export interface Launched {
  /** Soft RLIMIT_NOFILE and RLIMIT_CORE: a number or `unlimited`. */
  readonly nofile: string | undefined;
  readonly core: string | undefined;
  /** Masks of ignored and of blocked signals, hexadecimal, bit 0 is signal 1. */
  readonly ignored: bigint;
  readonly blocked: bigint;
  /** Open descriptors above 2. */
  readonly fds: readonly number[];
}

/** Started without the script: nothing is known, nothing is given back. */
const UNKNOWN: Launched = { nofile: undefined, core: undefined, ignored: 0n, blocked: 0n, fds: [] };

const PREFIX = '--launched=';

/**
 * Takes the script's argument off the front.
 * @param argv the arguments after the program's name
 */
export function takeLaunched(argv: readonly string[]): { launched: Launched; rest: string[] } {
  const [first, ...rest] = argv;
  if (first === undefined || !first.startsWith(PREFIX)) return { launched: UNKNOWN, rest: [...argv] };
  const [nofile, core, ignored, blocked, fds] = first.slice(PREFIX.length).split(':');
  return {
    launched: {
      nofile: limit(nofile),
      core: limit(core),
      ignored: mask(ignored),
      blocked: mask(blocked),
      fds: (fds ?? '')
        .split(',')
        .map(Number)
        .filter((fd) => Number.isInteger(fd) && fd > 2),
    },
    rest,
  };
}

function limit(text: string | undefined): string | undefined {
  return text !== undefined && /^(\d+|unlimited)$/.test(text) ? text : undefined;
}

function mask(text: string | undefined): bigint {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : 0n;
}

/** True when the mask has the signal. */
export function hasSignal(mask: bigint, signal: number): boolean {
  return (mask & (1n << BigInt(signal - 1))) !== 0n;
}

/**
 * NODE_OPTIONS is for the user's programs, not for this one: the script moved it out of the way.
 * Puts it back into `env`.
 */
export function restoreNodeOptions(env: NodeJS.ProcessEnv): void {
  const saved = env['ZSTACK_SAVED_NODE_OPTIONS'];
  if (saved === undefined) return;
  env['NODE_OPTIONS'] = saved;
  delete env['ZSTACK_SAVED_NODE_OPTIONS'];
}
