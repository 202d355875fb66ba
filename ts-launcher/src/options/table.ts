/**
 * Every option of the launcher, declared once. This table feeds the command line, the environment, the configuration
 * file, `config show --origin`, the messages about unknown names and the table in the documentation.
 *
 * Plain data on purpose: starting a program must not wait for a schema library to load. `schema.ts` makes zod schemas
 * of it for configuration files.
 */

/** The form of a value. */
export type ValueType =
  | { readonly kind: 'flag' }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number; readonly unit: string }
  | { readonly kind: 'choice'; readonly values: readonly string[] }
  | { readonly kind: 'text'; readonly pattern: RegExp; readonly form: string }
  | { readonly kind: 'list'; readonly form: string };

export type Value = boolean | number | string | readonly string[];

/** One option. */
export interface OptionSpec {
  /** The flag as commander writes it. A flag `--no-x` declares the option `x` that is on by default. */
  readonly flag: string;
  /** The environment variable; absent where there is none. */
  readonly env?: string;
  /** The key in the configuration file and in its profiles; absent where there is none. */
  readonly toml?: string;
  readonly type: ValueType;
  readonly default: Value | undefined;
  /** What it does, for `--help` and the documentation. */
  readonly text: string;
  /** True for what only an engine that is being started can take up. */
  readonly engine?: true;
}

const OR_KERNEL = { kind: 'choice', values: ['auto', 'kernel'] } as const;
const UDP = { kind: 'choice', values: ['auto', 'early', 'kernel'] } as const;

/** A name of an engine starts with a letter, so that `<uid>-<name>`, the form that wrapped programs see, is another form. */
export const ENGINE_NAME = /^[a-z][a-z0-9_-]{0,31}$/;

/** The ports of an engine when nobody says: `tap` falls back to none where it is not permitted. */
export const DEFAULT_PORT: 'tap' | 'none' = 'tap';

export const OPTIONS = {
  engine: {
    flag: '--engine <name>',
    env: 'ZSTACK_ENGINE',
    toml: 'engine',
    type: { kind: 'text', pattern: ENGINE_NAME, form: 'a letter, then up to 31 of a-z 0-9 _ -' },
    default: 'default',
    text: 'the engine to use; started when it does not run',
  },
  memory: {
    flag: '--memory <mib>',
    env: 'ZSTACK_MEMORY',
    toml: 'memory',
    type: { kind: 'integer', min: 16, max: 1048576, unit: 'MiB' },
    default: 1024,
    text: 'limit of the memory for socket data, in MiB',
    engine: true,
  },
  linger: {
    flag: '--linger <seconds>',
    env: 'ZSTACK_LINGER',
    toml: 'linger',
    type: { kind: 'integer', min: 0, max: 86400, unit: 's' },
    default: 3,
    text: 'seconds that the engine stays after its last program; 0 stays until `engine stop`',
    engine: true,
  },
  hugepages: {
    flag: '--hugepages <mode>',
    env: 'ZSTACK_HUGEPAGES',
    toml: 'hugepages',
    type: { kind: 'choice', values: ['auto', 'on', 'off'] },
    default: 'auto',
    text: 'huge pages for DPDK: when there are free ones, always, never',
    engine: true,
  },
  cores: {
    flag: '--cores <list>',
    env: 'ZSTACK_CORES',
    toml: 'cores',
    type: { kind: 'text', pattern: /^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/, form: 'a list as 0,2-3' },
    default: undefined,
    text: 'CPUs that the engine runs on; default: all that are allowed',
    engine: true,
  },
  workers: {
    flag: '--workers <n>',
    env: 'ZSTACK_WORKERS',
    toml: 'workers',
    type: { kind: 'integer', min: 1, max: 16, unit: 'threads' },
    default: 1,
    text: "the engine's threads that serve TCP over its ports (native stack); with --cores one CPU each",
    engine: true,
  },
  pollUs: {
    flag: '--poll-us <us>',
    env: 'ZSTACK_POLL_US',
    toml: 'poll-us',
    type: { kind: 'integer', min: 0, max: 1000000, unit: 'us' },
    default: 50,
    text: 'microseconds after the last packet that the engine polls its ports before it sleeps',
    engine: true,
  },
  eal: {
    flag: '--eal <arg>',
    env: 'ZSTACK_EAL',
    toml: 'eal',
    type: { kind: 'list', form: 'an argument of DPDK; in the environment several, separated by spaces' },
    default: [],
    text: 'a further argument for DPDK (EAL); may be repeated',
    engine: true,
  },
  dpdk: {
    flag: '--no-dpdk',
    env: 'ZSTACK_DPDK',
    toml: 'dpdk',
    type: { kind: 'flag' },
    default: true,
    text: 'start the engine without DPDK: same-host sockets only',
    engine: true,
  },
  port: {
    flag: '--port <spec>',
    env: 'ZSTACK_PORT',
    toml: 'port',
    type: {
      kind: 'list',
      form: 'tap[:NAME], af_packet:IF, af_xdp:IF, pci:ADDRESS, memif:PATH or none, then `,key=value`...; in the environment several, separated by spaces',
    },
    default: [DEFAULT_PORT],
    text: 'a port of the engine, by which other hosts are reached; may be repeated',
    engine: true,
  },
  stack: {
    flag: '--stack <name>',
    env: 'ZSTACK_STACK',
    toml: 'stack',
    type: { kind: 'choice', values: ['native', 'fstack'] },
    default: 'native',
    text: "TCP/IP stack behind the ports: Z-stack's own, or FreeBSD's through libfstack",
    engine: true,
  },
  fstackSysctl: {
    flag: '--fstack-sysctl <name=value>',
    env: 'ZSTACK_FSTACK_SYSCTL',
    toml: 'fstack-sysctl',
    type: { kind: 'list', form: 'a sysctl of FreeBSD and its value; in the environment several, separated by spaces' },
    default: [],
    text: 'with --stack fstack: set this, as net.inet.tcp.functions_default=rack; may be repeated',
    engine: true,
  },
  ecn: {
    flag: '--ecn <mode>',
    env: 'ZSTACK_ECN',
    toml: 'ecn',
    type: { kind: 'choice', values: ['passive', 'on', 'off'] },
    default: 'passive',
    text: 'congestion marks of TCP (ECN): when the peer asks, asked for as well, never',
    engine: true,
  },
  netns: {
    flag: '--netns <name>',
    env: 'ZSTACK_NETNS',
    toml: 'netns',
    type: { kind: 'text', pattern: /^(?!\.{1,2}$)[^/\s\0]{1,255}$/, form: 'the name of a network namespace' },
    default: undefined,
    text: "network namespace that the kernel's end of a TAP is put into; default: where the engine runs",
    engine: true,
  },
  tcp: {
    flag: '--tcp <mode>',
    env: 'ZSTACK_TCP',
    toml: 'tcp',
    type: OR_KERNEL,
    default: 'auto',
    text: 'TCP sockets: accelerated where possible, or left to the kernel',
  },
  udp: {
    flag: '--udp <mode>',
    env: 'ZSTACK_UDP',
    toml: 'udp',
    type: UDP,
    default: 'auto',
    text: 'UDP sockets: accelerated from the third datagram of a client on, from the first one, or left to the kernel',
  },
  ownCalls: {
    flag: '--own-calls <mode>',
    env: 'ZSTACK_OWN_CALLS',
    toml: 'own-calls',
    type: OR_KERNEL,
    default: 'auto',
    text: 'system calls that a Go program makes itself, past the C library: redirected, or left to the kernel',
  },
  spinUs: {
    flag: '--spin-us <us>',
    env: 'ZSTACK_SPIN_US',
    toml: 'spin-us',
    type: { kind: 'integer', min: 0, max: 1000000, unit: 'us' },
    default: 20,
    text: 'microseconds that a waiting program polls before it sleeps',
  },
  log: {
    flag: '--log <level>',
    env: 'ZSTACK_LOG',
    toml: 'log',
    type: { kind: 'choice', values: ['error', 'warn', 'info', 'debug'] },
    default: 'warn',
    text: 'what the library in the program and an engine that is started report',
  },
  trace: {
    flag: '--trace',
    env: 'ZSTACK_TRACE',
    toml: 'trace',
    type: { kind: 'flag' },
    default: false,
    text: 'one line on stderr per call on an accelerated socket',
  },
  capture: {
    flag: '--capture <file>',
    type: { kind: 'text', pattern: /^[^\0]+$/, form: 'a path' },
    default: undefined,
    text: 'write all traffic, also between programs, to a pcapng file until the command ends (engine start: the engine)',
  },
  captureSnaplen: {
    flag: '--capture-snaplen <bytes>',
    type: { kind: 'integer', min: 64, max: 262144, unit: 'bytes' },
    default: 262144,
    text: 'so much of each packet that is captured',
  },
  captureMaxSize: {
    flag: '--capture-max-size <mib>',
    type: { kind: 'integer', min: 0, max: 1048576, unit: 'MiB' },
    default: 0,
    text: 'capturing stops when the file is that large, in MiB; 0: without limit',
  },
  quiet: {
    flag: '-q, --quiet',
    env: 'ZSTACK_QUIET',
    toml: 'quiet',
    type: { kind: 'flag' },
    default: false,
    text: 'say nothing but errors',
  },
  fallback: {
    flag: '--fallback <to>',
    env: 'ZSTACK_FALLBACK',
    toml: 'fallback',
    type: { kind: 'choice', values: ['none', 'kernel'] },
    default: 'none',
    text: 'without an engine: fail, or run the command on kernel sockets',
  },
  force: {
    flag: '--force',
    env: 'ZSTACK_FORCE',
    toml: 'force',
    type: { kind: 'flag' },
    default: false,
    text: 'run a command even if the library cannot reach it',
  },
  profile: {
    flag: '--profile <name>',
    env: 'ZSTACK_PROFILE',
    type: { kind: 'text', pattern: /^[A-Za-z0-9_-]{1,64}$/, form: '1 to 64 of A-Z a-z 0-9 _ -' },
    default: undefined,
    text: 'take [profiles.NAME] of the configuration file over its other values',
  },
  config: {
    flag: '--config <file>',
    env: 'ZSTACK_CONFIG',
    type: { kind: 'text', pattern: /^[^\0]+$/, form: 'a path' },
    default: undefined,
    text: 'the configuration file; default: ./zstack.toml, then $XDG_CONFIG_HOME/zstack/config.toml',
  },
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof OPTIONS;

/** The names, in the order of the table. */
export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

/** An option by its name, with the general type. */
export function spec(name: OptionName): OptionSpec {
  return OPTIONS[name];
}

/** The form of a value in words, as errors and the documentation give it. */
export function formOf(type: ValueType): string {
  switch (type.kind) {
    case 'flag':
      return 'true or false';
    case 'integer':
      return `a whole number from ${type.min} to ${type.max} (${type.unit})`;
    case 'choice':
      return `one of ${type.values.join(', ')}`;
    default:
      return type.form;
  }
}

const TRUE = new Set(['1', 'true', 'yes', 'on']);
const FALSE = new Set(['0', 'false', 'no', 'off', '']);

/**
 * Reads a value written as text: a flag's argument, an environment variable.
 * @returns the value, or `undefined` when the text is not of the form
 */
export function parseText(type: ValueType, text: string): Value | undefined {
  switch (type.kind) {
    case 'flag': {
      const lower = text.toLowerCase();
      return TRUE.has(lower) ? true : FALSE.has(lower) ? false : undefined;
    }
    case 'integer': {
      if (!/^\d{1,10}$/.test(text)) return undefined;
      const number = Number(text);
      return number >= type.min && number <= type.max ? number : undefined;
    }
    case 'choice':
      return type.values.includes(text) ? text : undefined;
    case 'text':
      return type.pattern.test(text) ? text : undefined;
    case 'list':
      return text.split(/\s+/).filter((part) => part !== '');
  }
}

/** The candidate nearest to `word`, if it is near enough to be meant (at most a third of its letters, at least 2, differ). */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
