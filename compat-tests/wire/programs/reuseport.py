# SPDX-License-Identifier: BSD-3-Clause
"""Connections to one port that two processes listen at with SO_REUSEPORT. `reuseport.py serve HOST PORT NAME` answers each with its
name until it is killed; `reuseport.py connect HOST PORT COUNT` prints how many each name answered, as JSON."""
import collections
import json
import socket
import sys

role, host, port, what = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if role == "serve":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(128)
    print("ready", flush=True)
    while True:
        with listener.accept()[0] as s:
            s.sendall(what.encode())
counts = collections.Counter()
for _ in range(int(what)):
    with socket.create_connection((host, port), 20) as s:
        counts[s.recv(10).decode()] += 1
print(json.dumps(counts))
