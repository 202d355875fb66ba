# SPDX-License-Identifier: BSD-3-Clause
"""TLS echo of Python's ssl. tls.py serve-asyncio|ask-asyncio|serve-threads|ask-threads HOST PORT KEY CERT."""
import asyncio
import os
import signal
import socket
import ssl
import sys
import threading

mode, host, port, key, cert = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
COUNT = 12
SIZES = (1, 1000, 60_000, 300_000)


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def client_context():
    return ssl.create_default_context(cafile=cert)


async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        pass


async def serve_asyncio():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, host, port, ssl=server_context())
    print("ready", flush=True)
    await stop.wait()
    server.close()


async def ask():
    reader, writer = await asyncio.open_connection(host, port, ssl=client_context())
    for size in SIZES:
        data = os.urandom(size)
        writer.write(data)
        assert await reader.readexactly(size) == data
    writer.close()
    await writer.wait_closed()


async def ask_asyncio():
    await asyncio.gather(*(ask() for _ in range(COUNT)))


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def serve_threads():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with socket.create_server((host, port)) as listener:
        wrapped = server_context().wrap_socket(listener, server_side=True)
        print("ready", flush=True)
        while True:
            threading.Thread(target=echo, args=(wrapped.accept()[0],), daemon=True).start()


def converse(failures):
    try:
        with socket.create_connection((host, port), timeout=20) as plain:
            with client_context().wrap_socket(plain, server_hostname=host) as connection:
                for size in SIZES:
                    data, got = os.urandom(size), b""
                    for start in range(0, size, 16_000):
                        part = data[start:start + 16_000]
                        connection.sendall(part)
                        while len(got) < start + len(part):
                            got += connection.recv(65536)
                    assert got == data
    except Exception as error:
        failures.append(repr(error))


def ask_threads():
    failures = []
    threads = [threading.Thread(target=converse, args=(failures,)) for _ in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit("\n".join(failures))


if mode == "serve-asyncio":
    asyncio.run(serve_asyncio())
elif mode == "serve-threads":
    serve_threads()
else:
    asyncio.run(ask_asyncio()) if mode == "ask-asyncio" else ask_threads()
    print("done")
