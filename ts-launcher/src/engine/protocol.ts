/**
 * The engine's answers as zod schemas: what other programs wrote is checked before it is used. Also the shape of
 * `engine status --json` and `why --json`. Loaded by those subcommands only.
 */
import * as z from 'zod';
import { LauncherError } from '../errors.js';

const count = z.number().nonnegative();

export const clientSchema = z.looseObject({
  id: z.union([z.number(), z.string()]),
  pid: count,
  name: z.string(),
  run: z.string(),
  sessions: count,
  connects: count,
  accepts: count,
  bytes_in: count,
  bytes_out: count,
  wakeups: count,
  sleeps: count,
});

export const statusSchema = z.looseObject({
  pid: count,
  version: z.string(),
  layout: z.union([z.number(), z.string()]),
  name: z.string(),
  uid: count,
  uptime_s: count,
  cpu_s: count,
  memory: z.looseObject({ limit: count, used: count, peak: count }),
  sessions: z.looseObject({ in_use: count, tcp: count, udp: count, listeners: count, accept_queued: count }),
  waiters: count,
  clients: z.array(clientSchema),
  totals: z.record(z.string(), z.number()),
  dpdk: z.looseObject({
    version: z.string(),
    enabled: z.boolean(),
    hugepages: z.unknown(),
    args: z.array(z.string()),
    ports: z.array(z.unknown()),
  }),
});

export const socketSchema = z.looseObject({
  fd: z.number(),
  proto: z.enum(['tcp', 'udp']),
  verdict: z.enum(['local', 'kernel', 'wire', 'both', 'undecided']),
  reason: z.string(),
  text: z.string(),
  local: z.string().optional(),
  remote: z.string().optional(),
  bytes_in: count.optional(),
  bytes_out: count.optional(),
  peer: z.looseObject({ pid: count, name: z.string() }).nullish(),
});

export const whySchema = z.looseObject({
  pid: count,
  attached: z.boolean(),
  sockets: z.array(socketSchema),
});

export type EngineStatus = z.infer<typeof statusSchema>;
export type WhyAnswer = z.infer<typeof whySchema>;
export type SocketReport = z.infer<typeof socketSchema>;

/**
 * Checks an answer.
 * @throws LauncherError ZS1203 when it is not what the protocol says
 */
export function checked<T>(schema: z.ZodType<T>, answer: unknown, cmd: string): T {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new LauncherError(
    'ZS1203',
    `the engine's answer to ${cmd} is not understood: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
    'engine and launcher may be of different versions: zstack-run engine restart',
  );
}
