/** The program `ip` of iproute2. Plain `child_process`: an engine that is started must not wait for a library to load. */
import { execFile } from 'node:child_process';
import { errnoOf, LauncherError } from '../errors.js';
import { parsePrefix, type Prefix } from './address.js';

/** An interface as `ip` tells it. */
export interface Interface {
  readonly name: string;
  readonly up: boolean;
  readonly loopback: boolean;
  readonly mtu: number;
  readonly queues: number;
  /** `veth`, `bridge`, `tun`, ...; empty for hardware. */
  readonly kind: string;
  /** The name of the device behind it on its bus; empty where there is none. */
  readonly parent: string;
  readonly addresses: readonly Prefix[];
}

/** What a network namespace has. */
export interface Network {
  readonly interfaces: readonly Interface[];
  /** Destinations of routes but those to everywhere. */
  readonly routes: readonly Prefix[];
}

/**
 * Runs `ip`.
 * @param input lines for `-batch -`
 * @returns its standard output
 * @throws LauncherError ZS1612 when it is not installed, or fails
 */
export function ip(args: readonly string[], input = ''): Promise<string> {
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  return new Promise((resolve, reject) => {
    const child = execFile('ip', args, { env: { PATH, LC_ALL: 'C' }, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const missing = errnoOf(error) === 'ENOENT';
      const said = stderr.trim().split('\n')[0] ?? '';
      reject(
        missing
          ? new LauncherError('ZS1612', 'the program ip is not installed', 'apt-get install iproute2')
          : new LauncherError('ZS1612', `ip ${args.join(' ')}: ${said === '' ? error.message : said}`, ''),
      );
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

/** Arguments that make `ip` work in the namespace of that name. */
export function inside(netns: string | undefined): string[] {
  return netns === undefined ? [] : ['-n', netns];
}

/**
 * What the namespace has; without a name this process' own.
 * @throws LauncherError ZS1612
 */
export async function readNetwork(netns?: string): Promise<Network> {
  const [links, routes] = await Promise.all([
    ip([...inside(netns), '-details', '-json', 'address']),
    ip([...inside(netns), '-json', 'route', 'show', 'table', 'all']),
  ]);
  return { interfaces: parseInterfaces(links), routes: parseRoutes(routes) };
}

interface RawLink {
  ifname?: string;
  flags?: string[];
  mtu?: number;
  num_rx_queues?: number;
  linkinfo?: { info_kind?: string };
  parentdev?: string;
  addr_info?: { local?: string; prefixlen?: number }[];
}

/** Reads `ip -details -json address`. */
export function parseInterfaces(json: string): Interface[] {
  // Older versions print `{}` for what they leave out.
  return (JSON.parse(json === '' ? '[]' : json) as RawLink[])
    .filter((link) => link.ifname !== undefined)
    .map(({ ifname = '', flags = [], mtu = 0, num_rx_queues: queues = 1, linkinfo, parentdev, addr_info = [] }) => ({
      name: ifname,
      up: flags.includes('UP'),
      loopback: flags.includes('LOOPBACK'),
      mtu,
      queues,
      kind: linkinfo?.info_kind ?? '',
      parent: parentdev ?? '',
      addresses: addr_info
        .map(({ local = '', prefixlen = 0 }) => parsePrefix(`${local}/${prefixlen}`))
        .filter((prefix) => prefix !== undefined),
    }));
}

/** Reads `ip -json route show table all`: no default routes, no multicast. */
export function parseRoutes(json: string): Prefix[] {
  return (JSON.parse(json === '' ? '[]' : json) as { dst?: string; type?: string }[])
    .filter(({ type }) => type !== 'multicast')
    .map(({ dst = '' }) => parsePrefix(dst.includes('/') ? dst : `${dst}/${dst.includes(':') ? 128 : 32}`))
    .filter((prefix) => prefix !== undefined && prefix.length > 0) as Prefix[];
}
