# SPDX-License-Identifier: BSD-3-Clause
"""Servers with a TCP_FASTOPEN_KEY, and their client. `fastopen_key.py serve HOST PORT KEYS [before|after|exec]`: the keys, in
hexadecimal digits, are set before listen, after it, or by the program that inherits the listener; it serves until it is ended.
`fastopen_key.py connect HOST PORT`: prints whether data on its SYN was taken, as TCP_INFO has it."""
import json
import os
import socket
import sys

from streams import exactly

TCP_FASTOPEN_KEY, TCPI_OPT_SYN_DATA, IDLE_S = 33, 32, 77
DATA = b"0123456789" * 10
role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as f:  # of this end's network namespace
    f.write("3")


def set_keys(listener):
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_KEY, bytes.fromhex(sys.argv[4]))


def bound():
    if sys.argv[5] == "inherited":
        return socket.socket(fileno=int(sys.argv[6]))
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    return listener


def serve():
    when = sys.argv[5]
    listener = bound()
    if when == "before":
        set_keys(listener)
    if when != "inherited":
        listener.listen(16)
    if when == "exec":
        listener.set_inheritable(True)
        os.execv(sys.executable, [sys.executable, *sys.argv[:5], "inherited", str(listener.fileno())])
    if when != "before":
        set_keys(listener)
    assert listener.getsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_KEY, 32) == bytes.fromhex(sys.argv[4])
    print("ready", flush=True)
    while True:
        s, _ = listener.accept()
        assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == IDLE_S  # whoever made the listener
        s.sendall(exactly(s, len(DATA)))
        s.close()


def connect():
    with socket.socket(family, socket.SOCK_STREAM) as s:
        sent = s.sendto(DATA, socket.MSG_FASTOPEN, (host, port))
        s.sendall(DATA[sent:])
        assert exactly(s, len(DATA)) == DATA
        return bool(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & TCPI_OPT_SYN_DATA)


if role == "serve":
    serve()
print(json.dumps(connect()))
