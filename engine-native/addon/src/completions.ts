// SPDX-License-Identifier: BSD-3-Clause
/** Completions of this thread's sends: its queue, watched while something is under way. */
import { errnoError, native, READABLE, type NativePoller } from './native.js';

export interface Completion {
  readonly lent: number;
  readonly copied: number;
  readonly reason: string;
}

const waiting = new Map<number, (c: Completion) => void>();
let next = 1;
let poller: NativePoller | undefined;
let watched = false;

function take(): void {
  for (;;) {
    const events = native.poll();
    for (let i = 0; i < events.length; i += 4) {
      const [cookie, lent, copied, reason] = events.slice(i, i + 4) as [number, number, number, string];
      const tell = waiting.get(cookie);
      waiting.delete(cookie);
      tell?.({ lent, copied, reason });
    }
    if (events.length === 0) return;
  }
}

/** Sleeps on the queue as long as somebody waits. */
function watch(): void {
  if (watched || waiting.size === 0) return;
  while (native.arm() === 1) take();
  if (waiting.size === 0) return void native.poll();
  watched = true;
  poller?.start(READABLE);
}

/** A new cookie, whose completion goes to `tell`. */
export function expectCompletion(tell: (c: Completion) => void): number {
  if (poller === undefined) {
    const fd = native.queue();
    if (fd < 0) throw errnoError(fd, 'zs_queue_open');
    poller = new native.Poller(fd, () => {
      watched = false;
      take();
      watch();
    });
  }
  const cookie = next++;
  waiting.set(cookie, tell);
  return cookie;
}

/** After a send with a cookie: `sent` tells whether its event will come. */
export function sendDone(cookie: number, sent: boolean): void {
  if (!sent) waiting.delete(cookie);
  if (!watched) take();
  watch();
}
