# SPDX-License-Identifier: BSD-3-Clause
"""multiprocessing over TCP, the serving side. mp_server.py connection|manager PORT"""
import sys
from multiprocessing.connection import Listener
from multiprocessing.managers import BaseManager

mode, port = sys.argv[1], int(sys.argv[2])
KEY = b"not a secret"

if mode == "connection":
    with Listener(("127.0.0.1", port), authkey=KEY) as listener:
        print("ready", flush=True)
        while True:
            with listener.accept() as connection:
                while True:
                    try:
                        message = connection.recv()
                    except EOFError:
                        break
                    connection.send(message)
else:

    class Counter:
        def __init__(self):
            self.value = 0

        def add(self, n):
            self.value += n
            return self.value

        def blob(self, n):
            return bytes(i % 251 for i in range(n))

    counter = Counter()

    class Manager(BaseManager):
        pass

    Manager.register("counter", callable=lambda: counter)
    server = Manager(address=("127.0.0.1", port), authkey=KEY).get_server()
    print("ready", flush=True)
    server.serve_forever()
