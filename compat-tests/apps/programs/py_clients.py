# SPDX-License-Identifier: BSD-3-Clause
"""Clients of echo servers and of http.server. py_clients.py asyncio|threads|urllib|udp PORT COUNT;
TEST_HOST in the environment (127.0.0.1)."""
import asyncio
import hashlib
import os
import socket
import sys
import threading
import urllib.request

mode, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
host = os.environ.get("TEST_HOST", "127.0.0.1")
failures = []


def converse(number):
    try:
        with socket.create_connection((host, port), timeout=20) as connection:
            for size in (1, 100, 20_000, 300_000):
                data = os.urandom(size)
                sender = threading.Thread(target=connection.sendall, args=(data,))
                sender.start()
                got = b""
                while len(got) < size:
                    part = connection.recv(65536)
                    if not part:
                        raise EOFError(f"end after {len(got)} of {size} bytes")
                    got += part
                sender.join()
                if got != data:
                    raise ValueError(f"{size} bytes differ")
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1) != b"":
                raise ValueError("more than was sent")
    except Exception as error:
        failures.append(f"{number}: {error!r}")


async def converse_async(number):
    try:
        reader, writer = await asyncio.open_connection(host, port)
        for size in (1, 100, 20_000, 300_000):
            data = os.urandom(size)
            writer.write(data)
            if await reader.readexactly(size) != data:
                raise ValueError(f"{size} bytes differ")
        writer.close()
        await writer.wait_closed()
    except Exception as error:
        failures.append(f"{number}: {error!r}")


async def all_async():
    await asyncio.gather(*(converse_async(i) for i in range(count)))


if mode == "asyncio":
    asyncio.run(all_async())
elif mode == "threads":
    threads = [threading.Thread(target=converse, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
elif mode == "udp":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for i in range(count):
            data = os.urandom((0, 1, 1000, 9000, 60_000)[i % 5])
            sock.sendto(data, (host, port))
            got, source = sock.recvfrom(65536)
            if got != data or source != (host, port):
                failures.append(f"datagram {i} of {len(data)} bytes")
else:
    # NAME=SHA256 in each line of standard input, fetched COUNT times.
    for line in sys.stdin.read().split() * count:
        name, wanted = line.split("=")
        with urllib.request.urlopen(f"http://{host}:{port}/{name}", timeout=20) as response:
            if hashlib.sha256(response.read()).hexdigest() != wanted:
                failures.append(name)
print("\n".join(failures) or "done")
