/** A small ELF reader: as much as is needed to know whether a preloaded library can reach a program. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { errnoOf } from '../errors.js';

/** What an ELF file says about itself. */
export interface ElfInfo {
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  /** `e_machine`: 62 x86-64, 183 AArch64, 3 i386 ... */
  readonly machine: number;
  /** The dynamic linker (PT_INTERP); absent in a static program. */
  readonly interpreter: string | undefined;
  /** Libraries it names (DT_NEEDED). */
  readonly needed: readonly string[];
  /** DT_SONAME: set in a library, also in the dynamic linker itself. */
  readonly soname: string | undefined;
  /** True when it was made by the Go toolchain. */
  readonly go: boolean;
  /** True when it is a Go program with cgo, dynamically linked: its threads are the C library's. */
  readonly cgo: boolean;
}

/** `e_machine` of x86-64. */
export const X86_64 = 62;

/** `e_machine` of the machine this runs on. */
export const OWN_MACHINE = { x64: X86_64, arm64: 183, ia32: 3, arm: 40, ppc64: 21, s390x: 22, riscv64: 243 }[
  process.arch as string
];

const MACHINE_NAMES: Record<number, string> = {
  2: 'SPARC',
  3: 'i386',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC 64',
  22: 's390',
  40: 'ARM',
  62: 'x86-64',
  183: 'AArch64',
  243: 'RISC-V',
  258: 'LoongArch',
};

/** The name of a machine for messages. */
export function machineName(machine: number): string {
  return MACHINE_NAMES[machine] ?? `machine ${machine}`;
}

const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_LOAD = 1;
const PT_NOTE = 4;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_SONAME = 14;
/** Among the dynamic symbols of every Go program with cgo (preload/own_calls.c does the same). */
const CGO_NAMES = ['\0_cgo_topofstack\0', '\0crosscall2\0'];
/** Tables larger than this are not believed. */
const MAX_TABLE = 1 << 20;

interface Segment {
  type: number;
  offset: number;
  address: number;
  size: number;
}

/** Reads at absolute positions of an open file, in the byte order of the ELF file. */
class Reader {
  constructor(
    private readonly fd: number,
    private readonly fileSize: number,
    readonly wide: boolean,
    readonly little: boolean,
  ) {}

  block(offset: number, size: number): Buffer {
    const length = Math.max(0, Math.min(size, this.fileSize - offset, MAX_TABLE));
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, length === 0 ? 0 : readSync(this.fd, buffer, 0, length, offset));
  }

  u16(buffer: Buffer, at: number): number {
    return this.little ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at);
  }

  u32(buffer: Buffer, at: number): number {
    return this.little ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at);
  }

  /** An address or offset of the file's word size. */
  word(buffer: Buffer, at: number): number {
    if (!this.wide) return this.u32(buffer, at);
    return Number(this.little ? buffer.readBigUInt64LE(at) : buffer.readBigUInt64BE(at));
  }
}

/**
 * Reads the headers of `path`.
 * @returns `undefined` when it is no ELF file, or a damaged one
 * @throws the system error when it cannot be opened or read
 */
export function readElf(path: string): ElfInfo | undefined {
  const fd = openSync(path, 'r');
  try {
    const header = Buffer.alloc(64);
    const length = readSync(fd, header, 0, 64, 0);
    if (length < 52 || header.readUInt32BE(0) !== 0x7f454c46) return undefined;
    const wide = header[4] === 2;
    if (wide && length < 64) return undefined;
    return readTables(new Reader(fd, fstatSync(fd).size, wide, header[5] === 1), header);
  } catch (error) {
    if (['ERR_BUFFER_OUT_OF_BOUNDS', 'ERR_OUT_OF_RANGE'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

function readTables(reader: Reader, header: Buffer): ElfInfo {
  const segments = readSegments(reader, header);
  const interpreter = segments.find((segment) => segment.type === PT_INTERP);
  const dynamic = readDynamic(reader, segments);
  const go = hasGoNote(reader, segments) || hasSection(reader, header, '.go.buildinfo');
  const names = go && interpreter !== undefined ? dynamic.names() : Buffer.alloc(0);
  return {
    bits: reader.wide ? 64 : 32,
    littleEndian: reader.little,
    machine: reader.u16(header, 18),
    interpreter: interpreter && cString(reader.block(interpreter.offset, interpreter.size), 0),
    needed: dynamic.needed,
    soname: dynamic.soname,
    go,
    cgo: CGO_NAMES.every((name) => names.includes(name)),
  };
}

function readSegments(reader: Reader, header: Buffer): Segment[] {
  const offset = reader.word(header, reader.wide ? 32 : 28);
  const entrySize = reader.u16(header, reader.wide ? 54 : 42);
  const count = reader.u16(header, reader.wide ? 56 : 44);
  const table = reader.block(offset, entrySize * count);
  const segments: Segment[] = [];
  for (let i = 0; i < count && (i + 1) * entrySize <= table.length; i++) {
    const entry = table.subarray(i * entrySize, (i + 1) * entrySize);
    segments.push({
      type: reader.u32(entry, 0),
      offset: reader.word(entry, reader.wide ? 8 : 4),
      address: reader.word(entry, reader.wide ? 16 : 8),
      size: reader.word(entry, reader.wide ? 32 : 16),
    });
  }
  return segments;
}

interface Dynamic {
  readonly needed: string[];
  readonly soname: string | undefined;
  /** Reads the names of all dynamic symbols, which are megabytes in some programs. */
  names(): Buffer;
}

function readDynamic(reader: Reader, segments: Segment[]): Dynamic {
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  if (dynamic === undefined) return { needed: [], soname: undefined, names: () => Buffer.alloc(0) };
  const table = reader.block(dynamic.offset, dynamic.size);
  const size = reader.wide ? 8 : 4;
  const needed: number[] = [];
  let soname: number | undefined;
  let strings: number | undefined;
  let length = 0;
  for (let at = 0; at + 2 * size <= table.length; at += 2 * size) {
    const tag = reader.word(table, at);
    const value = reader.word(table, at + size);
    if (tag === 0) break;
    if (tag === DT_NEEDED) needed.push(value);
    if (tag === DT_SONAME) soname = value;
    if (tag === DT_STRTAB) strings = value;
    if (tag === DT_STRSZ) length = value;
  }
  const offset = strings === undefined ? undefined : fileOffset(segments, strings);
  if (offset === undefined) return { needed: [], soname: undefined, names: () => Buffer.alloc(0) };
  const text = (at: number) => cString(reader.block(offset + at, 256), 0);
  return {
    needed: needed.map(text),
    soname: soname === undefined ? undefined : text(soname),
    names: () => reader.block(offset, length),
  };
}

function fileOffset(segments: Segment[], address: number): number | undefined {
  const load = segments.find(
    ({ type, address: start, size }) => type === PT_LOAD && address >= start && address < start + size,
  );
  return load && load.offset + (address - load.address);
}

/** The toolchain's build identity: a note named `Go`, of type 4. */
function hasGoNote(reader: Reader, segments: Segment[]): boolean {
  return segments
    .filter((segment) => segment.type === PT_NOTE)
    .some((segment) => {
      const note = reader.block(segment.offset, Math.min(segment.size, 4096));
      for (let at = 0; at + 16 <= note.length;) {
        const nameSize = reader.u32(note, at);
        const textSize = reader.u32(note, at + 4);
        if (nameSize === 4 && reader.u32(note, at + 8) === 4 && note.toString('latin1', at + 12, at + 14) === 'Go')
          return true;
        at += 12 + align4(nameSize) + align4(textSize);
      }
      return false;
    });
}

function hasSection(reader: Reader, header: Buffer, name: string): boolean {
  const offset = reader.word(header, reader.wide ? 40 : 32);
  const entrySize = reader.u16(header, reader.wide ? 58 : 46);
  const count = reader.u16(header, reader.wide ? 60 : 48);
  const namesIndex = reader.u16(header, reader.wide ? 62 : 50);
  if (offset === 0 || entrySize === 0 || namesIndex >= count) return false;
  const table = reader.block(offset, entrySize * count);
  const at = namesIndex * entrySize;
  const names = reader.block(
    reader.word(table, at + (reader.wide ? 24 : 16)),
    reader.word(table, at + (reader.wide ? 32 : 20)),
  );
  return names.includes(`\0${name}\0`, 0, 'latin1');
}

function cString(buffer: Buffer, start: number): string {
  const end = buffer.indexOf(0, start);
  return buffer.toString('latin1', start, end === -1 ? buffer.length : end);
}

function align4(size: number): number {
  return (size + 3) & ~3;
}

/** True when the file's byte order, word size and machine are this machine's. */
export function isNative(elf: ElfInfo): boolean {
  return (
    elf.machine === OWN_MACHINE &&
    elf.littleEndian === (endianness() === 'LE') &&
    (elf.bits === 64) === ['x64', 'arm64', 'ppc64', 's390x', 'riscv64'].includes(process.arch)
  );
}
