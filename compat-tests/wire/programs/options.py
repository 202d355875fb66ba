# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of TCP connections that use what tcp(7) offers beside read and write. Each end checks what it sees; the other
end is a kernel, so that both have to mean the same. `options.py serve|connect HOST PORT [WITHOUT...]`, where WITHOUT names what one
of the ends does not do: urgent, defer. Prints one JSON object."""
import array
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import time

from streams import exactly

TCP_NOTSENT_LOWAT, TCP_CORK, SIOCATMARK, SIOCOUTQNSD, SO_MAX_PACING_RATE = 25, 3, 0x8905, 0x894B, 47
PACED = 600_000  # bytes
LIMIT = 20
role, host, port, without = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]


def number(s, request):
    buf = array.array("i", [0])
    fcntl.ioctl(s, request, buf)
    return buf[0]


def info(s):
    raw = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    first = struct.unpack_from("=8B24I", raw)
    return {
        "state": first[0],
        "snd_mss": first[10],
        "rtt": first[23],
        "cwnd": first[26],
        "bytes_acked": struct.unpack_from("=Q", raw, 120)[0],
        "bytes_received": struct.unpack_from("=Q", raw, 128)[0],
        "segs_in": struct.unpack_from("=I", raw, 140)[0],
        "data_segs_in": struct.unpack_from("=I", raw, 152)[0],
        "data_segs_out": struct.unpack_from("=I", raw, 156)[0],
    }


def when(what, test):
    end = time.monotonic() + LIMIT
    while not test():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.005)


def acknowledged(s):
    """Until all that was written has reached the peer."""
    when("the peer acknowledges", lambda: number(s, termios.TIOCOUTQ) == 0)


def send_urgent(s):
    s.sendall(b"ab")
    s.send(b"U", socket.MSG_OOB)
    s.sendall(b"cd")


def take_urgent(s):
    poll = select.poll()
    poll.register(s, select.POLLPRI)
    assert poll.poll(LIMIT * 1000), "no POLLPRI"
    assert exactly(s, 2) == b"ab"
    assert number(s, SIOCATMARK) == 1, "not at the mark"
    assert s.recv(1, socket.MSG_OOB) == b"U"
    assert exactly(s, 2) == b"cd"
    assert number(s, SIOCATMARK) == 0


def take_urgent_in_line(s, signals):
    when("SIGURG comes", lambda: signals)
    got = s.recv(16)
    while len(got) < 2:
        got += s.recv(16)
    assert got == b"ab", got  # reading stops at the mark
    assert number(s, SIOCATMARK) == 1
    assert exactly(s, 3) == b"Ucd"


def one_segment(s):
    """Small writes that belong together leave in one segment."""
    exactly(s, 1)
    acknowledged(s)
    before = info(s)["data_segs_out"]
    s.send(b"x" * 100, socket.MSG_MORE)
    s.send(b"y" * 100)
    acknowledged(s)
    s.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
    s.send(b"x" * 100)
    s.send(b"y" * 100)
    s.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 0)
    acknowledged(s)
    return info(s)["data_segs_out"] - before


def take_segments(s):
    """How many segments brought the 400 bytes of one_segment(), as this end counts them."""
    before = info(s)["data_segs_in"]
    s.sendall(b"g")
    exactly(s, 400)
    return info(s)["data_segs_in"] - before


def fill(s):
    """With TCP_NOTSENT_LOWAT a reader that stands still stops the writer early."""
    s.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384)
    s.setblocking(False)
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    total = most = 0
    while poll.poll(300):
        try:
            total += s.send(b"z" * 4096)
        except BlockingIOError:
            pass
        most = max(most, number(s, SIOCOUTQNSD))
    s.setblocking(True)
    s.sendall(b"!")
    return total, most


def paced(s):
    """Seconds that PACED bytes take at as many for each second, which is twice as many from their middle on."""
    rate = struct.pack("=Q", PACED)
    s.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
    assert s.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8) == rate
    begin = time.monotonic()
    s.sendall(b"p" * (PACED // 2))
    acknowledged(s)
    half = time.monotonic() - begin
    s.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 2 * PACED)
    told = struct.unpack_from("=QQ", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 104)
    begin = time.monotonic()
    s.sendall(b"p" * (PACED // 2))
    acknowledged(s)
    rest = time.monotonic() - begin
    s.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("=i", -1))
    return {"half": half, "rest": rest, "pacing_rate": told[0], "max_pacing_rate": told[1]}


def stands_still(s):
    """Until the writer has stopped for a while; what probes of a closed window bring does not count."""
    seen, since = 0, time.monotonic()
    while seen == 0 or time.monotonic() - since < 1:
        if number(s, termios.FIONREAD) - seen > 8192:
            seen, since = number(s, termios.FIONREAD), time.monotonic()
        time.sleep(0.01)


def urgent(s):
    signals = []
    signal.signal(signal.SIGURG, lambda *_: signals.append(1))
    if role == "connect":
        send_urgent(s)
        fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        s.sendall(b".")
        take_urgent_in_line(s, signals)
    else:
        take_urgent(s)
        exactly(s, 1)
        send_urgent(s)


def talk(s):
    """What both ends do, each after the other."""
    told = {"congestion": s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()}
    if "urgent" not in without:
        urgent(s)
    if role == "connect":
        told["segments"] = one_segment(s)
        told["arrived"] = take_segments(s)
        told["paced"] = paced(s)
        told["filled"], told["unsent"] = fill(s)
    else:
        told["arrived"] = take_segments(s)
        told["segments"] = one_segment(s)
        exactly(s, PACED)
        stands_still(s)
        read = 0
        while True:
            data = s.recv(1 << 16)
            read += len(data)
            if data.endswith(b"!"):
                break
        told["read"] = read
    acknowledged(s)
    told["info"] = info(s)
    return told


def main():
    if role == "serve":
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        listener.bind((host, port))
        listener.listen()
        print("ready", flush=True)
        s, _ = listener.accept()
        if "defer" in without:
            exactly(s, 1)
        else:
            assert s.recv(1, socket.MSG_DONTWAIT) == b"d", "accepted before there was data"
    else:
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60000)
        s.connect((host, port))
        time.sleep(0.3)  # so that the server had time to do wrong
        s.sendall(b"d")
    s.settimeout(None)
    told = talk(s)
    if role == "serve":
        assert s.recv(1) == b""
    s.close()
    print(json.dumps(told), flush=True)


import faulthandler
faulthandler.dump_traceback_later(12, exit=True)
signal.alarm(60)
main()
