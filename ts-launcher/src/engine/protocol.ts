/**
 * The engine's answers as zod schemas: what other programs wrote is checked before it is used. Also the shape of
 * `engine status --json` and `why --json`. Loaded by those subcommands only.
 */
import * as z from 'zod';
import { LauncherError } from '../errors.js';

const count = z.number().nonnegative();

/** Segments of the buffers of zero-copy sockets: bytes that count as used, and bytes that are in memory. */
const buffersSchema = z.looseObject({ segments: count, bytes: count, resident: count });

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
  /** Bytes that the zero-copy calls lent and copied, and segments that the program forgot. */
  zero_copy: z
    .looseObject({ out_lent: count, out_copied: count, in_lent: count, in_copied: count, forgotten: count })
    .optional(),
  buffers: buffersSchema.optional(),
});

/** A port; what a driver does not count is left out. */
export const portSchema = z.looseObject({
  device: z.string(),
  driver: z.string().optional(),
  kind: z.string().optional(),
  ip: z.array(z.string()).optional(),
  gateway: z.string().nullish(),
  mac: z.string().optional(),
  mtu: count.optional(),
  link: z.boolean().optional(),
  sleep: z.string().optional(),
  rx_packets: count.optional(),
  tx_packets: count.optional(),
  rx_bytes: count.optional(),
  tx_bytes: count.optional(),
  rx_missed: count.optional(),
  rx_errors: count.optional(),
  tx_errors: count.optional(),
  rx_nombuf: count.optional(),
  /** Why frames are copied, or how many were; empty when none has to be. */
  copies: z.union([z.string(), count]).optional(),
});

export const statusSchema = z.looseObject({
  pid: count,
  version: z.string(),
  layout: z.union([z.number(), z.string()]),
  name: z.string(),
  uid: count,
  uptime_s: count,
  cpu_s: count,
  memory: z.looseObject({ limit: count, used: count, peak: count, buffers: buffersSchema.optional() }),
  sessions: z.looseObject({ in_use: count, tcp: count, udp: count, listeners: count, accept_queued: count }),
  waiters: count,
  /** Records of lent memory. */
  loans: count.optional(),
  clients: z.array(clientSchema),
  totals: z.record(z.string(), z.number()),
  dpdk: z.looseObject({
    version: z.string(),
    enabled: z.boolean(),
    hugepages: z.unknown(),
    args: z.array(z.string()),
    ports: z.array(z.unknown()).optional(),
  }),
  // An engine without ports may leave these out.
  ports: z.array(portSchema).optional(),
  stack: z.record(z.string(), z.number()).optional(),
  wire: z
    .looseObject({
      stack: z.string().optional(),
      connections: count.optional(),
      own_sessions: count.optional(),
      loans: count.optional(),
      rx_copies: z.number().optional(),
      tx_copies: z.number().optional(),
    })
    .optional(),
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
export type PortStatus = z.infer<typeof portSchema>;
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
