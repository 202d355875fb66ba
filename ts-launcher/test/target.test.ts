/** Reading ELF files, finding commands, and what is refused. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { outOfReach } from '../src/commands/why.js';
import { machineName, OWN_MACHINE, readElf } from '../src/target/elf.js';
import { inspect, refusal, scriptInterpreter } from '../src/target/inspect.js';
import { findCommand } from '../src/target/lookup.js';

let directory: string;
const PATH = '/usr/bin:/bin';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'zstack-target-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: string | Buffer, mode = 0o755): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function compile(name: string, ...args: string[]): string {
  const path = join(directory, name);
  execFileSync('cc', ['-x', 'c', '-', '-o', path, ...args], { input: 'int main(void) { return 0; }' });
  return path;
}

describe('readElf', () => {
  test('a dynamically linked program', () => {
    const elf = readElf('/bin/ls');
    expect(elf).toMatchObject({ machine: OWN_MACHINE, go: false, soname: undefined });
    expect(elf?.interpreter).toMatch(/ld-linux/);
    expect(elf?.needed).toContain('libc.so.6');
  });

  test.each([
    ['static', ['-static']],
    ['static-pie', ['-static-pie']],
  ])('%s has no interpreter', (name, args) => {
    const elf = readElf(compile(name, ...args));
    expect(elf).toBeDefined();
    expect(elf?.interpreter).toBeUndefined();
  });

  test('the dynamic linker is known by its name', () => {
    const linker = readElf('/bin/ls')?.interpreter ?? '';
    expect(readElf(linker)?.soname).toMatch(/^ld-linux/);
    expect(refusal(inspect(linker, PATH))).toBeUndefined();
  });

  const note =
    '.section .note.go.buildid,"a",@note\n.long 4, 4, 4\n.ascii "Go\\0\\0"\n.long 1\n.section .note.GNU-stack,"",@progbits\n';

  test('the note of the Go toolchain is found', () => {
    const path = compile('go', file('note.s', note).replace(/^/, '-Wa,'), '-O0', '-Wl,--no-gc-sections');
    expect(readElf(path)).toMatchObject({ go: true });
  });

  test('Go with cgo is known by its dynamic symbols', () => {
    const names = 'int _cgo_topofstack = 1, crosscall2 = 1; int main(void) { return 0; }';
    const build = (name: string, ...args: string[]) => {
      const path = join(directory, name);
      const noted = file('note.s', note).replace(/^/, '-Wa,');
      execFileSync('cc', ['-x', 'c', '-', '-o', path, noted, '-O0', ...args], { input: names });
      return path;
    };
    expect(readElf(build('cgo', '-rdynamic'))).toMatchObject({ cgo: true });
    expect(readElf(build('not-dynamic'))).toMatchObject({ cgo: false });
    expect(readElf(build('static', '-static', '-rdynamic'))).toMatchObject({ cgo: false });
  });

  test('neither text nor damaged files are ELF files, and none of them is fatal', () => {
    expect(readElf(file('text', 'hello'))).toBeUndefined();
    expect(readElf(file('empty', ''))).toBeUndefined();
    const whole = readFileSync('/bin/ls');
    for (const length of [4, 20, 63, 64, 100, 500, 3000]) {
      expect(() => readElf(file(`cut-${length}`, whole.subarray(0, length)))).not.toThrow();
    }
    const wild = Buffer.from(whole.subarray(0, 4096));
    wild.fill(0xff, 24, 64);
    expect(() => readElf(file('wild', wild))).not.toThrow();
  });
});

describe('inspect', () => {
  test('an ordinary program passes', () => {
    const findings = inspect('/bin/ls', PATH);
    expect(findings.every(({ status }) => status === 'ok')).toBe(true);
    expect(findings.map(({ name }) => name)).toEqual(expect.arrayContaining(['machine', 'linking', 'privileges']));
  });

  test('a static program is refused with status 126', () => {
    const error = refusal(inspect(compile('refused', '-static'), PATH));
    expect(error?.code).toBe('ZS1103');
    expect(error?.exitStatus('run')).toBe(126);
    expect(error?.hint).toContain('dynamically linked');
  });

  test('a program for another machine is refused', () => {
    const copy = Buffer.from(readFileSync('/bin/ls'));
    copy.writeUInt16LE(OWN_MACHINE === 183 ? 62 : 183, 18);
    const error = refusal(inspect(file('foreign', copy), PATH));
    expect(error?.code).toBe('ZS1105');
    expect(error?.what).toContain(machineName(OWN_MACHINE === 183 ? 62 : 183));
  });

  test('musl is another C library', () => {
    const path = compile('musl', '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1');
    expect(refusal(inspect(path, PATH))?.code).toBe('ZS1106');
  });

  test('set-uid to somebody else is refused, to oneself it is not', () => {
    const path = join(directory, 'setuid');
    copyFileSync(realpathSync('/bin/ls'), path);
    chmodSync(path, 0o4755);
    expect(refusal(inspect(path, PATH))).toBeUndefined();
    const root = process.getuid?.() === 0;
    if (root) {
      chownSync(path, 1234, 0);
      chmodSync(path, 0o4755);
    }
    const error = refusal(inspect(root ? path : '/usr/bin/su', PATH));
    expect(error?.code).toBe('ZS1104');
    expect(error?.what).toContain('LD_PRELOAD');
  });

  test('a program that uses liburing is told about its rings', () => {
    const library = join(directory, 'liburing.so.2');
    compile('liburing.so.2', '-shared', '-fPIC', '-Wl,-soname,liburing.so.2');
    const findings = inspect(compile('uring', '-Wl,--no-as-needed', '-xnone', library), PATH);
    expect(findings.filter(({ status }) => status !== 'ok')).toMatchObject([{ name: 'io_uring', status: 'warn' }]);
  });

  test.each([
    [441, 'warn'],
    [440, 'ok'],
  ])('system call %i inline: %s', (number, status) => {
    const call = `__asm__ volatile("movl $${number}, %%eax\\n\\tsyscall" : : : "rax", "rcx", "r11", "memory");`;
    const source = file(`wait${number}.c`, `void wait_for_events(void) { ${call} }\n`);
    const findings = inspect(compile(`wait${number}`, source), PATH, false, true);
    expect(findings.find(({ name }) => name === 'waits')?.status).toBe(status);
  });

  test('a script is as good as its interpreter', () => {
    const program = compile('interpreter', '-static');
    const script = file('script', `#! ${program} -x\n`);
    const outer = file('outer', `#!${script}\n`);
    expect(refusal(inspect(outer, PATH))?.code).toBe('ZS1103');
    expect(refusal(inspect(file('plain', '#!/bin/sh\n'), PATH))).toBeUndefined();
  });

  test('interpreters are read as the kernel reads them', () => {
    expect(scriptInterpreter(file('a', '#!/usr/bin/env -S LANG=C sh -e\n'), PATH)).toBe('/usr/bin/sh');
    expect(scriptInterpreter(file('b', '#!\t/bin/cat -n\n'), PATH)).toBe('/bin/cat');
    expect(scriptInterpreter(file('c', 'echo hello\n'), PATH)).toBe('/bin/sh');
    expect(scriptInterpreter(file('d', '#!/usr/bin/env no-such-program\n'), PATH)).toBe('/usr/bin/env');
  });
});

describe('findCommand', () => {
  test('looks as execvp does', () => {
    const program = file('program', '#!/bin/sh\n');
    const plain = file('data', '', 0o644);
    expect(findCommand('program', `/nonexistent:${directory}:${PATH}`)).toBe(program);
    expect(findCommand(program, undefined)).toBe(program);
    expect(findCommand('ls', undefined)).toMatch(/\/bin\/ls$/);
    const failure = (command: string, path: string) => {
      try {
        return findCommand(command, path);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(failure('no-such-program', PATH)).toBe('ZS1101');
    expect(failure('data', directory)).toBe('ZS1102');
    expect(failure(plain, PATH)).toBe('ZS1102');
    expect(failure(directory, PATH)).toBe('ZS1102');
    expect(failure(`${plain}/x`, PATH)).toBe('ZS1101');
    expect(failure('', PATH)).toBe('ZS1101');
  });
});

describe('outOfReach', () => {
  /** Runs a program that writes a line, and hands over its pid. */
  async function running(command: string, args: readonly string[], look: (pid: number) => void): Promise<void> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await once(child.stdout, 'data');
      if (child.pid === undefined) throw new Error(`${command} does not run`);
      look(child.pid);
    } finally {
      child.kill('SIGKILL');
    }
  }

  test('a static program, an ordinary one, one with a ring', async () => {
    const source = file('talks.c', '#include <unistd.h>\nint main(void){write(1,"x",1);pause();return 0;}\n');
    const program = join(directory, 'talks');
    execFileSync('cc', ['-static', '-o', program, source]);
    await running(program, [], (pid) =>
      expect(outOfReach(pid, false)).toEqual([expect.stringContaining(`${program} is statically linked`)]),
    );
    await running('/bin/sh', ['-c', 'echo x; read line'], (pid) => expect(outOfReach(pid, false)).toEqual([]));
    const ring =
      'import ctypes, sys; fd = ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)); print(fd, flush=True); sys.stdin.read()';
    await running('python3', ['-c', ring], (pid) =>
      expect(outOfReach(pid, true)).toEqual([expect.stringMatching(/^io_uring at descriptor \d+: for files/)]),
    );
  });
});
