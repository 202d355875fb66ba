# SPDX-License-Identifier: BSD-3-Clause
"""A server by the name of what it does with each connection. answer.py WHAT HOST PORT
names: says its names of both ends as JSON | late: reads to the end, then answers | reset: reads, closes with SO_LINGER 0
starved: a forked child without room for a descriptor reads, and says how that ended; the parent keeps the connection
echo: echoes, and says how each connection ended | hold: accepts nothing (backlog 4) until a line comes on standard input, then echoes"""
import errno
import json
import os
import select
import socket
import struct
import sys
import threading

what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def echo(connection):
    end = "eof"
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError as error:
            end = errno.errorcode.get(error.errno)
    print("ended", end, flush=True)


def starve(connection):
    if os.fork() == 0:
        try:
            while True:
                os.dup(0)
        except OSError:
            pass
        try:
            end = repr(connection.recv(10))
        except OSError as error:
            end = errno.errorcode.get(error.errno)
        os.write(1, f"ended {end}\n".encode())
        os._exit(0)
    os.wait()
    kept.append(connection)


def serve(connection, peer):
    if what == "names":
        with connection:
            names = {"accepted": peer, "local": connection.getsockname(), "peer": connection.getpeername()}
            connection.sendall(json.dumps(names).encode() + b"\n")
    elif what == "late":
        with connection:
            got = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(b"after " + got)
    elif what == "starved":
        starve(connection)
    elif what == "reset":
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


kept = []
listener = socket.create_server((host, port), backlog=4 if what == "hold" else 64)
print("ready", json.dumps(listener.getsockname()), flush=True)
if what == "hold":
    sys.stdin.readline()
poll = select.poll()
poll.register(listener, select.POLLIN)
while True:
    poll.poll()
    serve(*listener.accept())
