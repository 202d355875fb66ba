/** Ports: the form of --port, what EAL and the engine are told, every refusal. Nothing here touches a network. */
import { LauncherError } from '../src/errors.js';
import { ealArguments } from '../src/engine/eal.js';
import { portNameOf, portWith } from '../src/engine/port-names.js';
import { engineArguments } from '../src/engine/start.js';
import { resolveOptions } from '../src/options/resolve.js';
import { formatAddress, formatPrefix, nextHost, parseAddress, parsePrefix } from '../src/ports/address.js';
import { ealDevices, enginePorts } from '../src/ports/arguments.js';
import type { Capability } from '../src/ports/capabilities.js';
import type { Host } from '../src/ports/host.js';
import { parseInterfaces, parseRoutes, type Interface } from '../src/ports/ip.js';
import { kernelEndCommands } from '../src/ports/kernel-end.js';
import { plan, portText } from '../src/ports/plan.js';
import { parsePorts } from '../src/ports/spec.js';

const prefixes = (...texts: string[]) =>
  texts.map((text) => parsePrefix(text)).filter((prefix) => prefix !== undefined);

const link = (name: string, more: Partial<Interface> = {}): Interface => ({
  ...{ name, up: true, loopback: false, mtu: 1500, queues: 2, kind: '', parent: '', addresses: [] },
  ...more,
});

/** A machine: two interfaces, one of them down, one PCI device of the kernel and one that is free. */
function host(changes: Partial<Host> = {}): Host {
  const network = {
    interfaces: [
      link('lo', { loopback: true, mtu: 65536, addresses: prefixes('127.0.0.1/8', '::1/128') }),
      link('eth0', { addresses: prefixes('192.0.2.2/24', 'fd00::2/64', 'fe80::1/64') }),
      link('eth1', { up: false }),
      link('eth2', { mtu: 1400, queues: 1 }),
      link('eth3', { mtu: 9000 }),
    ],
    routes: prefixes('192.0.2.0/24', '10.200.0.0/16', '0.0.0.0/1'),
  };
  return {
    uid: 0,
    capabilities: new Set<Capability>(['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN']),
    tunProblem: undefined,
    network,
    kernelNetwork: network,
    namespaces: ['blue', 'green'],
    namespaceId: 'net:[1]',
    pci: new Map([
      ['0000:03:00.0', { driver: 'vfio-pci', interfaces: [] }],
      ['0000:04:00.0', { driver: 'ixgbe', interfaces: ['eth7'] }],
      ['0000:05:00.0', { driver: undefined, interfaces: [] }],
    ]),
    pciNetworkDevices: ['0000:03:00.0', '0000:04:00.0'],
    sockets: new Map([
      ['/run/a.sock', 'absent'],
      ['/run/dead.sock', 'dead'],
      ['/run/served.sock', 'served'],
      ['/run/file', 'no socket'],
      ['/nowhere/a.sock', 'no directory'],
      ['/ro/a.sock', 'not writable'],
    ]),
    ...changes,
  };
}

const planned = (texts: string[], changes: Partial<Host> = {}, netns?: string) =>
  plan(parsePorts(texts, '/srv'), 'default', netns, host(changes));

function errorOf(call: () => unknown): LauncherError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(LauncherError);
    return error as LauncherError;
  }
  throw new Error('it was accepted');
}

describe('the form', () => {
  test.each<[string, object]>([
    ['tap', { kind: 'tap', device: undefined }],
    ['tap:zs0', { kind: 'tap', device: 'zs0' }],
    ['af_packet:eth1,address=10.0.0.5/24', { kind: 'af_packet', device: 'eth1' }],
    ['af_xdp:eth1,queue=3,address=10.0.0.5/24', { kind: 'af_xdp', queue: 3 }],
    ['pci:03:00.1,address=10.0.0.5/24', { kind: 'pci', device: '0000:03:00.1' }],
    ['pci:0000:0A:00.1,mac=device,address=10.0.0.5/24', { device: '0000:0a:00.1', mac: 'device' }],
    ['memif:run/a.sock,role=client,id=7,address=10.0.0.5/24', { device: '/srv/run/a.sock', role: 'client', id: 7 }],
    ['tap,mac=02:00:5E:10:00:01,mtu=1280', { mac: '02:00:5e:10:00:01', mtu: 1280 }],
    ['tap,kernel=none,address=10.0.0.5/24', { kernel: 'none' }],
  ])('%s', (text, expected) => {
    expect(parsePorts([text], '/srv')).toMatchObject([{ text, ...expected }]);
  });

  test('none, and nothing, are no ports', () => {
    expect([parsePorts(['none'], '/'), parsePorts([], '/')]).toEqual([[], []]);
  });

  test('an environment variable and a file hold several', async () => {
    const { options } = await resolveOptions({}, { XDG_CONFIG_HOME: '/nonexistent', ZSTACK_PORT: 'tap  tap:b' }, '/');
    expect(options.port).toEqual(['tap', 'tap:b']);
  });

  test.each<[string[], string, string, string]>([
    [['tpa'], 'ZS1601', "--port tpa: unknown kind 'tpa'", 'did you mean tap?'],
    [['ethernet'], 'ZS1601', 'unknown kind', 'the kinds are tap, af_packet, af_xdp, pci, memif, none'],
    [['af_packet'], 'ZS1601', 'no device', 'expected an interface'],
    [['tap:'], 'ZS1601', 'no device', 'at most 15 characters'],
    [['tap:a-name-that-is-too-long'], 'ZS1601', 'no device', 'at most 15 characters'],
    [['pci:3'], 'ZS1601', 'no device', 'pci:0000:03:00.0'],
    [['memif:/a b'], 'ZS1601', 'no device', 'the path of a socket'],
    [['tap,adress=10.0.0.1/24'], 'ZS1601', "unknown key 'adress' for tap", 'did you mean address?'],
    [['tap,queue=1'], 'ZS1601', "unknown key 'queue' for tap", 'the keys of tap are address, '],
    [['tap,mtu=1500,mtu=1400'], 'ZS1601', 'mtu is given twice', ''],
    [['tap,address=10.0.0.1'], 'ZS1601', 'address=10.0.0.1', 'expected A.B.C.D/LENGTH'],
    [['tap,address=10.0.0.256/24'], 'ZS1601', 'address=10.0.0.256/24', 'expected A.B.C.D/LENGTH'],
    [['tap,address=10.0.0.1/33'], 'ZS1601', 'address=10.0.0.1/33', 'expected A.B.C.D/LENGTH'],
    [['tap,address=fd00::1/64'], 'ZS1601', 'address=fd00::1/64', 'expected A.B.C.D/LENGTH'],
    [['tap,address6=10.0.0.1/24'], 'ZS1601', 'address6=10.0.0.1/24', 'expected an IPv6 address/LENGTH'],
    [['tap,gateway=here'], 'ZS1601', 'gateway=here', 'expected A.B.C.D'],
    [['tap,mtu=67'], 'ZS1601', 'mtu=67', 'expected a whole number from 68 to 9000'],
    [['tap,mtu=9001'], 'ZS1601', 'mtu=9001', 'expected a whole number from 68 to 9000'],
    [['tap,mtu=1279,address6=fd01::1/64'], 'ZS1601', 'mtu=1279', 'IPv6 needs at least 1280'],
    [['tap,mac=01:00:5e:00:00:01'], 'ZS1601', 'mac=01:00:5e:00:00:01', 'not multicast'],
    [['tap,mac=00:00:00:00:00:00'], 'ZS1601', 'mac=00:', 'not zero'],
    [['tap,mac=2:0:0:0:0:1'], 'ZS1601', 'mac=2:0:0:0:0:1', 'XX:XX'],
    [['tap,mac=device'], 'ZS1601', 'mac=device', 'a MAC address of its own'],
    [['memif:/a,role=master,address=10.0.0.1/24'], 'ZS1601', 'role=master', 'server or client'],
    [['tap,kernel=10.0.0.1/24'], 'ZS1601', 'kernel= without address=', 'give both'],
    [['tap,gateway6=fd01::1'], 'ZS1601', 'gateway6= without address6=', 'give both'],
    [['af_packet:eth0'], 'ZS1601', 'address= is missing', 'a host of its own on the interface'],
    [['memif:/a'], 'ZS1601', 'address= is missing', 'the network of the two engines'],
    [['tap,ra=maybe'], 'ZS1601', 'ra=maybe', 'expected on or off'],
    [['tap,gro=auto'], 'ZS1601', 'gro=auto', 'expected on or off'],
    [['tap,tso=1'], 'ZS1601', 'tso=1', 'expected on, off or auto'],
    [['af_xdp:eth0,tso=on'], 'ZS1601', "unknown key 'tso' for af_xdp", ''],
    [['tap,route=10.0.0.0'], 'ZS1601', 'route=10.0.0.0', 'expected PREFIX/LENGTH'],
    [['tap,route=10.0.0.0/8@fd01::1'], 'ZS1601', 'route=10.0.0.0/8@fd01::1', 'expected PREFIX/LENGTH'],
    [['none', 'tap'], 'ZS1602', '--port none together with other ports', 'leave out'],
    [Array<string>(9).fill('tap'), 'ZS1602', '9 ports: an engine has at most 8', ''],
  ])('%j is refused', (texts, code, what, hint) => {
    const error = errorOf(() => parsePorts(texts, '/srv'));
    expect(error.code).toBe(code);
    expect(error.what).toContain(what);
    expect(error.hint).toContain(hint);
  });
});

describe('the machine', () => {
  const at = (rest: string) => [`af_packet:${rest}`];
  test.each<[string[], string, string, string, Partial<Host>?, string?]>([
    [['tap'], 'ZS1608', 'port tap needs CAP_NET_ADMIN', 'run it as root', { capabilities: new Set() }],
    [
      ['tap'],
      'ZS1608',
      'port tap needs CAP_SYS_ADMIN',
      '--port none',
      { capabilities: new Set(['CAP_NET_ADMIN']) },
      'blue',
    ],
    [
      ['af_xdp:eth0,address=192.0.2.9/24'],
      'ZS1608',
      'needs CAP_BPF',
      'root',
      { capabilities: new Set(['CAP_NET_ADMIN', 'CAP_NET_RAW']) },
    ],
    [['tap'], 'ZS1609', 'ENOENT', 'modprobe tun', { tunProblem: "ENOENT: no such file, access '/dev/net/tun'" }],
    [['tap:eth1'], 'ZS1607', 'there is an interface eth1 already', 'use another name'],
    [at('eht0,address=192.0.2.9/24'), 'ZS1605', 'no interface eht0', 'did you mean eth0? there are eth0, eth1, eth2'],
    [at('lo,address=10.0.0.1/24'), 'ZS1605', 'lo leads to this host only', 'same-host sockets need no port'],
    [at('eth1,address=10.0.0.1/24'), 'ZS1606', 'interface eth1 is down', 'ip link set eth1 up'],
    [at('eth2,address=10.0.0.1/24,mtu=1500'), 'ZS1605', 'eth2 has an MTU of 1400', 'mtu=1400 or less'],
    [['af_xdp:eth2,queue=1,address=10.0.0.1/24'], 'ZS1605', 'eth2 has no queue 1', 'its queues are 0 to 0'],
    [['af_xdp:eth3,queue=1,queues=2,address=10.0.0.1/24'], 'ZS1605', 'eth3 has no queue 2', 'its queues are 0 to 1'],
    [['pci:06:00.0,address=10.0.0.1/24'], 'ZS1614', 'no PCI device 0000:06:00.0', 'there are 0000:03:00.0, 0000:04'],
    [['pci:04:00.0,address=10.0.0.1/24'], 'ZS1614', "the kernel's driver ixgbe has it (eth7)", 'dpdk-devbind.py'],
    [['pci:05:00.0,address=10.0.0.1/24'], 'ZS1614', 'no driver has it', '--bind=vfio-pci 0000:05:00.0'],
    [['memif:/nowhere/a.sock,address=10.0.0.1/24'], 'ZS1611', 'there is no directory /nowhere', 'mkdir -p /nowhere'],
    [['memif:/ro/a.sock,address=10.0.0.1/24'], 'ZS1611', 'directory /ro is not writable', 'another one'],
    [['memif:/run/file,address=10.0.0.1/24'], 'ZS1611', '/run/file is there and no socket', 'another path'],
    [['memif:/run/served.sock,address=10.0.0.1/24'], 'ZS1615', 'another engine serves', 'add role=client'],
    [[`memif:/${'a'.repeat(102)},address=10.0.0.1/24`], 'ZS1611', 'the path has 103 bytes', 'at most 102'],
    [['tap'], 'ZS1610', '--netns bleu: there is no such', 'did you mean blue? there are blue, green', {}, 'bleu'],
    [['tap'], 'ZS1610', '--netns red', 'there are none: ip netns add red', { namespaces: [] }, 'red'],
    [at('eth0,address=192.0.2.9/24'), 'ZS1602', '--netns blue without a TAP', 'add --port tap', {}, 'blue'],
    [[...at('eth0,address=192.0.2.9/24'), 'af_xdp:eth0,address=10.0.0.1/24'], 'ZS1602', 'the same device as', 'leave'],
    [['tap:a', 'tap:a,address=10.0.0.1/24'], 'ZS1602', 'the same device as tap:a', 'leave out one'],
    [['tap,address=10.0.0.0/24'], 'ZS1603', '10.0.0.0/24 is the network address of its prefix', 'another address'],
    [['tap,address=10.0.0.255/24'], 'ZS1603', '10.0.0.255/24 is the broadcast address', 'another address'],
    [['tap,address=224.0.0.5/24'], 'ZS1603', 'is no address of a host', ''],
    [['tap,address=127.0.0.5/24'], 'ZS1603', 'is no address of a host', ''],
    [['tap,address=10.0.0.1/32'], 'ZS1603', "has no room for the kernel's end", 'kernel=none'],
    [['tap,address6=fe80::1/64'], 'ZS1603', 'is no global address', ''],
    [['tap,address=10.0.0.1/24,gateway=10.0.1.1'], 'ZS1603', 'gateway 10.0.1.1 is not in 10.0.0.1/24', 'a neighbour'],
    [['tap,address=10.0.0.1/24,gateway=10.0.0.255'], 'ZS1603', 'gateway 10.0.0.255 is the broadcast', ''],
    [['tap,address=10.0.0.1/24,gateway=10.0.0.1'], 'ZS1603', "the engine's own address", 'leave it out'],
    [['tap,address=10.0.0.1/24,kernel=10.0.1.1/24'], 'ZS1603', 'kernel=10.0.1.1/24 is not in the network', ''],
    [['tap,address=10.0.0.1/24,kernel=10.0.0.1/24'], 'ZS1603', 'both ends have 10.0.0.1', ''],
    [['tap,address=10.0.0.1/24,kernel=10.0.0.0/24'], 'ZS1603', 'kernel=10.0.0.0/24 is the network address', ''],
    [at('eth0,address=192.0.2.2/24'), 'ZS1604', 'eth0 of this host has 192.0.2.2', 'that nobody has'],
    [['tap,address=192.0.2.9/24'], 'ZS1604', '192.0.2.9/24 overlaps 192.0.2.2/24 of eth0', 'kernel=none'],
    [['tap,address6=fd00::9/64'], 'ZS1604', 'fd00::9/64 overlaps fd00::2/64 of eth0', ''],
    [
      [...at('eth0,address=192.0.2.9/24'), ...at('eth2,address=192.0.2.8/24')],
      'ZS1604',
      '192.0.2.8/24 overlaps 192.0.2.9/24 of port',
      'a network of its own',
    ],
    [
      ['tap'],
      'ZS1604',
      'nothing of 198.18.0.0/15 is free',
      'address=A.B.C.D/LENGTH',
      { network: { interfaces: [], routes: prefixes('198.18.0.0/15') } },
    ],
  ])('%j is refused: %s', (...[texts, code, what, hint, changes, netns]) => {
    // Rest parameters: Jest gives a function that takes more than there is a callback to wait for.
    const error = errorOf(() => planned(texts, changes, netns));
    expect([error.code, error.what]).toEqual([code, expect.stringContaining(what)]);
    expect(error.hint).toContain(hint);
  });

  test('what is allowed beside others', () => {
    // The engine is one more host in the interface's network; a TAP for a bridge has no address of the kernel.
    expect(planned(['af_packet:eth0,address=192.0.2.9/24'])).toHaveLength(1);
    expect(planned(['tap,address=192.0.2.9/24,kernel=none'])[0]?.kernelEnd?.addresses).toEqual([]);
    expect(planned(['af_xdp:eth0,address=10.1.0.1/24', 'af_xdp:eth0,queue=1,address=10.2.0.1/24'])).toHaveLength(2);
    const both = ['af_xdp:eth0,queues=2,address=10.1.0.1/24', 'af_xdp:eth0,queue=1,address=10.2.0.1/24'];
    expect(errorOf(() => planned(both)).code).toBe('ZS1602');
    expect(planned(['tap,address6=fd01::1/64,gateway6=fe80::5'])).toHaveLength(1);
    expect(planned(['memif:/run/served.sock,role=client,address=10.0.0.1/24'])[0]?.leftover).toBeUndefined();
    expect(planned(['memif:/run/dead.sock,address=10.0.0.1/24'])[0]?.leftover).toBe('/run/dead.sock');
  });
});

describe('what is chosen', () => {
  const [port] = planned(['tap']);

  test('a name and a /30 for benchmarks, the same each time, another for another engine', () => {
    expect(port?.place).toMatch(/^zs-[0-9a-f]{8}$/);
    expect(formatPrefix(port?.address ?? { family: 4, value: 0n, length: 0 })).toMatch(/^198\.1[89]\.\d+\.\d+\/30$/);
    expect(planned(['tap'])[0]).toEqual(port);
    const [other] = plan(parsePorts(['tap'], '/'), 'other', undefined, host());
    expect([other?.place === port?.place, other?.address.value === port?.address.value]).toEqual([false, false]);
    expect(portText(planned(['tap'], {}, 'blue')[0] as never)).toMatch(
      /^port tap zs-\S+: 198\.\S+\/30; the kernel's end in network namespace blue 198\.\S+\/30$/,
    );
  });

  test('the next one when it is taken, by an interface, a route, a namespace, another port', () => {
    const taken = port?.address ?? { family: 4, value: 0n, length: 0 };
    const next = formatPrefix({ ...taken, value: taken.value + 4n });
    const empty = { interfaces: [], routes: [] };
    for (const network of [
      { interfaces: [link('x', { addresses: [taken] })], routes: [] },
      { interfaces: [link(port?.place ?? '')], routes: [{ ...taken, length: 31 }] },
    ]) {
      for (const changes of [
        { network, kernelNetwork: empty },
        { network: empty, kernelNetwork: network },
      ]) {
        const [moved] = planned(['tap'], changes);
        expect(formatPrefix(moved?.address ?? taken)).toBe(next);
        if (network.routes.length > 0) expect(moved?.place).not.toBe(port?.place);
      }
    }
    const two = planned(['tap', 'tap']);
    expect(two.map(({ device }) => device)).toEqual(['net_tap0', 'net_tap1']);
    expect(two[1]?.place).not.toBe(two[0]?.place);
    expect(formatPrefix(two[1]?.address ?? taken)).toBe(next);
  });

  test.each([
    ['tap,address=10.0.0.1/24', ['10.0.0.2/24']],
    ['tap,address=10.0.0.254/24', ['10.0.0.1/24']],
    ['tap,address=10.0.0.2/30', ['10.0.0.1/30']],
    ['tap,address=10.0.0.1/31', ['10.0.0.0/31']],
    ['tap,address=10.0.0.1/24,gateway=10.0.0.9', ['10.0.0.9/24']],
    ['tap,address=10.0.0.1/24,kernel=10.0.0.7/24', ['10.0.0.7/24']],
    ['tap,address=10.0.0.1/24,address6=fd01::1/64', ['10.0.0.2/24', 'fd01::2/64']],
    ['tap,address=10.0.0.1/24,address6=fd01::1/64,kernel6=none', ['10.0.0.2/24']],
  ])("the kernel's end of %s", (text, addresses) => {
    const [{ kernelEnd } = {}] = planned([text]);
    expect(kernelEnd?.addresses.map(formatPrefix)).toEqual(addresses);
  });
});

describe('what DPDK and the engine are told', () => {
  test.each<[string, string[], string]>([
    ['tap:zs0,address=10.0.0.1/24', ['--vdev=net_tap0,iface=zs0'], 'net_tap0,ip=10.0.0.1/24'],
    [
      'tap:zs0,mtu=1400,gateway=10.0.0.2,address=10.0.0.1/24,mac=02:00:00:00:00:07,address6=fd01::1/64,gateway6=fd01::2',
      ['--vdev=net_tap0,iface=zs0'],
      'net_tap0,ip=10.0.0.1/24,gateway=10.0.0.2,ip6=fd01::1/64,gateway6=fd01::2,mtu=1400,mac=02:00:00:00:00:07',
    ],
    [
      'tap:zs0,address=10.0.0.1/24,ra=on,route=10.9.0.0/16@10.0.0.2+239.0.0.0/8',
      ['--vdev=net_tap0,iface=zs0'],
      'net_tap0,ip=10.0.0.1/24,ra=on,route=10.9.0.0/16@10.0.0.2+239.0.0.0/8',
    ],
    [
      'af_packet:eth0,address=192.0.2.9/24,mac=device,tso=on,gro=off,probe=off,redirects=off',
      ['--vdev=net_af_packet0,iface=eth0'],
      'net_af_packet0,ip=192.0.2.9/24,mac=device,tso=on,gro=off,probe=off,redirects=off',
    ],
    ['af_packet:eth2,address=10.0.0.1/24', ['--vdev=net_af_packet0,iface=eth2'], 'net_af_packet0,ip=10.0.0.1/24'],
    [
      'af_xdp:eth3,address=10.0.0.1/24',
      ['--vdev=net_af_xdp0,iface=eth3,start_queue=0'],
      'net_af_xdp0,ip=10.0.0.1/24,mtu=1500',
    ],
    [
      'af_packet:eth3,address=10.0.0.1/24,mtu=9000',
      ['--vdev=net_af_packet0,iface=eth3,blocksz=16384,framesz=16384,framecnt=512'],
      'net_af_packet0,ip=10.0.0.1/24,mtu=9000',
    ],
    [
      'af_xdp:eth0,queue=1,address=192.0.2.9/24',
      ['--vdev=net_af_xdp0,iface=eth0,start_queue=1'],
      'net_af_xdp0,ip=192.0.2.9/24',
    ],
    [
      'af_xdp:eth0,queues=2,address=192.0.2.9/24',
      ['--vdev=net_af_xdp0,iface=eth0,start_queue=0,queue_count=2'],
      'net_af_xdp0,ip=192.0.2.9/24',
    ],
    ['pci:03:00.0,address=10.0.0.1/24', ['-a', '0000:03:00.0'], '0000:03:00.0,ip=10.0.0.1/24'],
    [
      'memif:/run/a.sock,address=10.0.0.1/24',
      ['--vdev=net_memif0,role=server,id=0,socket=/run/a.sock,socket-abstract=no'],
      'net_memif0,ip=10.0.0.1/24,bell=/run/a.sock.bell',
    ],
    [
      'memif:/run/a.sock,role=client,id=3,address=10.0.0.2/24',
      ['--vdev=net_memif0,role=client,id=3,socket=/run/a.sock,socket-abstract=no'],
      'net_memif0,ip=10.0.0.2/24,bell=/run/a.sock.bell',
    ],
  ])('%s', (text, eal, engine) => {
    const ports = planned([text]);
    expect(ealDevices(ports)).toEqual(eal);
    expect(enginePorts(ports)).toEqual(['--port', engine]);
  });

  test('a queue for each worker over af_packet', () => {
    const devices = (...texts: string[]) => ealDevices(planned(texts), 3);
    expect(devices('af_packet:eth3,address=10.0.0.1/24')).toEqual(['--vdev=net_af_packet0,iface=eth3,qpairs=3']);
    expect(devices('af_packet:eth3,address=10.0.0.1/24,mtu=9000')[0]).toMatch(/framecnt=512,qpairs=3$/);
    expect(devices('tap:a,address=10.0.0.1/24')).toEqual(['--vdev=net_tap0,iface=a']);
    expect(devices('af_xdp:eth3,address=10.0.0.1/24')).toEqual(['--vdev=net_af_xdp0,iface=eth3,start_queue=0']);
  });

  test('more memory; PCI only for a PCI device, and then that one; nothing without ports', async () => {
    const { options } = await resolveOptions({}, { XDG_CONFIG_HOME: '/nonexistent' }, '/');
    const args = (texts: string[]) => ealArguments(options, planned(texts), 0, [0]).join(' ');
    expect(args(['tap:a,address=10.0.0.1/24'])).toMatch(/ -m 128 .* --no-pci .* --vdev=net_tap0,iface=a$/);
    expect(args(['pci:03:00.0,address=10.0.0.1/24'])).not.toContain('--no-pci');
    expect(args(['pci:03:00.0,address=10.0.0.1/24'])).toMatch(/ -a 0000:03:00\.0$/);
    expect(engineArguments(options, 3, { dpdk: true, ports: [] })).not.toContain('--port');
    const all = engineArguments(options, 3, { dpdk: true, ports: planned(['tap:a,address=10.0.0.1/24']) });
    expect(all.indexOf('--port')).toBeLessThan(all.indexOf('--'));
  });

  test('what the kernel`s end is told', () => {
    const [port] = planned(['tap:a,address=10.0.0.1/24,address6=fd01::1/64,mtu=1400']);
    expect(port && kernelEndCommands(port)).toEqual([
      'link set dev a mtu 1400',
      'address add 10.0.0.2/24 dev a',
      'address add fd01::2/64 dev a nodad',
      'link set dev a up',
    ]);
  });
});

describe('reading', () => {
  test('addresses of both families', () => {
    for (const text of ['0.0.0.0', '198.18.0.2', '255.255.255.255', '::', '::1', 'fd00::1:0:0:2', '1:2:3:4:5:6:7:8'])
      expect(formatAddress(parseAddress(text) ?? { family: 4, value: -1n })).toBe(text);
    expect(parseAddress('::ffff:1.2.3.4')?.value).toBe(0xffff01020304n);
    for (const text of ['', '1.2.3', '01.2.3.4', '1.2.3.4.5', 'fe80::1%eth0', ':::', 'x'])
      expect(parseAddress(text)).toBeUndefined();
    for (const text of ['1.2.3.4', '1.2.3.4/', '1.2.3.4/33', '1.2.3.4/1/2', '::/129', '1.2.3.4/-1'])
      expect(parsePrefix(text)).toBeUndefined();
    const [full] = prefixes('10.0.0.1/30');
    expect(full && nextHost(full, prefixes('10.0.0.2/30'))).toBeUndefined();
  });

  test('what ip prints', () => {
    const [first, second] = parseInterfaces(
      JSON.stringify([
        {},
        {
          ...{ ifname: 'v1', flags: ['BROADCAST', 'UP'], mtu: 1500, num_rx_queues: 4, linkinfo: { info_kind: 'veth' } },
          ...{ addr_info: [{ local: '10.9.0.1', prefixlen: 24 }, { local: 'fe80::1', prefixlen: 64 }, {}] },
        },
        { ifname: 'lo', flags: ['LOOPBACK'], mtu: 65536 },
      ]),
    );
    expect(first).toMatchObject({ name: 'v1', up: true, loopback: false, queues: 4, kind: 'veth' });
    expect(first?.addresses.map(formatPrefix)).toEqual(['10.9.0.1/24', 'fe80::1/64']);
    expect(second).toMatchObject({ name: 'lo', up: false, loopback: true, queues: 1, addresses: [] });
    const routes = [
      { dst: 'default' },
      { dst: '10.0.0.0/8' },
      { dst: '10.0.0.1', type: 'local' },
      { dst: 'fd00::/64' },
    ];
    expect(parseRoutes(JSON.stringify([...routes, { dst: 'ff00::/8', type: 'multicast' }])).map(formatPrefix)).toEqual([
      ...['10.0.0.0/8', '10.0.0.1/32', 'fd00::/64'],
    ]);
    expect([parseInterfaces(''), parseRoutes('')]).toEqual([[], []]);
  });

  test('ports of a running engine by their names', () => {
    const args = [
      '-m',
      '128',
      '--vdev=net_tap0,iface=zs-1',
      '--vdev=net_memif0,role=server,socket=/a,socket-abstract=no',
    ];
    expect(portNameOf('net_tap0', 'tap', args)).toBe('tap zs-1');
    expect(portNameOf('net_memif0', 'memif', args)).toBe('memif /a');
    expect(portNameOf('0000:03:00.0', 'pci', args)).toBe('pci 0000:03:00.0');
    const status = { ports: [{ device: 'net_tap0', kind: 'tap', ip: ['198.18.0.2/30'] }], dpdk: { args } };
    expect(portWith(status, '198.18.0.2')).toBe('tap zs-1');
    for (const odd of [undefined, {}, { ports: 1 }, { ports: [{}] }, status])
      expect(portWith(odd, '198.18.0.20')).toBeUndefined();
  });
});
