/** Tells the user, once each, where the program can be reached and by whom. */
import type { EngineEvent } from '../engine/admin.js';
import { note, warn } from '../output.js';

/** What the printing needs; the real ones by default, others in tests. */
export interface Say {
  note(text: string): void;
  warn(text: string): void;
}

/**
 * A receiver of engine events that prints each listener and each warning once.
 * @param quiet warnings only
 */
export function eventPrinter(quiet: boolean, say: Say = { note, warn }): (event: EngineEvent) => void {
  const said = new Set<string>();
  return (event) => {
    if (event.event === 'listen') {
      const where = endpoint(event.address, event.port, event.proto);
      // Workers that listen on one address, and listeners that come back with a new engine, are told once.
      if (quiet || said.has(where)) return;
      said.add(where);
      say.note(`listening on ${where} (${event.name}, pid ${event.pid}): ${audience(event.verdict)}`);
    } else if (event.event === 'warning') {
      if (said.has(event.text)) return;
      said.add(event.text);
      say.warn(event.text);
    }
  };
}

/** `0.0.0.0:8080`, `[::]:8080`, `0.0.0.0:53/udp`. */
export function endpoint(address: string, port: number, proto: string): string {
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return `${host}:${port}${proto === 'udp' ? '/udp' : ''}`;
}

function audience(verdict: string): string {
  switch (verdict) {
    case 'kernel':
      return 'everybody through the kernel';
    case 'local':
      return 'Z-stack programs of this user and network namespace through shared memory';
    default:
      return 'Z-stack programs of this user and network namespace through shared memory; all others through the kernel';
  }
}
