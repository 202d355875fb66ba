# SPDX-License-Identifier: BSD-3-Clause
"""How connections begin. `opening.py connect HOST PORT [reset]`: opens one, prints the error's name or `open`; `reset`: and resets it; else
writes what its input says and keeps it until that ends. `opening.py defer HOST PORT SECONDS N`: a listener with TCP_DEFER_ACCEPT accepts N
connections and prints a line for each: what it has to read, at once and without waiting, or `nothing`. `opening.py silent HOST PORT N`: opens N, one
after another, and says nothing; when one of them was reset for each beyond ROOM, it prints as JSON the numbers of all that were, and says something on the last."""
import errno
import json
import select
import socket
import struct
import sys

ROOM = 128  # as many libfstack has whatever backlog is asked for

role, host, port, rest = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.socket(family)
if role == "connect":
    try:
        s.connect((host, port))
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
        sys.exit()
    print("open", flush=True)
    if rest == ["reset"]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
        sys.exit()
    for line in sys.stdin:
        s.sendall(line.strip().encode())
elif role == "silent":
    opened = [socket.create_connection((host, port)) for _ in range(int(rest[0]))]
    poll, reset = select.poll(), set()
    for s in opened:
        poll.register(s, select.POLLIN)
    while len(reset) < len(opened) - ROOM:
        reset.update(fd for fd, _ in poll.poll())
    print(json.dumps([i for i, s in enumerate(opened) if s.fileno() in reset]), flush=True)
    opened[-1].sendall(b"hello")
    assert opened[-1].recv(1) == b"", "the server has read it, and ended"
else:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(rest[0]))
    s.bind((host, port))
    s.listen()
    print("ready", flush=True)
    kept = []
    for _ in range(int(rest[1])):
        kept.append(s.accept()[0])
        try:
            print(kept[-1].recv(16, socket.MSG_DONTWAIT).decode() or "end", flush=True)
        except BlockingIOError:
            print("nothing", flush=True)
