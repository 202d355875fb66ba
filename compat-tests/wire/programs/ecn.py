# SPDX-License-Identifier: BSD-3-Clause
"""One end of a TCP connection: was ECN agreed on? `ecn.py serve|connect HOST PORT TCP_ECN`, the last for the kernel of this end's
network namespace. Prints true or false, as TCP_INFO has it."""
import json
import socket
import sys

TCPI_OPT_ECN = 8
role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open("/proc/sys/net/ipv4/tcp_ecn", "w") as f:
    f.write(sys.argv[4])
if role == "serve":
    listener = socket.create_server((host, port))
    print("ready", flush=True)
    s = listener.accept()[0]
else:
    s = socket.create_connection((host, port), 20)
s.sendall(b"x")
assert s.recv(1) == b"x"
print(json.dumps(bool(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & TCPI_OPT_ECN)))
