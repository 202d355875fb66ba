/** Programs that wait for events by system calls of their own, which a preloaded library does not see (preload/waits.c does the same). */
import { closeSync, openSync, readSync } from 'node:fs';

/** epoll_wait, epoll_pwait, epoll_pwait2 of x86-64. */
const WAITS = new Set([232, 281, 441]);
const SYSCALL = Buffer.from([0x0f, 0x05]);
const MOV_EAX = 0xb8;
/** As far before the call its number is put into eax. */
const REACH = 48;
const CHUNK = 1 << 20;

function waitsAt(code: Buffer, at: number): boolean {
  for (let i = Math.max(0, at - REACH); i + 5 <= at; i++)
    if (code[i] === MOV_EAX && WAITS.has(code.readUInt32LE(i + 1))) return true;
  return false;
}

/**
 * Whether the code of an x86-64 program has one of epoll's waits inline.
 * @throws the system error when it cannot be read
 */
export function waitsItself(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(CHUNK);
    for (let from = 0; ; from += CHUNK - REACH - SYSCALL.length) {
      const code = buffer.subarray(0, readSync(fd, buffer, 0, CHUNK, from));
      for (let at = code.indexOf(SYSCALL); at >= 0; at = code.indexOf(SYSCALL, at + 1))
        if (waitsAt(code, at)) return true;
      if (code.length < CHUNK) return false;
    }
  } finally {
    closeSync(fd);
  }
}
