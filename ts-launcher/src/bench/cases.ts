/** What is measured: per case a server, a client, and how to read the client's result. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LauncherError } from '../errors.js';
import { part, ROOT } from '../paths.js';

/** What a case is given for one measurement. */
export interface Place {
  readonly port: number;
  /** The address that clients connect to. */
  readonly host: string;
  /** The address that servers listen at, where they can be told. */
  readonly bind: string;
  /** Seconds that a measurement takes, at least 1. */
  readonly seconds: number;
  /** An empty directory of this measurement. */
  readonly directory: string;
}

/** One benchmark. */
export interface Case {
  readonly name: string;
  readonly text: string;
  readonly unit: string;
  /** Which direction is good. */
  readonly better: 'higher' | 'lower';
  /** Both programs on the server's CPU, and the engine, too. */
  readonly oneCpu?: boolean;
  /** Each measurement of Z-stack stands between two of the cache line, whose multiple is told, too. */
  readonly inLines?: boolean;
  /** What both programs get in their environment besides. */
  readonly env?: Readonly<Record<string, string>>;
  /** Programs that must be installed. */
  readonly needs: readonly string[];
  server(place: Place): { command: readonly string[]; env?: Record<string, string> };
  client(place: Place): readonly string[];
  /** A short client to learn how long a measurement must be; only where the client takes a count and no time. */
  calibrate?(place: Place): readonly string[];
  /** The client for a measured rate, where there is {@link calibrate}. */
  calibrated?(place: Place, rate: number): readonly string[];
  /** @throws LauncherError ZS1501 when the output shows a failure */
  value(stdout: string): number;
}

/** Reads one number of a JSON object. */
export function json(key: string): (stdout: string) => number {
  return (stdout) => {
    const value = (JSON.parse(stdout) as Record<string, unknown>)[key];
    if (typeof value !== 'number') throw new LauncherError('ZS1501', `no ${key} in the result: ${stdout}`);
    return value;
  };
}

/** For programs that take whole seconds. */
const whole = (seconds: number): string => String(Math.max(1, Math.round(seconds)));

const wrkOf =
  (connections: number) =>
  ({ host, port, seconds }: Place): string[] => [
    ...['wrk', '-t1', `-c${connections}`, `-d${whole(seconds)}s`, `http://${host}:${port}/`],
  ];
const wrk = wrkOf(32);

function wrkValue(stdout: string): number {
  const trouble = /Socket errors:.*|Non-2xx.*/.exec(stdout)?.[0];
  if (trouble !== undefined) throw new LauncherError('ZS1501', `wrk reports ${trouble}`);
  return number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1], 'wrk', stdout);
}

/** The requests that wrk counted. */
export function wrkRequests(stdout: string): number {
  return number(/([\d]+) requests in /.exec(stdout)?.[1], 'wrk', stdout);
}

function number(text: string | undefined, program: string, stdout: string): number {
  const value = Number(text);
  if (text === undefined || !Number.isFinite(value))
    throw new LauncherError('ZS1501', `${program} printed no result: ${stdout}`);
  return value;
}

/** What else is in parts of its configuration. */
export interface NginxMore {
  readonly main?: string;
  readonly events?: string;
  readonly listen?: string;
}

/** nginx as the benchmark wants it: one worker, 36 bytes from memory, connections kept alive. */
export function nginxConfiguration({ bind, port, directory }: Place, more: NginxMore = {}): string {
  for (const name of ['tmp', 'logs']) mkdirSync(join(directory, name), { recursive: true });
  const file = join(directory, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path tmp/${name};`,
  );
  writeFileSync(
    file,
    `${more.main ?? ''} daemon off; worker_processes 1; pid logs/nginx.pid; error_log stderr error;
events { worker_connections 1024; ${more.events ?? ''} }
http {
  access_log off; keepalive_requests 1000000000; ${temporary.join(' ')}
  server { listen ${bind}:${port} ${more.listen ?? ''}; location / { default_type text/plain; return 200 "Hello from nginx, 36 bytes of text.\\n"; } }
}
`,
  );
  return file;
}

const redisBenchmark = (port: number, count: number, pipeline: number): string[] => [
  ...[
    'redis-benchmark',
    '-p',
    String(port),
    '-c',
    '16',
    '-t',
    'get',
    '-n',
    String(count),
    '-P',
    String(pipeline),
    '--csv',
  ],
];

/** What a case of nginx has in common with the others. */
const nginxCase = (name: string, text: string, connections: number): Case => ({
  ...{ name, text, unit: 'requests/s', better: 'higher', needs: ['nginx', 'wrk'] },
  server: (place) => ({ command: ['nginx', '-p', place.directory, '-c', nginxConfiguration(place)] }),
  client: wrkOf(connections),
  value: wrkValue,
});

const redisCase = (name: string, text: string, pipeline: number): Case => ({
  ...{ name, text, unit: 'requests/s', better: 'higher', needs: ['redis-server', 'redis-benchmark'] },
  server: ({ port, directory }) => ({
    command: [
      ...['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--dir', directory],
      ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
    ],
  }),
  client: ({ port }) => redisBenchmark(port, 100_000, pipeline),
  calibrate: ({ port }) => redisBenchmark(port, 20_000, pipeline),
  calibrated: ({ port, seconds }, rate) => redisBenchmark(port, Math.max(20_000, Math.round(rate * seconds)), pipeline),
  value: (stdout) => number(/^"GET[^"]*","([\d.]+)"/m.exec(stdout)?.[1], 'redis-benchmark', stdout),
});

const nodeServer = ({ port }: Place) => ({
  command: [process.execPath, join(ROOT, 'apps', 'http-node', 'server.js')],
  env: { PORT: String(port), HOST: '127.0.0.1' },
});

/** The load generator that Node's own developers use, of the project's development packages: a client in JavaScript. */
const AUTOCANNON = join(ROOT, 'node_modules', '.bin', 'autocannon');

function autocannonValue(stdout: string): number {
  const { errors, non2xx, requests } = JSON.parse(stdout) as Record<string, unknown>;
  if (errors !== 0 || non2xx !== 0)
    throw new LauncherError('ZS1501', `autocannon reports ${String(errors)} errors, ${String(non2xx)} other answers`);
  return json('average')(JSON.stringify(requests));
}

const zeroStream = (name: string, text: string, ...mode: string[]): Case => ({
  ...{ name, text, unit: 'MB/s', better: 'higher', needs: [] },
  server: ({ port }) => ({ command: [part('zc-stream'), 'server', String(port), ...mode] }),
  client: ({ host, port, seconds }) => [part('zc-stream'), 'client', `${host}:${port}`, String(seconds), ...mode],
  value: (stdout) => json('bytes_per_s')(stdout) / 1e6,
});

const pingpong = (name: string, text: string, mode = 'client'): Case => ({
  ...{ name, text, unit: 'ns', better: 'lower', needs: [] },
  server: ({ port }) => ({ command: [part('pingpong'), 'server', String(port)] }),
  client: ({ host, port, seconds }) => [part('pingpong'), mode, `${host}:${port}`, String(seconds)],
  value: json('median_ns'),
});

const connections = (name: string, text: string): Case => ({
  ...{ name, text, unit: '1/s', better: 'higher', needs: [] },
  server: ({ port }) => ({ command: [part('pingpong'), 'server', String(port)] }),
  client: ({ host, port, seconds }) => [part('pingpong'), 'connections', `${host}:${port}`, String(seconds)],
  value: json('per_s'),
});

/** A process of `many` holds so many connections at most (apps/echo-c/many.c). */
const MANY_EACH = 15_000;

const many = (name: string, text: string, count: number): Case => ({
  ...{ name, text, unit: 'ns', better: 'lower', needs: [] },
  server: ({ port }) => ({ command: [part('many'), 'server', String(port), String(Math.ceil(count / MANY_EACH))] }),
  client: ({ port, seconds }) => [part('many'), 'client', String(port), String(seconds), String(count)],
  value: json('ns'),
});

/** All cases, in the order in which they are run. */
export const CASES: readonly Case[] = [
  { ...pingpong('round-trip', '64-byte round trip, blocking read and write'), inLines: true },
  {
    ...pingpong('round-trip-asleep', 'the same without polling: each sleeps for each message'),
    env: { ZSTACK_SPIN_US: '0' },
  },
  pingpong('round-trip-paced', 'the same with pauses in which both fall asleep', 'paced'),
  { ...pingpong('round-trip-one-cpu', 'the same, both and the engine on one CPU'), oneCpu: true },
  {
    name: 'stream',
    text: '64 KiB stream, the receiver adds up every byte',
    unit: 'MB/s',
    better: 'higher',
    needs: [],
    server: ({ port }) => ({ command: [part('stream'), 'server', String(port)] }),
    client: ({ host, port, seconds }) => [part('stream'), 'client', `${host}:${port}`, String(seconds), '65536'],
    value: (stdout) => json('bytes_per_s')(stdout) / 1e6,
  },
  zeroStream('stream-zero', 'the same with the zero-copy calls'),
  zeroStream('stream-untouched', 'the same, the receiver does not look at the data', 'untouched'),
  nginxCase('nginx', 'wrk -c32 to nginx, one worker, 36 bytes', 32),
  nginxCase('nginx-c1', 'wrk -c1 to nginx', 1),
  { ...nginxCase('nginx-one-cpu', 'wrk -c32 and nginx on one CPU', 32), oneCpu: true },
  redisCase('redis', 'redis-benchmark GET -c16', 1),
  redisCase('redis-P16', 'redis-benchmark GET -c16 -P16', 16),
  { ...redisCase('redis-one-cpu', 'redis-benchmark GET -c16 and redis on one CPU', 1), oneCpu: true },
  {
    ...{ name: 'node-http', text: 'wrk -c32 to node:http (apps/http-node)', unit: 'requests/s', better: 'higher' },
    needs: ['wrk'],
    server: nodeServer,
    client: wrk,
    value: wrkValue,
  },
  {
    ...{ name: 'node-node', text: 'node:http client to node:http server', unit: 'requests/s', better: 'higher' },
    needs: [],
    server: nodeServer,
    client: ({ port, seconds }) => [
      ...[process.execPath, join(ROOT, 'apps', 'http-node', 'client.js'), String(port), String(seconds)],
    ],
    value: json('per_s'),
  },
  {
    ...{ name: 'node-autocannon', text: 'autocannon -c32 to node:http', unit: 'requests/s', better: 'higher' },
    needs: [AUTOCANNON],
    server: nodeServer,
    client: ({ host, port, seconds }) => [
      ...[process.execPath, AUTOCANNON, '-c', '32', '-d', whole(seconds)],
      ...['--json', '--no-progress', `http://${host}:${port}/`],
    ],
    value: autocannonValue,
  },
  connections('connections', 'a connection for each 64-byte round trip'),
  { ...connections('connections-one-cpu', 'the same, both and the engine on one CPU'), oneCpu: true },
  many('messages-10', 'a 64-byte message there and back, 10 connections', 10),
  many('messages-50000', 'the same to one of 50,000 connections at random, over several processes', 50_000),
];
