# SPDX-License-Identifier: BSD-3-Clause
"""An echo server that is to run with few descriptors. full-table.py PORT: counts accepts that fail with EMFILE, goes on
when connections were closed. Ends on SIGTERM with its counts."""
import errno
import selectors
import signal
import socket
import sys

selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
listener.setblocking(False)
counts = {"accepted": 0, "refused": 0, "most": 0}
live = 0
ending = False


def end(*_):
    global ending
    ending = True


def listen(on):
    if on and listener not in selector.get_map():
        selector.register(listener, selectors.EVENT_READ)
    elif not on and listener in selector.get_map():
        selector.unregister(listener)


def accept():
    global live
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        counts["refused"] += 1
        listen(False)
        print("full", flush=True)
        return
    counts["accepted"] += 1
    live += 1
    counts["most"] = max(counts["most"], live)
    selector.register(connection, selectors.EVENT_READ)


def serve(connection):
    global live
    try:
        data = connection.recv(65536)
    except ConnectionError:
        data = b""
    if data:
        connection.sendall(data)
        return
    selector.unregister(connection)
    connection.close()
    live -= 1
    listen(True)


signal.signal(signal.SIGTERM, end)
listen(True)
print("ready", flush=True)
while not ending:
    for key, _ in selector.select(0.2):
        if key.fileobj is listener:
            accept()
        else:
            serve(key.fileobj)
print(counts["accepted"], counts["refused"], counts["most"], flush=True)
