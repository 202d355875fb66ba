# SPDX-License-Identifier: BSD-3-Clause
"""What a capture is to show besides ordinary connections; prints the ports as JSON. Both ends are this program's."""
import json
import socket
import struct


def pair(address, family=socket.AF_INET):
    listener = socket.create_server((address, 0), family=family)
    port = listener.getsockname()[1]
    client = socket.create_connection((address, port))
    server, _ = listener.accept()
    listener.close()
    return port, client, server


def reset():
    port, client, server = pair("127.0.0.1")
    client.sendall(b"never read")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.close()
    return port


def over_six():
    port, client, server = pair("::1", socket.AF_INET6)
    client.sendall(b"over six")
    assert server.recv(100) == b"over six"
    client.close()
    server.close()
    return port


def datagram():
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"a datagram", receiver.getsockname())
    assert receiver.recv(100) == b"a datagram"
    return receiver.getsockname()[1]


def urgent():
    port, client, server = pair("127.0.0.1")
    client.send(b"!", socket.MSG_OOB)
    assert server.recv(1, socket.MSG_OOB) == b"!"
    client.close()
    server.close()
    return port


print(json.dumps({"reset": reset(), "v6": over_six(), "udp": datagram(), "urgent": urgent()}))
