/** Names of the ports of a running engine as users know them, from its status. No schema: a command must not wait for one. */

/** What is needed of an engine's answer to `status`; every part may be missing. */
interface StatusLike {
  readonly ports?: readonly { readonly device?: unknown; readonly kind?: unknown; readonly ip?: unknown }[];
  readonly dpdk?: { readonly args?: readonly unknown[] };
}

/** `tap zs-1a2b3c4d`, `memif /run/a.sock`, `pci 0000:03:00.0`: kind, and what EAL's arguments say of the device. */
export function portNameOf(device: string, kind: string, args: readonly unknown[]): string {
  const prefix = `--vdev=${device},`;
  const vdev = args.find((arg): arg is string => typeof arg === 'string' && arg.startsWith(prefix));
  const place = vdev === undefined ? undefined : /(?:^|,)(?:iface|socket)=([^,]+)/.exec(vdev.slice(prefix.length))?.[1];
  return `${kind} ${place ?? device}`;
}

/**
 * The name of the port that has an address.
 * @param status an engine's answer, unchecked
 * @param address without prefix length
 */
export function portWith(status: unknown, address: string): string | undefined {
  const { ports, dpdk } = (status ?? {}) as StatusLike;
  if (!Array.isArray(ports)) return undefined;
  for (const { device, kind, ip } of ports as NonNullable<StatusLike['ports']>) {
    const has = Array.isArray(ip) && ip.some((text) => typeof text === 'string' && text.split('/')[0] === address);
    if (has && typeof device === 'string') {
      const args = Array.isArray(dpdk?.args) ? (dpdk.args as readonly unknown[]) : [];
      return portNameOf(device, typeof kind === 'string' ? kind : 'port', args);
    }
  }
  return undefined;
}
