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

/** Bytes that a process received through shared memory on its UDP sockets, headers of the records included. */
export async function datagramBytes(engine: Engine, pid: number): Promise<number> {
  const { sockets } = await engine.why(pid);
  return sockets.filter((s) => s.proto === 'udp').reduce((sum, s) => sum + (s.bytes_in ?? 0), 0);
}
