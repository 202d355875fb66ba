/**
 * F-Stack's own LD_PRELOAD adapter, for the comparison with it: `fstack`, the process with the stack, and `libff_syscall.so` in nginx.
 * Both are the user's, built beside this project with `FF_KERNEL_EVENT` and `FF_MULTI_SC`, against DPDK's shared libraries.
 */
import { accessSync, constants, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { freeHugeMib } from '../engine/eal.js';
import { LauncherError } from '../errors.js';
import { part } from '../paths.js';
import { nginxConfiguration, type Place } from './cases.js';
import type { Program } from './processes.js';

/** What its two processes share, MiB: in huge pages, there is no other way. */
const MEMORY_MIB = 512;

/** Where it runs: on which interface, with which address, and on which CPUs its stack and the program. */
export interface AdapterPlace extends Place {
  readonly netns: string;
  readonly interface: string;
  readonly network: { readonly length: number; readonly gateway: string };
  readonly cpus: { readonly stack: number; readonly program: number };
}

/**
 * The directory of the adapter, as it is used.
 * @throws LauncherError ZS1302 its files are not there, ZS1206 no huge pages
 */
export function adapterDirectory(directory: string): string {
  const path = resolve(directory);
  try {
    accessSync(join(path, 'fstack'), constants.X_OK);
    accessSync(join(path, 'libff_syscall.so'), constants.R_OK);
  } catch {
    const hint = "name the directory adapter/syscall of F-Stack's tree, built";
    throw new LauncherError('ZS1302', `--fstack-adapter ${directory}: no fstack and libff_syscall.so in it`, hint);
  }
  const free = freeHugeMib();
  if (free < MEMORY_MIB)
    throw new LauncherError(
      'ZS1206',
      `${free} MiB of free huge pages, F-Stack's adapter needs ${MEMORY_MIB}`,
      `echo ${MEMORY_MIB / 2} > /proc/sys/vm/nr_hugepages as root`,
    );
  return path;
}

/** Its configuration file: FreeBSD's side as the engine has it, the rest as F-Stack has it. */
export function configuration({ host, network, cpus }: AdapterPlace): string {
  const bits = (2 ** network.length - 1) * 2 ** (32 - network.length);
  const dotted = (value: number) => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
  const address = host.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const broadcast = address - (address % 2 ** (32 - network.length)) + 2 ** (32 - network.length) - 1;
  return `[dpdk]
lcore_mask=${(1 << cpus.stack).toString(16)}
channel=1
memory=${MEMORY_MIB}
promiscuous=0
numa_on=0
vlan_strip=0
idle_sleep=0
pkt_tx_delay=100
port_list=0
[port0]
addr=${host}
netmask=${dotted(bits)}
broadcast=${dotted(broadcast)}
gateway=${network.gateway}
[freebsd.boot]
hz=100
fd_reserve=1024
kern.ipc.maxsockets=262144
net.inet.tcp.syncache.hashsize=4096
net.inet.tcp.syncache.bucketlimit=100
net.inet.tcp.tcbhashsize=65536
kern.ncallout=262144
[freebsd.sysctl]
kern.ipc.somaxconn=32768
kern.ipc.maxsockbuf=16777216
net.inet.tcp.cc.algorithm=cubic
`;
}

/**
 * Both in namespaces of mounts and of processes: the files of the huge pages go with the one. With the other goes every process that
 * was started here, whatever became of its parent, when this shell ends or is killed; asked to end, a program under the adapter goes on.
 */
const SCRIPT = `
cd "$5" && mkdir huge && mount -t hugetlbfs none huge || exit 1
eal="--no-pci --huge-dir=$5/huge"
ZSTACK_BENCH_EAL="$eal --vdev=net_af_packet0,iface=$3" LD_PRELOAD=$2 stdbuf -oL "$1/fstack" --conf fstack.conf --proc-type=primary --proc-id=0 >fstack.log 2>&1 &
for i in $(seq 200); do
  grep -q 'memzone successful' fstack.log && break
  sleep 0.1
done
ZSTACK_BENCH_EAL=$eal LD_PRELOAD="$2 $1/libff_syscall.so" FF_INITIAL_LCORE_ID=$4 FF_NB_FSTACK_INSTANCE=1 nginx -p "$5" -c nginx.conf >nginx.log 2>&1 &
program=$!
echo ready
wait $program
`;

/** Its shell is the first process of the namespace, and is killed with the process that started it. */
const CONFINED = ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** How long both may take to serve, milliseconds: EAL alone takes seconds. */
export const ADAPTER_READY_MS = 30_000;

/** nginx under the adapter that is in `directory`, and the process with F-Stack, each on its CPU. */
export function adapterServer(directory: string, place: AdapterPlace): Program {
  writeFileSync(join(place.directory, 'fstack.conf'), configuration(place));
  // As F-Stack's documentation wants nginx to be set up.
  nginxConfiguration(place, { main: 'user root;', events: 'multi_accept on; use epoll;', listen: 'reuseport' });
  const mask = (1 << place.cpus.program).toString(16);
  const args = [directory, part('ealArgs'), place.interface, mask, place.directory];
  return { command: [...CONFINED, '/bin/sh', '-c', SCRIPT, 'sh', ...args], cpu: place.cpus.stack, netns: place.netns };
}
