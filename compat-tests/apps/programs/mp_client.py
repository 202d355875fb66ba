# SPDX-License-Identifier: BSD-3-Clause
"""multiprocessing over TCP, the asking side. mp_client.py connection|manager PORT"""
import os
import sys
from multiprocessing import Process
from multiprocessing.connection import Client
from multiprocessing.managers import BaseManager

mode, port = sys.argv[1], int(sys.argv[2])
KEY = b"not a secret"
ADDRESS = ("127.0.0.1", port)


class Manager(BaseManager):
    pass


Manager.register("counter")


def add(times):
    manager = Manager(address=ADDRESS, authkey=KEY)
    manager.connect()
    counter = manager.counter()
    for _ in range(times):
        counter.add(1)


if __name__ == "__main__":
    if mode == "connection":
        for size in (0, 1, 1000, 100_000, 3_000_000):
            with Client(ADDRESS, authkey=KEY) as connection:
                message = {"size": size, "data": os.urandom(size)}
                connection.send(message)
                assert connection.recv() == message, size
    else:
        workers = [Process(target=add, args=(50,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0, worker.exitcode
        manager = Manager(address=ADDRESS, authkey=KEY)
        manager.connect()
        counter = manager.counter()
        total = counter.add(0)
        assert total == 200, total
        assert counter.blob(500_000) == bytes(i % 251 for i in range(500_000))
    print("done")
