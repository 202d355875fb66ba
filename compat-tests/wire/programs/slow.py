# SPDX-License-Identifier: BSD-3-Clause
"""Readers that stand still, and one that does not. `slow.py serve|connect HOST PORT COUNT SIZE`: the client writes pieces of SIZE bytes
into COUNT connections until none takes more; then one more connection must be served; then all is read, each byte checked. Prints how
many bytes were on their way, as JSON."""
import json
import select
import socket
import struct
import sys

from streams import exactly

STILL = 0.5  # seconds without progress
role, host, port, count, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
PATTERN = bytes(i % 251 for i in range(251 * 8192))


def piece(position, length):
    at = position % 251
    return PATTERN[at : at + length]


def fill(connections):
    """Writes until nothing has moved for a while; how many bytes each took."""
    sent = dict.fromkeys(connections, 0)
    poll = select.epoll()
    by_fd = {s.fileno(): s for s in connections}
    for s in connections:
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(s, select.EPOLLOUT)
    while events := poll.poll(STILL):
        for fd, _ in events:
            try:
                sent[by_fd[fd]] += by_fd[fd].send(piece(sent[by_fd[fd]], size))
            except BlockingIOError:
                pass
    return [sent[s] for s in connections]


def connect():
    connections = []
    for _ in range(count + 1):
        s = socket.create_connection((host, port), 20)
        s.sendall(struct.pack("=I", len(connections)))
        connections.append(s)
    *still, talking = connections
    total = fill(still)
    talking.settimeout(20)
    for i in range(20):
        talking.sendall(b"?" * 1000)
        assert exactly(talking, 1000) == b"!" * 1000, i
    talking.sendall(struct.pack(f"={count}Q", *total))
    assert exactly(talking, 5) == b"right"
    return total


def serve():
    connections = {}
    listener = socket.create_server((host, port), family=family, backlog=count + 1)
    print("ready", flush=True)
    while len(connections) <= count:
        s, _ = listener.accept()
        connections[struct.unpack("=I", exactly(s, 4))[0]] = s
    talking = connections[count]
    for _ in range(20):
        assert exactly(talking, 1000) == b"?" * 1000
        talking.sendall(b"!" * 1000)
    total = struct.unpack(f"={count}Q", exactly(talking, 8 * count))
    for i, length in enumerate(total):
        s, at = connections[i], 0
        s.settimeout(20)
        while at < length:
            data = s.recv(1 << 20)
            assert data and data == piece(at, len(data)), (i, at, len(data))
            at += len(data)
    talking.sendall(b"right")
    return total


told = serve() if role == "serve" else connect()
print(json.dumps({"bytes": list(told)}))
