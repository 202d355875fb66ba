/** What the machine has for ports: each check tells what it found, and what to do where that is not enough. */
import { execa } from 'execa';
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { textOf } from '../errors.js';
import { CAPABILITIES, capabilities, tunProblem, type Capability } from '../ports/capabilities.js';
import { readNetwork, type Interface } from '../ports/ip.js';
import type { Finding } from '../target/inspect.js';
import { ok, warn } from './finding.js';

const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** All checks about ports. */
export async function portChecks(): Promise<Finding[]> {
  return [capabilitiesCheck(), tun(), afXdp(), await iproute2(), await interfaces()];
}

function capabilitiesCheck(): Finding {
  const has = capabilities();
  const names = Object.keys(CAPABILITIES) as Capability[];
  const missing = names.filter((name) => !has.has(name));
  if (missing.length === 0) return ok('capabilities', names.join(', '));
  const ports = [
    ...(has.has('CAP_NET_ADMIN') ? [] : ['no ports but memif']),
    ...(has.has('CAP_NET_RAW') ? [] : ['no af_packet, no af_xdp']),
  ];
  const evidence = `missing: ${missing.join(', ')}${ports.length === 0 ? '' : ` (${ports.join('; ')})`}`;
  return warn('capabilities', evidence, 'same-host sockets need none; for ports run as root');
}

function tun(): Finding {
  const problem = tunProblem();
  if (problem !== undefined)
    return warn('/dev/net/tun', problem, 'modprobe tun; same-host sockets do not need it, --port tap does');
  if (!capabilities().has('CAP_NET_ADMIN'))
    return warn('/dev/net/tun', 'there, but CAP_NET_ADMIN is missing', 'run as root for --port tap');
  return ok('/dev/net/tun', 'usable: --port tap');
}

function afXdp(): Finding {
  let kernel = false;
  try {
    kernel = /^XDP\s/m.test(readFileSync('/proc/net/protocols', 'utf8'));
  } catch {
    // As if it had none.
  }
  if (!kernel)
    return warn('AF_XDP', 'this kernel has no AF_XDP sockets', 'use --port af_packet:IF; CONFIG_XDP_SOCKETS');
  const has = capabilities();
  const bpf = has.has('CAP_SYS_ADMIN') || (has.has('CAP_BPF') && has.has('CAP_NET_ADMIN'));
  if (!bpf || !has.has('CAP_NET_RAW'))
    return warn('AF_XDP', 'the kernel has it, this user may not load BPF programs', 'run as root for --port af_xdp:IF');
  return ok('AF_XDP', 'usable: --port af_xdp:IF');
}

async function iproute2(): Promise<Finding> {
  const { stdout, failed } = await execa('ip', ['-Version'], { reject: false, env: { PATH } });
  if (!failed) return ok('iproute2', stdout.replace(/^ip utility, /, ''));
  return warn('iproute2', 'the program ip is missing', 'apt-get install iproute2; ports need it, but memif');
}

/** The interfaces that af_packet and af_xdp could use. */
async function interfaces(): Promise<Finding> {
  const name = 'network devices';
  try {
    const found = (await readNetwork()).interfaces.filter(({ loopback }) => !loopback);
    const usable = found.filter(({ up }) => up);
    if (usable.length === 0) {
      const down = found.length === 0 ? '' : `; down: ${found.map((each) => each.name).join(', ')}`;
      return ok(name, `no interface that is up for af_packet or af_xdp${down}`);
    }
    return ok(name, (await Promise.all(usable.map(describe))).join('; '));
  } catch (error) {
    return warn(name, textOf(error), '');
  }
}

async function describe({ name, kind, mtu, queues }: Interface): Promise<string> {
  const merges = await mergesPackets(name);
  const gro = merges === undefined ? 'GRO unknown without ethtool' : merges ? 'GRO on, off while a port' : 'GRO off';
  return `${name} (${driverOf(name) ?? (kind === '' ? 'virtual' : kind)}, MTU ${mtu}, queues ${queues}, ${gro})`;
}

/**
 * Whether the kernel merges what the interface receives: merged frames fit no buffer, the engine turns that off.
 * `undefined` when ethtool is not installed.
 */
async function mergesPackets(name: string): Promise<boolean | undefined> {
  const { stdout, failed } = await execa('ethtool', ['--show-features', name], { reject: false, env: { PATH } });
  return failed ? undefined : /^(generic|large)-receive-offload: on/m.test(stdout);
}

/** The driver of an interface, from the sysfs that this process sees. */
function driverOf(name: string): string | undefined {
  try {
    return basename(readlinkSync(`/sys/class/net/${name}/device/driver`));
  } catch {
    return undefined;
  }
}
