/** What EAL and `zstackd` are told of the ports (docs/INTERFACES.md). */
import { formatAddress, formatPrefix } from './address.js';
import type { PlannedPort } from './plan.js';

/**
 * EAL's arguments: a device each. One of af_packet is made with a queue for each worker, one of af_xdp with those that it is to take
 * from the kernel; other drivers make as many as the engine asks for.
 */
export function ealDevices(ports: readonly PlannedPort[], workers = 1): string[] {
  return ports.flatMap((port) => {
    switch (port.kind) {
      case 'tap':
        return [`--vdev=${port.device},iface=${port.place}`];
      case 'af_packet':
        return [`--vdev=${port.device},iface=${port.place}${frames(port.mtu)}${several('qpairs', workers)}`];
      case 'af_xdp':
        return [
          `--vdev=${port.device},iface=${port.place},start_queue=${port.queue}${several('queue_count', port.queues)}`,
        ];
      case 'memif':
        return [`--vdev=${port.device},role=${port.role},id=${port.id},socket=${port.place},socket-abstract=no`];
      case 'pci':
        return ['-a', port.place];
    }
  });
}

function several(key: string, count: number): string {
  return count > 1 ? `,${key}=${count}` : '';
}

/** The driver cuts what does not fit its frames, 2 KiB with the kernel's header unless told. */
function frames(mtu = 0): string {
  if (mtu <= 1900) return '';
  const size = mtu <= 3900 ? 4096 : 16384;
  return `,blocksz=${size},framesz=${size},framecnt=512`;
}

/** The options `--port` for `zstackd`. */
export function enginePorts(ports: readonly PlannedPort[]): string[] {
  return ports.flatMap((port) => {
    const { device, address, address6, gateway, gateway6, ra, route, mtu, mac, tso, gro, probe, redirects } = port;
    const settings = [
      `ip=${formatPrefix(address)}`,
      gateway && `gateway=${formatAddress(gateway)}`,
      address6 && `ip6=${formatPrefix(address6)}`,
      gateway6 && `gateway6=${formatAddress(gateway6)}`,
      ra !== undefined && `ra=${ra}`,
      route !== undefined && `route=${route}`,
      mtu !== undefined && `mtu=${mtu}`,
      mac !== undefined && `mac=${mac}`,
      tso !== undefined && `tso=${tso}`,
      gro !== undefined && `gro=${gro}`,
      probe !== undefined && `probe=${probe}`,
      redirects !== undefined && `redirects=${redirects}`,
      port.kind === 'memif' && `bell=${port.place}.bell`,
    ];
    return ['--port', [device, ...settings.filter((setting) => typeof setting === 'string')].join(',')];
  });
}
