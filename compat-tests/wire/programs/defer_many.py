# SPDX-License-Identifier: BSD-3-Clause
"""Many connections through a listener with TCP_DEFER_ACCEPT. `defer_many.py serve HOST PORT N`: accepts N, reads from each at once and without
waiting, and prints for how many there was nothing. `defer_many.py connect HOST PORT N`: opens them, one after another, and says something."""
import json
import socket
import sys

role, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
empty = 0
if role == "serve":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
    listener.bind((host, port))
    listener.listen()
    print("ready", flush=True)
    for _ in range(count):
        s, _ = listener.accept()
        try:
            assert s.recv(16, socket.MSG_DONTWAIT) == b"hello"
        except BlockingIOError:
            empty += 1
        s.sendall(b".")
        s.close()
else:
    for _ in range(count):
        with socket.create_connection((host, port)) as s:
            s.sendall(b"hello")
            assert s.recv(1) == b"."
print(json.dumps({"empty": empty}), flush=True)
