# SPDX-License-Identifier: BSD-3-Clause
"""Connections within one process, and a thread that waits for all of them by epoll. Commands on standard input, each answered by its
name: `talk` writes and reads 1,000 bytes on each connection, `nudge` modifies one's entry in the set, which wakes the thread for nothing."""
import select
import socket
import sys
import threading

CONNECTIONS = 20
epoll = select.epoll()
listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
clients = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
served = {}
for _ in clients:
    connection, _address = listener.accept()
    served[connection.fileno()] = connection
    epoll.register(connection, select.EPOLLIN)


def serve():
    while True:
        for fd, _events in epoll.poll():
            served[fd].sendall(served[fd].recv(1000))


threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line == "talk\n":
        for client in clients:
            client.sendall(b"x" * 1000)
            client.recv(1000, socket.MSG_WAITALL)
    elif line == "nudge\n":
        epoll.modify(next(iter(served.values())), select.EPOLLIN)
    print(line, end="", flush=True)
