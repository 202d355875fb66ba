// SPDX-License-Identifier: BSD-3-Clause
/** After a test nothing is left, by count: in the engine, and of processes. */
import type { Engine } from './engine.js';
import { processes } from './processes.js';
import { until } from './wait.js';

/** What is held, in words; empty when nothing is. */
async function held(engine: Engine, sessions: ReadonlySet<number>): Promise<string> {
  const left: string[] = [];
  for (const p of processes()) {
    if (sessions.has(p.session)) left.push(`process ${p.name}[${p.pid}] of session ${p.session}, state ${p.state}`);
  }
  const { sessions: s, memory, waiters, clients } = await engine.status();
  if (s.in_use !== 0) left.push(`sessions ${JSON.stringify(s)}`);
  if (s.accept_queued !== 0) left.push(`${s.accept_queued} queued connections`);
  if (memory.used !== 0) left.push(`${memory.used} bytes of ring memory`);
  if (waiters !== 0) left.push(`${waiters} waiters`);
  for (const c of clients) left.push(`client ${c.name}[${c.pid}]`);
  return left.join('; ');
}

/** Fails unless, within 3 s, the engine holds nothing and no process of these sessions lives. */
export async function nothingLeft(engine: Engine, sessions: ReadonlySet<number>): Promise<void> {
  let last = '';
  await until(
    () => `nothing is left; but: ${last}`,
    async () => {
      last = await held(engine, sessions);
      return last === '';
    },
    3000,
  );
}
