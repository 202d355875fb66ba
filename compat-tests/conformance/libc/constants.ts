// SPDX-License-Identifier: BSD-3-Clause
/** Numbers of the Linux interface (x86-64), by the names that the manual pages have, and back to names for traces. */

export const SOCK = { STREAM: 1, DGRAM: 2, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
export const SHUT = { RD: 0, WR: 1, RDWR: 2 } as const;
export const IPPROTO = { IP: 0, TCP: 6, UDP: 17, IPV6: 41 } as const;
export const SOL_SOCKET = 1;

export const MSG = {
  OOB: 1,
  PEEK: 2,
  DONTROUTE: 4,
  CTRUNC: 8,
  TRUNC: 0x20,
  DONTWAIT: 0x40,
  EOR: 0x80,
  WAITALL: 0x100,
  CONFIRM: 0x800,
  ERRQUEUE: 0x2000,
  NOSIGNAL: 0x4000,
  MORE: 0x8000,
  WAITFORONE: 0x10000,
  ZEROCOPY: 0x4000000,
  FASTOPEN: 0x20000000,
  CMSG_CLOEXEC: 0x40000000,
} as const;

export const SO = {
  DEBUG: 1,
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  DONTROUTE: 5,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  KEEPALIVE: 9,
  OOBINLINE: 10,
  NO_CHECK: 11,
  PRIORITY: 12,
  LINGER: 13,
  BSDCOMPAT: 14,
  REUSEPORT: 15,
  PASSCRED: 16,
  PEERCRED: 17,
  RCVLOWAT: 18,
  SNDLOWAT: 19,
  RCVTIMEO: 20,
  SNDTIMEO: 21,
  BINDTODEVICE: 25,
  ATTACH_FILTER: 26,
  DETACH_FILTER: 27,
  PEERNAME: 28,
  TIMESTAMP: 29,
  ACCEPTCONN: 30,
  PEERSEC: 31,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  PASSSEC: 34,
  TIMESTAMPNS: 35,
  MARK: 36,
  TIMESTAMPING: 37,
  PROTOCOL: 38,
  DOMAIN: 39,
  RXQ_OVFL: 40,
  WIFI_STATUS: 41,
  PEEK_OFF: 42,
  NOFCS: 43,
  LOCK_FILTER: 44,
  SELECT_ERR_QUEUE: 45,
  BUSY_POLL: 46,
  MAX_PACING_RATE: 47,
  INCOMING_CPU: 49,
  MEMINFO: 55,
  INCOMING_NAPI_ID: 56,
  COOKIE: 57,
  PEERGROUPS: 59,
  ZEROCOPY: 60,
  TXTIME: 61,
  BINDTOIFINDEX: 62,
  TIMESTAMP_NEW: 63,
  TIMESTAMPNS_NEW: 64,
  TIMESTAMPING_NEW: 65,
  RCVTIMEO_NEW: 66,
  SNDTIMEO_NEW: 67,
  PREFER_BUSY_POLL: 69,
  BUSY_POLL_BUDGET: 70,
  NETNS_COOKIE: 71,
  BUF_LOCK: 72,
  RESERVE_MEM: 73,
  TXREHASH: 74,
  RCVMARK: 75,
} as const;

export const TCP = {
  NODELAY: 1,
  MAXSEG: 2,
  CORK: 3,
  KEEPIDLE: 4,
  KEEPINTVL: 5,
  KEEPCNT: 6,
  SYNCNT: 7,
  LINGER2: 8,
  DEFER_ACCEPT: 9,
  WINDOW_CLAMP: 10,
  INFO: 11,
  QUICKACK: 12,
  CONGESTION: 13,
  THIN_LINEAR_TIMEOUTS: 16,
  THIN_DUPACK: 17,
  USER_TIMEOUT: 18,
  REPAIR: 19,
  FASTOPEN: 23,
  TIMESTAMP: 24,
  NOTSENT_LOWAT: 25,
  CC_INFO: 26,
  SAVE_SYN: 27,
  SAVED_SYN: 28,
  FASTOPEN_CONNECT: 30,
  ULP: 31,
  FASTOPEN_NO_COOKIE: 34,
  ZEROCOPY_RECEIVE: 35,
  INQ: 36,
  CM_INQ: 36,
  TX_DELAY: 37,
} as const;

export const IP = {
  TOS: 1,
  TTL: 2,
  HDRINCL: 3,
  OPTIONS: 4,
  RECVOPTS: 6,
  RETOPTS: 7,
  PKTINFO: 8,
  MTU_DISCOVER: 10,
  RECVERR: 11,
  RECVTTL: 12,
  RECVTOS: 13,
  MTU: 14,
  FREEBIND: 15,
  PASSSEC: 18,
  TRANSPARENT: 19,
  RECVORIGDSTADDR: 20,
  MINTTL: 21,
  NODEFRAG: 22,
  CHECKSUM: 23,
  BIND_ADDRESS_NO_PORT: 24,
  RECVFRAGSIZE: 25,
  RECVERR_RFC4884: 26,
  MULTICAST_IF: 32,
  MULTICAST_TTL: 33,
  MULTICAST_LOOP: 34,
  UNICAST_IF: 50,
  LOCAL_PORT_RANGE: 51,
  PROTOCOL: 52,
} as const;

export const IPV6 = {
  ADDRFORM: 1,
  PKTINFO_2292: 2,
  CHECKSUM: 7,
  UNICAST_HOPS: 16,
  MULTICAST_IF: 17,
  MULTICAST_HOPS: 18,
  MULTICAST_LOOP: 19,
  ROUTER_ALERT: 22,
  MTU_DISCOVER: 23,
  MTU: 24,
  RECVERR: 25,
  V6ONLY: 26,
  RECVERR_RFC4884: 31,
  RECVPKTINFO: 49,
  PKTINFO: 50,
  RECVHOPLIMIT: 51,
  HOPLIMIT: 52,
  RECVHOPOPTS: 53,
  RECVRTHDR: 56,
  RECVDSTOPTS: 58,
  RECVPATHMTU: 60,
  DONTFRAG: 62,
  RECVTCLASS: 66,
  TCLASS: 67,
  AUTOFLOWLABEL: 70,
  ADDR_PREFERENCES: 72,
  MINHOPCOUNT: 73,
  RECVORIGDSTADDR: 74,
  FREEBIND: 78,
} as const;

export const EPOLL = {
  IN: 1,
  PRI: 2,
  OUT: 4,
  ERR: 8,
  HUP: 0x10,
  RDNORM: 0x40,
  RDBAND: 0x80,
  WRNORM: 0x100,
  WRBAND: 0x200,
  RDHUP: 0x2000,
  EXCLUSIVE: 2 ** 28,
  WAKEUP: 2 ** 29,
  ONESHOT: 2 ** 30,
  ET: 2 ** 31,
} as const;
export const EPOLL_CTL = { ADD: 1, DEL: 2, MOD: 3 } as const;
export const POLL = { ...EPOLL, NVAL: 0x20 } as const;

export const F = {
  DUPFD: 0,
  GETFD: 1,
  SETFD: 2,
  GETFL: 3,
  SETFL: 4,
  GETLK: 5,
  SETLK: 6,
  SETOWN: 8,
  GETOWN: 9,
  SETSIG: 10,
  GETSIG: 11,
  SETOWN_EX: 15,
  GETOWN_EX: 16,
  SETLEASE: 1024,
  GETLEASE: 1025,
  DUPFD_CLOEXEC: 1030,
  SETPIPE_SZ: 1031,
  GETPIPE_SZ: 1032,
  ADD_SEALS: 1033,
  GET_SEALS: 1034,
} as const;
export const O = {
  RDWR: 2,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  ASYNC: 0o20000,
  DIRECT: 0o40000,
  CLOEXEC: 0o2000000,
} as const;

export const RWF = { HIPRI: 1, DSYNC: 2, SYNC: 4, NOWAIT: 8, APPEND: 16 } as const;
export const SPLICE = { MOVE: 1, NONBLOCK: 2, MORE: 4, GIFT: 8 } as const;

/** The names of the bits that are set, by `|`; '0' for none. */
export function bits(value: number, names: Readonly<Record<string, number>>): string {
  const found: string[] = [];
  let rest = value >>> 0;
  for (const [name, bit] of Object.entries(names)) {
    if ((rest & bit) === 0 || (bit & (bit - 1)) !== 0) continue;
    found.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) found.push(`0x${rest.toString(16)}`);
  return found.length === 0 ? '0' : found.join('|');
}

/** The values of a table with the names of their constants, as `PREFIX_NAME`. */
export function named(prefix: string, table: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(table).map(([name, value]) => [`${prefix}_${name}`, value]);
}
