# SPDX-License-Identifier: BSD-3-Clause
"""ICMP echo: ping.py HOST SIZE... Says for each size whether the same bytes came back. Needs a raw socket."""
import os
import select
import socket
import struct
import sys
import time

host = sys.argv[1]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(sock, size, sequence):
    data = os.urandom(size)
    ident = os.getpid() & 0xFFFF
    rest = struct.pack("!HH", ident, sequence) + data
    sock.sendto(struct.pack("!BBH", 8, 0, checksum(b"\x08\0\0\0" + rest)) + rest, (host, 0))
    end = time.monotonic() + 3
    while (left := end - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
        packet, source = sock.recvfrom(65536)
        message = packet[(packet[0] & 15) * 4 :]
        if source[0] == host and message[:2] == b"\0\0" and message[4:8] == rest[:4]:
            return "ok" if checksum(message) == 0 and message[8:] == data else "differs"
    return "none"


with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
    for number, size in enumerate(sys.argv[2:]):
        print(size, echo(sock, int(size), number), flush=True)
