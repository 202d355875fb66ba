# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of connections by TCP Fast Open (tcp(7), RFC 7413), the other end a kernel. `fastopen.py serve|connect HOST PORT`;
prints one JSON object: for each connection whether data on its SYN was taken, as TCP_INFO has it."""
import json
import socket
import sys

from streams import exactly

TCP_FASTOPEN_CONNECT, TCPI_OPT_SYN_DATA = 30, 32
WAYS = ("sendto", "sendto", "connect", "nonblocking", "large", "pieces")
role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as f:  # of this end's network namespace
    f.write("3")


def with_syn(s):
    return bool(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & TCPI_OPT_SYN_DATA)


def message(i):
    return bytes((i + j) % 251 for j in range({"large": 200_000, "pieces": 4_000_000}.get(WAYS[i], 100)))


def opened(i):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(20)
    data = message(i)
    if WAYS[i] == "connect":
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect((host, port))
        s.sendall(data)
    elif WAYS[i] == "nonblocking":
        s.setblocking(False)
        assert s.sendto(data, socket.MSG_FASTOPEN, (host, port)) == len(data)
        s.settimeout(20)
    elif WAYS[i] == "pieces":
        s.settimeout(None)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # the first piece has no room at once
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect((host, port))
        assert s.sendmsg([data[:1_200_000], b"", data[1_200_000:1_800_000], data[1_800_000:]]) == len(data)
    else:
        s.settimeout(None)
        sent = s.sendto(data, socket.MSG_FASTOPEN, (host, port))
        s.sendall(data[sent:])
    return s


def connect():
    told = []
    for i in range(len(WAYS)):
        s = opened(i)
        assert exactly(s, len(message(i))) == message(i)[::-1]
        told.append(with_syn(s))
        s.close()
    return told


def serve():
    told = []
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    listener.listen(16)
    print("ready", flush=True)
    for i in range(len(WAYS)):
        s, _ = listener.accept()
        data = exactly(s, len(message(i)))
        assert data == message(i)
        told.append(with_syn(s))
        s.sendall(data[::-1])
        assert s.recv(1) == b""
        s.close()
    return told


print(json.dumps(serve() if role == "serve" else connect()))
