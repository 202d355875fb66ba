/** IP addresses and prefixes of both families as numbers: what the checks of ports compute with. */
import { isIPv4, isIPv6 } from 'node:net';

/** An address; `value` has 32 or 128 bits. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** An address with the length of its prefix: `10.0.0.1/24`. */
export interface Prefix extends Address {
  readonly length: number;
}

const bitsOf = (family: 4 | 6) => (family === 4 ? 32 : 128);

/** Reads an address; `undefined` when it is none. IPv6 zones (`%eth0`) are not accepted. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: fromV4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const plain = text.replace(/[\d.]+$/, (tail) => {
    if (!tail.includes('.')) return tail;
    const value = fromV4(tail);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [before = '', after] = plain.split('::');
  const head = before.split(':').filter((group) => group !== '');
  const tail = (after ?? '').split(':').filter((group) => group !== '');
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return { family: 6, value: groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n) };
}

function fromV4(text: string): bigint {
  return text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** Reads `ADDRESS/LENGTH`; `undefined` when it is not of that form. */
export function parsePrefix(text: string): Prefix | undefined {
  const [host = '', length, ...rest] = text.split('/');
  const address = parseAddress(host);
  if (address === undefined || length === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return undefined;
  return Number(length) <= bitsOf(address.family) ? { ...address, length: Number(length) } : undefined;
}

/** The usual text of an address. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  // The WHATWG parser shortens as RFC 5952 asks.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** `10.0.0.1/24`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** The first address of the network that the prefix is in. */
export function firstOf({ family, value, length }: Prefix): bigint {
  const host = BigInt(bitsOf(family) - length);
  return (value >> host) << host;
}

/** The last address of the network that the prefix is in. */
export function lastOf(prefix: Prefix): bigint {
  return firstOf(prefix) + (1n << BigInt(bitsOf(prefix.family) - prefix.length)) - 1n;
}

/** True when the address is in the prefix's network. */
export function contains(prefix: Prefix, address: Address): boolean {
  return prefix.family === address.family && firstOf(prefix) <= address.value && address.value <= lastOf(prefix);
}

/** True when the two networks have an address in common. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && firstOf(a) <= lastOf(b) && firstOf(b) <= lastOf(a);
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.value === b.value;
}

/** Why an address cannot be a host's in its prefix, or `undefined` when it can. */
export function notHost(prefix: Prefix): string | undefined {
  const { family, value, length } = prefix;
  if (family === 4) {
    if (value >> 24n === 0n || value >> 24n === 127n || value >> 28n >= 14n) return 'is no address of a host';
    if (length === 0) return 'has a prefix of length 0';
    if (length <= 30 && value === firstOf(prefix)) return 'is the network address of its prefix';
    if (length <= 30 && value === lastOf(prefix)) return 'is the broadcast address of its prefix';
    return undefined;
  }
  if (value <= 1n || value >> 120n === 0xffn || value >> 118n === 0x3fan) return 'is no global address of a host';
  if (length === 0) return 'has a prefix of length 0';
  return length <= 126 && value === firstOf(prefix) ? 'is the router address of its prefix' : undefined;
}

/** The next address of the same network that a host can have and that is not taken; after the last comes the first. */
export function nextHost(prefix: Prefix, taken: readonly Address[]): Prefix | undefined {
  const [first, last] = [firstOf(prefix), lastOf(prefix)];
  // Among one more than there are taken ones, and the two ends, there is a free one.
  for (let i = 0, value = prefix.value; i < taken.length + 4 && BigInt(i) <= last - first; i++) {
    value = value === last ? first : value + 1n;
    const candidate = { ...prefix, value };
    if (value === prefix.value || notHost(candidate) !== undefined) continue;
    if (!taken.some((address) => sameAddress(address, candidate))) return candidate;
  }
  return undefined;
}
