/**
 * Asks the kernel, through libffi, for what the engine needs of it: memory files with seals, on ordinary and on huge
 * pages. A program of its own, run as a child process: foreign calls stay out of the launcher. Prints one JSON object.
 */
import { createRequire } from 'node:module';

/** What was possible; an error is the errno's number, 0 for success. */
export interface MemfdReport {
  readonly memfd: number;
  readonly seals: number;
  readonly huge: number;
}

interface Libc {
  memfd_create(name: string, flags: number): number;
  fcntl(fd: number, cmd: number, arg: number): number;
  close(fd: number): number;
}

const MFD_ALLOW_SEALING = 2;
const MFD_HUGETLB = 4;
const F_ADD_SEALS = 1033;
const SEAL_SHRINK_GROW_FUTURE_WRITE = 2 | 4 | 16;

function probe(): MemfdReport {
  const require = createRequire(import.meta.url);
  const ffi = require('ffi-napi') as {
    Library(name: null, functions: Record<string, [string, string[]]>): unknown;
    errno(): number;
  };
  const libc = ffi.Library(null, {
    memfd_create: ['int', ['string', 'uint']],
    fcntl: ['int', ['int', 'int', 'int']],
    close: ['int', ['int']],
  }) as Libc;
  const errnoOf = (result: number) => (result < 0 ? ffi.errno() : 0);
  const fd = libc.memfd_create('zstack-doctor', MFD_ALLOW_SEALING);
  const memfd = errnoOf(fd);
  const seals = memfd === 0 ? errnoOf(libc.fcntl(fd, F_ADD_SEALS, SEAL_SHRINK_GROW_FUTURE_WRITE)) : memfd;
  if (fd >= 0) libc.close(fd);
  const hugeFd = libc.memfd_create('zstack-doctor', MFD_ALLOW_SEALING | MFD_HUGETLB);
  const huge = errnoOf(hugeFd);
  if (hugeFd >= 0) libc.close(hugeFd);
  return { memfd, seals, huge };
}

process.stdout.write(JSON.stringify(probe()));
