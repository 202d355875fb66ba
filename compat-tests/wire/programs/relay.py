# SPDX-License-Identifier: BSD-3-Clause
"""A cable between two interfaces that loses and reorders, the same each time for one seed.
relay.py INTERFACE INTERFACE LOSS REORDER SEED (shares of 1). Frames with what the kernel left to the device (checksums),
so that they go on as they came."""
import heapq
import random
import select
import socket
import sys
import time

PACKET_VNET_HDR, SOL_PACKET, ETH_P_ALL = 15, 263, 3
first, second = sys.argv[1:3]
loss, reorder = float(sys.argv[3]), float(sys.argv[4])
chance = random.Random(int(sys.argv[5]))


def tap(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind((interface, ETH_P_ALL))
    s.setblocking(False)
    return s


ends = [tap(first), tap(second)]
other = {ends[0]: ends[1], ends[1]: ends[0]}
late = []
number = 0
print("ready", flush=True)
while True:
    wait = max(0, late[0][0] - time.monotonic()) if late else None
    for end in select.select(ends, [], [], wait)[0]:
        for _ in range(64):
            try:
                frame, address = end.recvfrom(70_000)
            except BlockingIOError:
                break
            if address[2] == socket.PACKET_OUTGOING or chance.random() < loss:
                continue
            if chance.random() < reorder:
                number += 1
                heapq.heappush(late, (time.monotonic() + chance.uniform(0.001, 0.003), number, other[end], frame))
                continue
            try:
                other[end].send(frame)
            except (BlockingIOError, OSError):
                pass
    while late and late[0][0] <= time.monotonic():
        _, _, end, frame = heapq.heappop(late)
        try:
            end.send(frame)
        except OSError:
            pass
