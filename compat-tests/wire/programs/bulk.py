# SPDX-License-Identifier: BSD-3-Clause
"""One end of a TCP connection that carries BYTES there and BYTES back, each of them checked. `bulk.py serve|connect HOST PORT BYTES
[CONGESTION]`, the last for TCP_CONGESTION of this end. Prints `right` and the name of its congestion control, and keeps the connection
until its input ends."""
import random
import socket
import sys

from streams import exactly

role, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
there, back = (random.Random(seed).randbytes(count) for seed in (1, 2))
if role == "serve":
    listener = socket.create_server((host, port))
    print("ready", flush=True)
    s = listener.accept()[0]
else:
    s = socket.create_connection((host, port), 20)
s.settimeout(30)
if len(sys.argv) > 5:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[5].encode())
if role == "serve":
    assert exactly(s, count) == there
    s.sendall(back)
else:
    s.sendall(there)
    assert exactly(s, count) == back
print("right", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode(), flush=True)
sys.stdin.read()
