# SPDX-License-Identifier: BSD-3-Clause
"""Sends malformed frames: inject.py INTERFACE FROM TO PORT. For each name on standard input sends its frames and says so.
PORT: one at which somebody listens."""
import random
import socket
import struct
import sys
import time

interface, source, target, port = sys.argv[1:4] + [int(sys.argv[4])]
SRC, DST = socket.inet_aton(source), socket.inet_aton(target)
TCP, UDP, ICMP = 6, 17, 1

# The neighbour's address: the kernel asks for it.
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((target, 9))
    s.send(b"")
    while True:
        found = [line.split()[3] for line in open("/proc/net/arp") if line.startswith(f"{target} ")]
        if found and found[0] != "00:00:00:00:00:00":
            break
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((interface, 0))
MINE = raw.getsockname()[4]
THEIRS = bytes.fromhex(found[0].replace(":", ""))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def eth(payload, kind=0x0800):
    return THEIRS + MINE + struct.pack("!H", kind) + payload


def ip(payload, proto=TCP, options=b"", src=SRC, dst=DST, version=4, ihl=None, length=None, flags=0, wrong=0, ident=1):
    ihl = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(payload) if length is None else length
    def header(csum):
        return struct.pack("!BBHHHBBH", version << 4 | ihl, 0, length, ident, flags, 64, proto, csum) + src + dst + options
    return eth(header(checksum(header(0)) ^ wrong) + payload)


def transport(proto, payload, field, wrong=0, src=SRC):
    """With its checksum, at offset `field`."""
    pseudo = src + DST + struct.pack("!BBH", 0, proto, len(payload))
    value = checksum(pseudo + payload) ^ wrong
    return payload[:field] + struct.pack("!H", value) + payload[field + 2 :]


def tcp(flags=0x02, options=b"", offset=None, wrong=0, data=b"", sport=40_000, src=SRC):
    offset = 5 + len(options) // 4 if offset is None else offset
    header = struct.pack("!HHIIBBHHH", sport, port, 1000, 0, offset << 4, flags, 65535, 0, 0)
    return transport(TCP, header + options + data, 16, wrong, src)


def udp(data=b"data", length=None, wrong=0):
    length = 8 + len(data) if length is None else length
    return transport(UDP, struct.pack("!HHHH", 40_000, port, length, 0) + data, 6, wrong)


def icmp(data, wrong=0):
    return data[:2] + struct.pack("!H", checksum(data[:2] + b"\0\0" + data[4:]) ^ wrong) + data[4:]


ECHO = struct.pack("!BBHHH", 8, 0, 0, 7, 7) + b"x" * 56


def fragment(start, size, more, ident):
    return ip(b"f" * size, ICMP, flags=(0x2000 if more else 0) | start // 8, ident=ident)


def fuzz():
    chance = random.Random(1)
    whole = [ip(tcp()), ip(tcp(0x10, data=b"d" * 100)), ip(udp(), UDP), ip(icmp(ECHO), ICMP), fragment(8, 64, True, 99)]
    for _ in range(3000):
        frame = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 6)):
            frame[chance.randrange(12, len(frame))] = chance.randrange(256)
        yield bytes(frame[: chance.randint(14, len(frame))])


def flood():
    """6,000 SYNs of 50 strangers, none of which will answer. First they make themselves known, so that they are answered."""
    strangers = [SRC[:3] + bytes([number]) for number in range(100, 150)]
    for src in strangers:
        yield eth(struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + MINE + src + bytes(6) + DST, 0x0806)
    for sport in range(20_000, 20_120):
        for src in strangers:
            yield ip(tcp(sport=sport, src=src), src=src)


CASES = {
    "ip header cut": lambda: [eth(ip(tcp())[14:24])],
    "ip version 6": lambda: [ip(tcp(), version=6)],
    "ip header length 4": lambda: [ip(tcp(), ihl=4)],
    "ip header longer than the packet": lambda: [ip(b"", ihl=15)],
    "ip length beyond the frame": lambda: [ip(tcp(), length=1400)],
    "ip length below the header": lambda: [ip(tcp(), length=10)],
    "ip checksum": lambda: [ip(tcp(), wrong=0x55)],
    "ip from everybody": lambda: [ip(tcp(), src=b"\xff" * 4)],
    "ip from 127.0.0.1": lambda: [ip(tcp(), src=b"\x7f\0\0\1")],
    "ip source route": lambda: [ip(tcp(), options=b"\x83\x07\x04" + SRC + b"\0")],
    "ip option without end": lambda: [ip(tcp(), options=b"\x44\xff\x05\0")],
    "ip option of length 0": lambda: [ip(tcp(), options=b"\x83\x00\x00\x00")],
    "ip to somebody else": lambda: [ip(tcp(), dst=b"\xc0\0\2\x63")],
    "ip protocol 200": lambda: [ip(b"?" * 40, 200)],
    "tcp header cut": lambda: [ip(tcp()[:10])],
    "tcp offset 3": lambda: [ip(tcp(offset=3))],
    "tcp offset beyond the packet": lambda: [ip(tcp(offset=15))],
    "tcp checksum": lambda: [ip(tcp(wrong=0x1))],
    "tcp SYN and FIN": lambda: [ip(tcp(0x03))],
    "tcp SYN and RST": lambda: [ip(tcp(0x06))],
    "tcp option of length 0": lambda: [ip(tcp(options=b"\x02\x00\x00\x00"))],
    "tcp option beyond the header": lambda: [ip(tcp(options=b"\x08\xff\x00\x00"))],
    "udp header cut": lambda: [ip(udp()[:6], UDP)],
    "udp length beyond the packet": lambda: [ip(udp(length=2000), UDP)],
    "udp length below the header": lambda: [ip(udp(length=4), UDP)],
    "udp checksum": lambda: [ip(udp(wrong=0x100), UDP)],
    "icmp cut": lambda: [ip(b"\x08\0", ICMP)],
    "icmp checksum": lambda: [ip(icmp(ECHO, 0x1), ICMP)],
    "arp cut": lambda: [eth(b"\0\1\x08\0\6\4\0\1", 0x0806)],
    "fragments that overlap": lambda: [fragment(0, 64, True, 11), fragment(32, 64, True, 11)],
    "fragment beyond 65,535": lambda: [fragment(65_528, 64, False, 12)],
    "fragment of no multiple of 8": lambda: [fragment(0, 61, True, 13)],
    "random": fuzz,
    "syn flood": flood,
}
print("ready", flush=True)
for line in sys.stdin:
    frames = list(CASES[line.strip()]())
    for number, frame in enumerate(frames):
        raw.send(frame)
        # No flood: what a port loses is not what is tested.
        if number % 50 == 49:
            time.sleep(0.005)
    print("sent", len(frames), flush=True)
