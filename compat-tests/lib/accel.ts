// SPDX-License-Identifier: BSD-3-Clause
/** Whether connections were accelerated: by the engine's counters and by what `why` says of sockets. */
import type { Engine, WhySocket } from './engine.js';
import { until } from './wait.js';

export interface Growth {
  readonly accepts: number;
  readonly connects: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Sums the counters of the programs that are attached; those of programs that ended are gone with them. */
export class Meter {
  private constructor(
    private readonly engine: Engine,
    private readonly before: ReadonlyMap<number, Growth>,
  ) {}

  static async start(engine: Engine): Promise<Meter> {
    return new Meter(engine, await counters(engine));
  }

  /** By how much the counters grew. */
  async growth(): Promise<Growth> {
    const sum = { accepts: 0, connects: 0, bytesIn: 0, bytesOut: 0 };
    for (const [id, now] of await counters(this.engine)) {
      const then = this.before.get(id) ?? { accepts: 0, connects: 0, bytesIn: 0, bytesOut: 0 };
      for (const key of Object.keys(sum) as (keyof Growth)[]) sum[key] += now[key] - then[key];
    }
    return sum;
  }

  /** At least so many connections were accepted through shared memory, and so many bytes went through it. */
  async accelerated(accepts: number, bytes = 1): Promise<void> {
    const growth = await this.growth();
    expect(growth.accepts).toBeGreaterThanOrEqual(accepts);
    expect(growth.bytesIn + growth.bytesOut).toBeGreaterThanOrEqual(bytes);
  }

  /** Nothing went through shared memory. */
  async kernel(): Promise<void> {
    expect(await this.growth()).toEqual({ accepts: 0, connects: 0, bytesIn: 0, bytesOut: 0 });
  }

  /** One or the other, for tests that run with both kinds of client. */
  async expect(wrapped: boolean, accepts: number, bytes = 1): Promise<void> {
    await (wrapped ? this.accelerated(accepts, bytes) : this.kernel());
  }
}

/** Whether the wire was used: by the counters of the ports and stacks of all engines of a stage. */
export class WireMeter {
  private constructor(
    private readonly engines: readonly Engine[],
    private readonly before: readonly Readonly<Record<string, number>>[],
  ) {}

  static async start(engines: readonly Engine[]): Promise<WireMeter> {
    return new WireMeter(engines, await Promise.all(engines.map(wireCounters)));
  }

  /** By how much the counters of an engine grew. */
  async growth(index = 0): Promise<Record<string, number>> {
    const [engine, before] = [this.engines[index], this.before[index]];
    if (engine === undefined || before === undefined) throw new Error(`there is no engine ${index}`);
    const now = await wireCounters(engine);
    return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (before[name] ?? 0)]));
  }

  /** At every engine so many TCP connections began, and so many bytes passed its port. */
  async used(connections: number, bytes = 1): Promise<void> {
    for (const index of this.engines.keys()) {
      const growth = await this.growth(index);
      const opened = (growth['tcp_opened_passive'] ?? 0) + (growth['tcp_opened_active'] ?? 0);
      expect(opened).toBeGreaterThanOrEqual(connections);
      expect(growth['port_bytes']).toBeGreaterThanOrEqual(bytes);
    }
  }
}

/** The stack's counters, those of the engine, and `port_bytes` for what its ports received and sent. */
async function wireCounters(engine: Engine): Promise<Record<string, number>> {
  const { stack, totals, ports } = await engine.status();
  if (stack === undefined || ports === undefined) throw new Error('the engine has no port');
  const bytes = ports.reduce((sum, port) => sum + port.rx_bytes + port.tx_bytes, 0);
  return { ...totals, ...stack, port_bytes: bytes };
}

async function counters(engine: Engine): Promise<Map<number, Growth>> {
  const { clients } = await engine.status();
  return new Map(
    clients.map((c) => [
      c.id,
      { accepts: c.accepts, connects: c.connects, bytesIn: c.bytes_in, bytesOut: c.bytes_out },
    ]),
  );
}

/** The sockets of a process that satisfy `wanted`, as soon as there are any. */
export async function socketsOf(
  engine: Engine,
  pid: number,
  what: string,
  wanted: (socket: WhySocket) => boolean,
): Promise<WhySocket[]> {
  let last: readonly WhySocket[] = [];
  return until(
    () => `process ${pid} has ${what}: ${JSON.stringify(last)}`,
    async () => {
      last = (await engine.why(pid)).sockets;
      const found = last.filter(wanted);
      return found.length > 0 ? found : undefined;
    },
  );
}

/** A live connection that `why` calls local. */
export function localConnections(engine: Engine, pid: number): Promise<WhySocket[]> {
  return socketsOf(engine, pid, 'a local connection', (s) => s.proto === 'tcp' && s.verdict === 'local');
}

/** A live connection that `why` calls one over the wire. */
export function wireConnections(engine: Engine, pid: number): Promise<WhySocket[]> {
  return socketsOf(engine, pid, 'a connection over the wire', (s) => s.proto === 'tcp' && s.verdict === 'wire');
}

/** Bytes that a process received through shared memory on its UDP sockets, headers of the records included. */
export async function datagramBytes(engine: Engine, pid: number): Promise<number> {
  const { sockets } = await engine.why(pid);
  return sockets.filter((s) => s.proto === 'udp').reduce((sum, s) => sum + (s.bytes_in ?? 0), 0);
}
