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
  const { sessions: s, memory, waiters, clients, wire, stack, loans: records } = await engine.status();
  if (s.in_use !== 0) left.push(`sessions ${JSON.stringify(s)}`);
  if (s.accept_queued !== 0) left.push(`${s.accept_queued} queued connections`);
  if (memory.used !== 0) left.push(`${memory.used} bytes of ring memory`);
  // Connections may remain, in TIME_WAIT.
  if (wire !== undefined && wire.own_sessions !== 0) left.push(`sessions of the wire ${JSON.stringify(wire)}`);
  const loans = wire?.loans ?? (stack?.['tcp_loans'] ?? 0) - (stack?.['tcp_loans_back'] ?? 0);
  if (loans !== 0) left.push(`${loans} loans`);
  if (records !== undefined && records !== 0) left.push(`${records} records of loans`);
  // One is each worker's own, for the engine's ends of the connections over the wire.
  if (waiters !== (wire === undefined ? 0 : (wire.workers?.length ?? 1))) left.push(`${waiters} waiters`);
  for (const c of clients) left.push(`client ${c.name}[${c.pid}]`);
  return left.join('; ');
}

/** Fails unless, within 10 s or what is given, the engine holds nothing and no process of these sessions lives. */
export async function nothingLeft(engine: Engine, sessions: ReadonlySet<number>, timeoutMs = 10_000): Promise<void> {
  let last = '';
  await until(
    () => `nothing is left; but: ${last}`,
    async () => {
      last = await held(engine, sessions);
      return last === '';
    },
    timeoutMs,
  );
}
