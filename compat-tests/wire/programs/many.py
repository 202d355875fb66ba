# SPDX-License-Identifier: BSD-3-Clause
"""Many connections at once. `many.py serve PORT` echoes on both protocols; `many.py connect PORT COUNT BYTES HOST...` opens COUNT
connections to each HOST, all at once, sends BYTES over each, compares what comes back and prints `exact N`; then it waits for a line
and closes; with `hold` for BYTES it waits before it sends anything, and prints `closed N` when the other end has closed all.
`many.py flicker PORT ROUNDS` opens and closes a listener so often; `many.py storm PORT HOST` connects until a line is read."""
import asyncio
import socket
import sys

role, port, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def v6_listener():
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    s.listen(1024)
    return s


async def serve():
    server = await asyncio.start_server(echo, sock=v6_listener())
    print("ready", flush=True)
    await server.serve_forever()


async def line():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def exact(reader, writer, seed, n):
    data = bytes((seed * 31 + i * 7) % 251 for i in range(n))
    writer.write(data)
    assert await reader.readexactly(n) == data, seed


async def connect():
    count, how, hosts = int(rest[0]), rest[1], rest[2:]
    ends = await asyncio.gather(*(asyncio.open_connection(h, port) for h in hosts for _ in range(count)))
    if how == "hold":
        print("open", flush=True)
        await asyncio.gather(*(gone(r) for r, _ in ends))
        print(f"closed {len(ends)}", flush=True)
        return
    await asyncio.gather(*(exact(r, w, i, int(how)) for i, (r, w) in enumerate(ends)))
    print(f"exact {len(ends)}", flush=True)
    await line()
    for _, writer in ends:
        writer.close()


async def gone(reader):
    try:
        assert await reader.read(1) == b""
    except ConnectionError:
        pass


def flicker():
    for _ in range(int(rest[0])):
        s = v6_listener()
        s.setblocking(False)
        for _ in range(20):
            try:
                s.accept()[0].close()
            except BlockingIOError:
                pass
        s.close()
    print("done", flush=True)


async def one(host):
    try:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except OSError:
        pass


async def storm():
    end = asyncio.ensure_future(line())
    print("ready", flush=True)
    while not end.done():
        await asyncio.gather(*(one(rest[0]) for _ in range(16)))


if role == "flicker":
    flicker()
else:
    asyncio.run({"serve": serve, "connect": connect, "storm": storm}[role]())
