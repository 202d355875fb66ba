# SPDX-License-Identifier: BSD-3-Clause
"""A router of IPv6 for a moment: INTERFACE PREFIX ROUTER-LIFETIME PREFIX-LIFETIME; one advertisement (RFC 4861 4.2)."""
import socket
import struct
import sys

interface, prefix, lifetime, valid = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(interface))
message = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, lifetime, 0, 0)
message += struct.pack('!BBBBIII', 3, 4, 64, 0xc0, valid, valid, 0) + socket.inet_pton(socket.AF_INET6, prefix)
s.sendto(message, ('ff02::1', 0, 0, socket.if_nametoindex(interface)))
