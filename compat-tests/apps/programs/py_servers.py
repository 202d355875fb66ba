# SPDX-License-Identifier: BSD-3-Clause
"""Echo servers of Python's library. py_servers.py asyncio|threading|forking|udp PORT; TEST_HOST in the environment
(127.0.0.1). Ends on SIGTERM."""
import asyncio
import os
import signal
import socketserver
import sys
import threading

mode, port = sys.argv[1], int(sys.argv[2])
host = os.environ.get("TEST_HOST", "127.0.0.1")


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class EchoDatagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        pass


async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, host, port)
    print("ready", flush=True)
    await stop.wait()
    server.close()


if mode == "asyncio":
    asyncio.run(main())
else:
    kind = {
        "threading": socketserver.ThreadingTCPServer,
        "forking": socketserver.ForkingTCPServer,
        "udp": socketserver.ThreadingUDPServer,
    }[mode]
    kind.allow_reuse_address = True
    kind.request_queue_size = 64
    kind.max_packet_size = 65536
    kind.daemon_threads = True
    with kind((host, port), EchoDatagram if mode == "udp" else Echo) as server:
        # shutdown() must not run in the thread that serves.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print("ready", flush=True)
        server.serve_forever(poll_interval=0.1)
