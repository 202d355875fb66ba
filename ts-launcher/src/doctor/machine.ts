/** The machine's checks: each tells what it found, and what to do where that is not enough. */
import { execa } from 'execa';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { arch, cpus, release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findEngine } from '../engine/connect.js';
import { allowedCpus, freeHugeMib, hugePages } from '../engine/eal.js';
import { textOf } from '../errors.js';
import { fstackMissing, PARTS } from '../paths.js';
import type { Finding } from '../target/inspect.js';
import { fail, ok, warn } from './finding.js';
import type { MemfdReport } from './memfd-probe.js';
import { portChecks } from './ports.js';

/** All checks of this machine. */
export async function machineChecks(engine: string): Promise<Finding[]> {
  return [
    kernel(),
    processors(),
    parts(),
    fstack(),
    await engineCheck(engine),
    await dpdk(),
    huge(),
    ...limits(),
    await memoryFiles(),
    sharedMemoryPages(),
    namespace(),
    ...(await portChecks()),
  ];
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function kernel(): Finding {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const evidence = `Linux ${release()} on ${arch()}`;
  // 5.3: pidfd_open, by which the engine sees programs end; 5.1: F_SEAL_FUTURE_WRITE.
  if (process.platform === 'linux' && (major > 5 || (major === 5 && minor >= 3))) return ok('kernel', evidence);
  return fail('kernel', evidence, 'Linux 5.3 or later is needed');
}

function processors(): Finding {
  const allowed = allowedCpus();
  const evidence = `${allowed.length} of ${cpus().length} CPUs allowed (${allowed.join(',')}), ${cpus()[0]?.model.trim() ?? ''}`;
  if (allowed.length > 1) return ok('CPUs', evidence);
  return warn(
    'CPUs',
    evidence,
    'with one CPU two programs cannot run at the same time: waiting programs sleep instead of polling',
  );
}

function parts(): Finding {
  const missing = [PARTS.preload, PARTS.engine, PARTS.exec].filter((path) => !existsSync(path));
  if (missing.length === 0) return ok('installation', `${dirname(PARTS.preload)} is complete`);
  return fail('installation', `not built: ${missing.join(', ')}`, 'npm run build');
}

/** Nothing is wrong without it. */
function fstack(): Finding {
  const missing = fstackMissing();
  return ok(
    'F-Stack',
    missing === undefined ? '--stack fstack can be had' : `no --stack fstack in this build: ${missing}`,
  );
}

async function engineCheck(name: string): Promise<Finding> {
  try {
    const engine = await findEngine(name);
    if (engine === undefined) return ok('engine', `${name} does not run; it is started when it is needed`);
    engine.client.close();
    return ok('engine', `${name} runs, pid ${engine.pid}`);
  } catch (error) {
    return fail('engine', textOf(error), 'zstack-run engine restart --force');
  }
}

async function dpdk(): Promise<Finding> {
  const { stdout, failed } = await execa('pkg-config', ['--modversion', 'libdpdk'], { reject: false });
  if (failed) return fail('DPDK', 'pkg-config does not know libdpdk', 'apt-get install libdpdk-dev');
  const drivers = await poolOfDrivers();
  return ok('DPDK', `version ${stdout}${drivers}`);
}

/** The poll-mode drivers that are installed: DPDK's plugin directory. */
async function poolOfDrivers(): Promise<string> {
  const { stdout, failed } = await execa('pkg-config', ['--variable=libdir', 'libdpdk'], { reject: false });
  if (failed) return '';
  try {
    const names = readdirSync(join(stdout, 'dpdk'), { recursive: true, encoding: 'utf8' })
      .map((file) => /librte_net_(\w+)\.so/.exec(file)?.[1])
      .filter((name) => name !== undefined);
    const unique = [...new Set(names)];
    return unique.length === 0
      ? ''
      : `, ${unique.length} network drivers${unique.includes('af_packet') ? ' (af_packet, ...)' : ''}`;
  } catch {
    return '';
  }
}

function huge(): Finding {
  const pages = hugePages();
  const evidence = pages
    .map(({ sizeKib, free, total }) => `${free} of ${total} pages of ${sizeKib / 1024} MiB free`)
    .join(', ');
  if (freeHugeMib(pages) >= 64) return ok('huge pages', evidence);
  return warn(
    'huge pages',
    evidence === '' ? 'this kernel has none' : evidence,
    'ordinary pages are used; for huge ones: echo 512 > /proc/sys/vm/nr_hugepages as root',
  );
}

function limits(): Finding[] {
  const text = read('/proc/self/limits') ?? '';
  const limit = (name: string) => new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(text);
  const memlock = limit('Max locked memory')?.[1] ?? 'unknown';
  const nofile = Number(limit('Max open files')?.[2] ?? 0);
  const enough = memlock === 'unlimited' || Number(memlock) >= 64 << 20 || process.getuid?.() === 0;
  return [
    enough
      ? ok('RLIMIT_MEMLOCK', `${memlock}${memlock === 'unlimited' ? '' : ' bytes'}`)
      : warn('RLIMIT_MEMLOCK', `${memlock} bytes`, 'ulimit -l unlimited: DPDK locks its memory'),
    nofile >= 4096
      ? ok('RLIMIT_NOFILE', `at most ${nofile} open files`)
      : warn(
          'RLIMIT_NOFILE',
          `at most ${nofile} open files`,
          'raise the hard limit: every socket keeps a descriptor, as without Z-stack',
        ),
  ];
}

async function memoryFiles(): Promise<Finding> {
  const name = 'memfd';
  const program = join(dirname(fileURLToPath(import.meta.url)), 'memfd-probe.js');
  const { stdout, failed } = await execa(process.execPath, [program], { reject: false, timeout: 10_000 });
  if (failed)
    return warn(
      name,
      'unknown: ffi-napi is not installed',
      'npm ci with a C++ compiler present; nothing else needs it',
    );
  const report = JSON.parse(stdout) as MemfdReport;
  if (report.memfd !== 0)
    return fail(name, `memfd_create fails with errno ${report.memfd}`, 'a sandbox forbids it: allow memfd_create');
  if (report.seals !== 0) return fail(name, `sealing fails with errno ${report.seals}`, 'Linux 5.1 or later is needed');
  return ok(name, `memory files can be created and sealed${report.huge === 0 ? ', on huge pages too' : ''}`);
}

function sharedMemoryPages(): Finding {
  const setting = /\[(\w+)\]/.exec(read('/sys/kernel/mm/transparent_hugepage/shmem_enabled') ?? '')?.[1];
  const evidence = `transparent huge pages for shared memory: ${setting ?? 'unknown'}`;
  if (setting === 'always' || setting === 'advise' || setting === 'within_size') return ok('THP shmem', evidence);
  return warn(
    'THP shmem',
    evidence,
    'optional: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled as root',
  );
}

function namespace(): Finding {
  const link = (path: string) => {
    try {
      return readlinkSync(path);
    } catch {
      return undefined;
    }
  };
  const own = link('/proc/self/ns/net');
  const first = link('/proc/1/ns/net');
  const kind = first === undefined ? '' : own === first ? ', that of process 1' : ', not that of process 1';
  return ok('network namespace', `${own ?? 'unknown'}${kind}; an engine serves one`);
}
