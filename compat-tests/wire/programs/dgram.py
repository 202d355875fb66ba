# SPDX-License-Identifier: BSD-3-Clause
"""Datagram sockets by command: a JSON list per line, [call, socket, arguments...]; the answer is JSON, {"error": name} for an OSError."""
import errno
import json
import select
import socket
import struct
import sys
import time

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
NAMES = {name: getattr(socket, name) for name in dir(socket) if name.startswith(('SO_', 'IP_', 'IPV6_', 'SOL_', 'IPPROTO_'))}
NAMES.update(IP_RECVERR=11, IP_MTU_DISCOVER=10, IP_PKTINFO=8, IP_RECVTTL=12, IP_RECVTOS=13, IP_MULTICAST_ALL=49, IPV6_RECVERR=25,
             IP_ADD_SOURCE_MEMBERSHIP=39, IP_DROP_SOURCE_MEMBERSHIP=40, IP_BLOCK_SOURCE=38, IP_UNBLOCK_SOURCE=37, IP_MTU=14,
             IP_RECVORIGDSTADDR=20, MCAST_JOIN_SOURCE_GROUP=46)
ERRQUEUE = 0x2000
sockets = {}


def value_of(value):
    """An int, "hex:..." or ["4s4s", "192.0.2.1", ...] as socket options have them."""
    if isinstance(value, str):
        return bytes.fromhex(value[4:]) if value.startswith('hex:') else value.encode() + b'\0'
    if isinstance(value, list):
        packed = b''
        for part in value:
            if isinstance(part, int):
                packed += struct.pack('i', part)
            else:
                packed += socket.inet_pton(socket.AF_INET6 if ':' in part else socket.AF_INET, part)
        return packed
    return value


def address(data):
    family = struct.unpack_from('H', data)[0]
    if family == socket.AF_INET:
        return [socket.inet_ntoa(data[4:8]), struct.unpack_from('!H', data, 2)[0]]
    if family == socket.AF_INET6:
        return [socket.inet_ntop(socket.AF_INET6, data[8:24]), struct.unpack_from('!H', data, 2)[0]]
    return None


def describe(level, kind, data):
    if (level, kind) in ((0, NAMES['IP_RECVERR']), (socket.IPPROTO_IPV6, NAMES['IPV6_RECVERR'])):
        err, origin, what, code, _, info, _ = struct.unpack_from('IBBBBII', data)
        offender = address(data[16:])
        return 'RECVERR', {'error': errno.errorcode[err], 'origin': origin, 'type': what, 'code': code, 'info': info,
                           'offender': offender[0] if offender else None}
    if level == 0 and kind == NAMES['IP_PKTINFO']:
        index, spec, dst = struct.unpack('i4s4s', data)
        return 'PKTINFO', {'index': index, 'spec': socket.inet_ntoa(spec), 'dst': socket.inet_ntoa(dst)}
    if level == 0 and kind == socket.IP_TTL:
        return 'TTL', struct.unpack('i', data)[0]
    if level == 0 and kind == socket.IP_TOS:
        return 'TOS', data[0]
    if level == 0 and kind == NAMES['IP_RECVORIGDSTADDR']:
        return 'ORIGDST', address(data)
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
        dst, index = struct.unpack('16sI', data)
        return 'PKTINFO6', {'index': index, 'dst': socket.inet_ntop(socket.AF_INET6, dst)}
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
        return 'HOPLIMIT', struct.unpack('i', data)[0]
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_TCLASS:
        return 'TCLASS', struct.unpack('i', data)[0]
    return f'{level}/{kind}', data.hex()


def name_of(a):
    return list(a[:2]) if isinstance(a, tuple) and a else None


def receive(s, flags, timeout):
    s.settimeout(timeout)
    data, control, got, peer = s.recvmsg(2048, 512, flags)
    answer = {'data': data.decode(errors='replace'), 'from': name_of(peer)}
    answer.update(describe(*c) for c in control)
    if got & socket.MSG_TRUNC:
        answer['truncated'] = True
    return answer


def poll(s, timeout):
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLOUT)
    until = time.monotonic() + timeout
    while True: # until there is more than that it can be written
        events = p.poll(10)
        found = events[0][1] if events else 0
        if found & ~select.POLLOUT or time.monotonic() > until:
            return sorted(n[4:] for n in ('POLLIN', 'POLLOUT', 'POLLERR', 'POLLHUP') if found & getattr(select, n))


def run(call, name, *args):
    if call == 'open':
        sockets[name] = socket.socket(FAMILY[args[0]], socket.SOCK_DGRAM)
        return 'ok'
    if call == 'index': # of an interface by name, and back
        index = socket.if_nametoindex(name)
        return [index, socket.if_indextoname(index)]
    s = sockets[name]
    if call == 'close':
        sockets.pop(name).close()
        return 'ok'
    if call == 'bind':
        s.bind(tuple(args))
        return s.getsockname()[1]
    if call == 'connect':
        return s.connect(tuple(args)) or 'ok'
    if call == 'name':
        return name_of(s.getsockname())
    if call == 'set':
        level, option, value = args
        return s.setsockopt(NAMES[level], NAMES[option], value_of(value)) or 'ok'
    if call == 'get':
        level, option = args[:2]
        got = s.getsockopt(NAMES[level], NAMES[option], *args[2:])
        return got.decode().rstrip('\0') if isinstance(got, bytes) else got
    if call == 'send':
        return s.send(b'x' * args[0] if isinstance(args[0], int) else args[0].encode())
    if call == 'sendto':
        return s.sendto(b'x' * args[0] if isinstance(args[0], int) else args[0].encode(), tuple(args[1:]))
    if call == 'sendmsg':
        data, to, control = args
        return s.sendmsg([data.encode()], [(NAMES[l], NAMES[o], struct.pack('i', v) if isinstance(v, int) else value_of(v)) for l, o, v in control], 0, tuple(to))
    if call == 'recv':
        return receive(s, 0, args[0] if args else 10)
    if call == 'nothing': # comes, for a while
        try:
            return receive(s, 0, args[0])
        except TimeoutError:
            return 'ok'
    if call == 'errors':
        return receive(s, ERRQUEUE, None)
    if call == 'poll':
        return poll(s, args[0] if args else 10)
    raise ValueError(call)


print(json.dumps('ready'), flush=True)
for line in sys.stdin:
    try:
        answer = run(*json.loads(line))
    except TimeoutError:
        answer = {'error': 'timeout'}
    except OSError as e:
        answer = {'error': errno.errorcode.get(e.errno, str(e))}
    print(json.dumps(answer), flush=True)
