/**
 * Can a preloaded library reach this program? Looks at the file and, for a script, at its interpreter and so on, and
 * reports each finding with its evidence. Used before a COMMAND is run and by `doctor`.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { LauncherError, textOf, type ErrorCode } from '../errors.js';
import { isNative, machineName, readElf, X86_64, type ElfInfo } from './elf.js';
import { findCommand } from './lookup.js';
import { waitsItself } from './waits.js';

/** One finding about a target. `code` is set where it is a reason to refuse. */
export interface Finding {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly evidence: string;
  readonly remedy: string;
  readonly code?: ErrorCode;
}

const WITH_CGO = 'one that is built with CGO_ENABLED=1 is accelerated';

/** Scripts that run scripts: more levels than the kernel follows. */
const MAX_DEPTH = 5;

/**
 * Inspects what would be executed.
 * @param file the path of the program
 * @param path PATH, for `#!/usr/bin/env` lines
 * @param capabilities also ask for file capabilities; `false` saves a process where they do not matter
 * @param code also read the program's code, which takes a moment
 */
export function inspect(
  file: string,
  path: string | undefined,
  capabilities = process.getuid?.() !== 0,
  code = false,
): Finding[] {
  const findings: Finding[] = [];
  let current = file;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const elf = readReadable(current, findings);
    if (elf === null) return findings;
    if (elf !== undefined) {
      findings.push(...inspectElf(current, elf, capabilities));
      if (code && !elf.cgo && elf.interpreter !== undefined && elf.machine === X86_64)
        findings.push(waitsFinding(current));
      return findings;
    }
    const next = scriptInterpreter(current, path);
    findings.push({
      name: 'script',
      status: 'ok',
      evidence: `${current} is run by ${next}`,
      remedy: '',
    });
    // The interpreter of env is env's own argument; env itself is looked at too, for it must pass LD_PRELOAD on.
    current = next;
  }
  return findings;
}

/** The refusal that follows from the findings, if there is one. */
export function refusal(findings: readonly Finding[]): LauncherError | undefined {
  const fail = findings.find(({ status, code }) => status === 'fail' && code !== undefined);
  return fail?.code && new LauncherError(fail.code, fail.evidence, fail.remedy);
}

/** `undefined`: no ELF file. `null`: it cannot be read, nothing more can be said. */
function readReadable(file: string, findings: Finding[]): ElfInfo | undefined | null {
  try {
    return readElf(file);
  } catch (error) {
    findings.push({
      name: 'readable',
      status: 'warn',
      evidence: `${file} was not inspected: ${textOf(error)}`,
      remedy: 'allow reading, or look with `zstack-run why` whether its sockets are accelerated',
    });
    return null;
  }
}

function inspectElf(file: string, elf: ElfInfo, capabilities: boolean): Finding[] {
  const findings = [machineFinding(file, elf)];
  if (findings[0]?.status === 'fail') return findings;
  findings.push(linkingFinding(file, elf), privilegeFinding(file));
  if (capabilities) findings.push(capabilityFinding(file));
  if (elf.go && elf.interpreter !== undefined) findings.push(goFinding(file, elf));
  if (elf.needed.some((name) => name.startsWith('liburing'))) {
    findings.push({
      name: 'io_uring',
      status: 'warn',
      evidence: `${file} uses liburing: its rings are for files, what they are asked to do with sockets fails with EACCES`,
      remedy: 'let it use epoll for its sockets where it offers the choice',
    });
  }
  return findings;
}

/** Go makes its system calls itself; what is needed to redirect them is that its threads are the C library's. */
function goFinding(file: string, { cgo }: ElfInfo): Finding {
  return {
    name: 'system calls',
    status: cgo ? 'ok' : 'warn',
    evidence: cgo
      ? `${file} is a Go program with cgo: the system calls that it makes itself are redirected`
      : `${file} is a Go program without cgo: it makes its system calls itself, in threads without the C library`,
    remedy: cgo ? '' : `its sockets stay on the kernel; ${WITH_CGO}`,
  };
}

function waitsFinding(file: string): Finding {
  const own = waitsItself(file);
  return {
    name: 'waits',
    status: own ? 'warn' : 'ok',
    evidence: own
      ? `${file} waits for events by system calls of its own, which cannot be redirected: its sockets use the kernel`
      : `${file} has no system calls of its own that wait for events`,
    remedy: own ? 'nothing to do; another runtime, Node or Deno, is accelerated' : '',
  };
}

function machineFinding(file: string, elf: ElfInfo): Finding {
  const own = isNative(elf);
  return {
    name: 'machine',
    status: own ? 'ok' : 'fail',
    evidence: `${file} is for ${machineName(elf.machine)}, ${elf.bits} bit${own ? '' : `; this is ${process.arch}`}`,
    remedy: own ? '' : 'install the program for this machine',
    ...(own ? {} : { code: 'ZS1105' as const }),
  };
}

function linkingFinding(file: string, elf: ElfInfo): Finding {
  const linker = elf.interpreter ?? (elf.soname?.startsWith('ld-linux') ? elf.soname : undefined);
  if (linker === undefined) {
    const why = elf.go ? ' and a Go program, which makes its system calls itself' : '';
    return {
      name: 'linking',
      status: 'fail',
      code: 'ZS1103',
      evidence: `${file} is statically linked${why}: there is no dynamic linker that would load the library`,
      remedy: elf.go
        ? `${WITH_CGO}; --force runs it on kernel sockets`
        : 'use a dynamically linked build; --force runs it on kernel sockets',
    };
  }
  if (basename(linker).startsWith('ld-musl')) {
    return {
      name: 'linking',
      status: 'fail',
      code: 'ZS1106',
      evidence: `${file} uses musl (${linker}), the library is made for glibc`,
      remedy: 'use a build for glibc',
    };
  }
  return { name: 'linking', status: 'ok', evidence: `${file} is dynamically linked (${linker})`, remedy: '' };
}

function privilegeFinding(file: string): Finding {
  const { mode, uid, gid } = statSync(file);
  const changesUser = (mode & 0o4000) !== 0 && uid !== process.getuid?.();
  const changesGroup = (mode & 0o2010) === 0o2010 && gid !== process.getgid?.();
  if (!changesUser && !changesGroup) {
    return {
      name: 'privileges',
      status: 'ok',
      evidence: `${file} is neither set-uid nor set-gid to another`,
      remedy: '',
    };
  }
  return {
    name: 'privileges',
    status: 'fail',
    code: 'ZS1104',
    evidence: `${file} is ${changesUser ? `set-uid ${uid}` : `set-gid ${gid}`}: the dynamic linker ignores LD_PRELOAD for it`,
    remedy: `run zstack-run as ${changesUser ? (uid === 0 ? 'root' : `user ${uid}`) : `group ${gid}`}, or use a copy without the bit; --force runs it on kernel sockets`,
  };
}

/** File capabilities make a program privileged for everybody but root. Node cannot read them, getcap(8) can. */
function capabilityFinding(file: string): Finding {
  const name = 'file capabilities';
  for (const program of ['/usr/sbin/getcap', '/sbin/getcap', 'getcap']) {
    try {
      const text = execFileSync(program, [resolve(file)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
      if (text === '') return { name, status: 'ok', evidence: `${file} has none`, remedy: '' };
      const evidence = `${text}: the dynamic linker ignores LD_PRELOAD for it`;
      if (process.getuid?.() === 0)
        return { name, status: 'ok', evidence: `${text}: without effect for root`, remedy: '' };
      return {
        name,
        status: 'fail',
        code: 'ZS1104',
        evidence,
        remedy:
          'run zstack-run as root, or use a copy of the file (copies have none); --force runs it on kernel sockets',
      };
    } catch {
      continue;
    }
  }
  return { name, status: 'warn', evidence: 'unknown: getcap is not installed', remedy: 'apt-get install libcap2-bin' };
}

/**
 * The program that runs a file which is no ELF file: its `#!` interpreter, looking through env(1); `/bin/sh` for a file
 * without such a line, as execvp(3) does.
 */
export function scriptInterpreter(file: string, path: string | undefined): string {
  const fd = openSync(file, 'r');
  const start = Buffer.alloc(256);
  const length = readSync(fd, start, 0, start.length, 0);
  closeSync(fd);
  const line = /^#![ \t]*([^\n]*)/.exec(start.toString('utf8', 0, length))?.[1]?.trim();
  if (line === undefined || line === '') return '/bin/sh';
  const [interpreter = '/bin/sh', ...rest] = line.split(/[ \t]+/);
  if (basename(interpreter) !== 'env') return interpreter;
  const operand = rest.find((word) => !word.startsWith('-') && !word.includes('='));
  if (operand === undefined) return interpreter;
  try {
    return findCommand(operand, path);
  } catch {
    return interpreter;
  }
}
