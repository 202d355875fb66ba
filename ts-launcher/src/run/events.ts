/** Tells the user, once each, where the program can be reached and by whom. */
import type { EngineEvent } from '../engine/admin.js';
import { note, warn, type Say } from '../output.js';

/** Names the port of the engine that has an address; `undefined` when it is not known. */
export type PortOf = (address: string) => Promise<string | undefined>;

/** UDP sockets of a process that are told; one that binds a port for each question has no end of them. */
const UDP_MOST = 8;

/**
 * A receiver of engine events that prints each listener and each warning once.
 * @param quiet warnings only
 * @param portOf asked for the addresses of the engine at which a listener is reached
 */
export function eventPrinter(
  quiet: boolean,
  say: Say = { note, warn },
  portOf: PortOf = () => Promise.resolve(undefined),
): (event: EngineEvent) => void {
  const said = new Set<string>();
  const once = (text: string) => {
    if (said.has(text)) return false;
    said.add(text);
    return true;
  };
  const udp = new Map<number, number>();
  /** Counts a process' UDP sockets. False: it has more than are told, and that is said once. */
  const mayTell = (event: { proto: string; pid: number; name: string }) => {
    if (event.proto !== 'udp') return true;
    const count = (udp.get(event.pid) ?? 0) + 1;
    udp.set(event.pid, count);
    if (count === UDP_MOST + 1) say.note(`further UDP sockets of ${event.name} (pid ${event.pid}) are not told`);
    return count <= UDP_MOST;
  };
  const onWire = async (address: string, where: string) => {
    const port = await portOf(address).catch(() => undefined);
    say.note(`listening on ${where} (${port === undefined ? 'wire' : `wire, port ${port}`})`);
  };
  return (event) => {
    if (event.event === 'listen') {
      if (quiet) return;
      const where = endpoint(event.address, event.port, event.proto);
      // Workers that listen on one address, and listeners that come back with a new engine, are told once.
      if (!said.has(where) && !mayTell(event)) return;
      if (once(where)) {
        say.note(`listening on ${where} (${event.name}, pid ${event.pid}): ${audience(event.verdict)}`);
      }
      for (const address of event.wire ?? []) {
        const there = endpoint(address, event.port, event.proto);
        if (once(there)) void onWire(address, there);
      }
    } else if (event.event === 'warning') {
      if (once(event.text)) say.warn(event.text);
    }
  };
}

/** `0.0.0.0:8080`, `[::]:8080`, `0.0.0.0:53/udp`. */
export function endpoint(address: string, port: number, proto: string): string {
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return `${host}:${port}${proto === 'udp' ? '/udp' : ''}`;
}

function audience(verdict: string): string {
  const local = 'Z-stack programs of this user and network namespace through shared memory';
  switch (verdict) {
    case 'kernel':
      return 'everybody through the kernel';
    case 'local':
      return local;
    case 'wire':
      return `${local}; other hosts over the wire`;
    default:
      return `${local}; all others through the kernel`;
  }
}
