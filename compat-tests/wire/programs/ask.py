# SPDX-License-Identifier: BSD-3-Clause
"""One conversation by the name of what is asked; prints JSON. ask.py WHAT HOST PORT. Over the wire or not, as it comes."""
import errno
import json
import os
import select
import socket
import sys
import threading

what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
limit = int(os.environ.get("TEST_LARGEST", "65507"))
SIZES = [size for size in (0, 1, 100, 1471, 1472, 1473, 4096, 9000, 30_000, 60_000) if size <= limit]


def name(error):
    return errno.errorcode.get(error.errno, str(error))


def udp(connected):
    """Every size to an echo server and back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        if connected:
            s.connect((host, port))
        wrong = []
        for size in SIZES:
            data = os.urandom(size)
            if connected:
                s.send(data)
                got, source = s.recv(65536), s.getpeername()
            else:
                s.sendto(data, (host, port))
                got, source = s.recvfrom(65536)
            if got != data or source != (host, port):
                wrong.append([size, len(got), source])
        return {"wrong": wrong, "local": s.getsockname() if connected else s.getsockname()[1] > 0}


def udp_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((host, port))
        s.send(b"anybody?")
        try:
            s.recv(10)
        except OSError as error:
            return name(error)
    return "answered"


def connect():
    try:
        with socket.create_connection((host, port), timeout=5) as s:
            return {"local": s.getsockname(), "peer": s.getpeername(), "said": s.makefile().readline()}
    except OSError as error:
        return name(error)


def half_close():
    """Says all, ends its half, and reads what comes until the end."""
    data = os.urandom(3_000_000)
    with socket.create_connection((host, port), timeout=10) as s:
        def send():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = b"".join(iter(lambda: s.recv(65536), b""))
        sender.join()
        return got == data


def late_answer():
    """The server answers only after it saw the end."""
    with socket.create_connection((host, port), timeout=10) as s:
        s.sendall(b"question")
        s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def reset():
    """What the server's SO_LINGER 0 gives."""
    with socket.create_connection((host, port), timeout=5) as s:
        s.sendall(b"x")
        try:
            return "eof" if s.recv(10) == b"" else "data"
        except OSError as error:
            return name(error)


def many():
    """More connections at once than the server's queue holds; each is echoed sooner or later."""
    ways = []

    def one(number):
        try:
            with socket.create_connection((host, port), timeout=25) as s:
                data = f"{number}".encode() * 100
                s.sendall(data)
                got = b""
                while len(got) < len(data) and (part := s.recv(65536)):
                    got += part
                ways.append("ok" if got == data else "differs")
        except OSError as error:
            ways.append(name(error))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {way: ways.count(way) for way in set(ways)}


def blocked(how, late=False):
    """Waits for a server that says nothing more; what ends the wait. late: begins to wait only when told."""
    with socket.create_connection((host, port), timeout=5) as s:
        s.settimeout(None)
        s.sendall(b"hello")
        got = s.recv(5)
        print("blocked", got.decode(), flush=True)
        if late:
            sys.stdin.readline()
        if how == "poll":
            poll = select.poll()
            poll.register(s, select.POLLIN)
            poll.poll(20_000)
        elif how == "epoll":
            epoll = select.epoll()
            epoll.register(s, select.EPOLLIN)
            epoll.poll(20)
        try:
            return "eof" if s.recv(10) == b"" else "data"
        except OSError as error:
            return name(error)


answers = {
    "many": many,
    "recv": lambda: blocked("recv"),
    "poll": lambda: blocked("poll"),
    "epoll": lambda: blocked("epoll"),
    "late-recv": lambda: blocked("recv", True),
    "late-poll": lambda: blocked("poll", True),
    "late-epoll": lambda: blocked("epoll", True),
    "udp": lambda: udp(False),
    "udp-connected": lambda: udp(True),
    "udp-refused": udp_refused,
    "connect": connect,
    "half-close": half_close,
    "late-answer": late_answer,
    "reset": reset,
}
print(json.dumps(answers[what]()))
