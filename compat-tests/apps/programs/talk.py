# SPDX-License-Identifier: BSD-3-Clause
"""Does with TCP connections what standard input says, one command per line, with blocking calls. talk.py PORT;
TEST_HOST in the environment (127.0.0.1).
open NAME | say NAME TEXT (send a line, receive it back) | send NAME COUNT (bytes) | read NAME COUNT | wait NAME (receive
until the end) | close NAME. Answers each with the command and how it went."""
import errno
import os
import socket
import sys

port = int(sys.argv[1])
host = os.environ.get("TEST_HOST", "127.0.0.1")
sockets = {}


def pattern(count):
    return (bytes(range(251)) * (count // 251 + 1))[:count]


def receive(name, count):
    got = b""
    while len(got) < count:
        part = sockets[name].recv(count - len(got))
        if not part:
            raise EOFError
        got += part
    return got


def command(verb, name, argument):
    if verb == "open":
        sockets[name] = socket.create_connection((host, port))
    elif verb == "say":
        text = argument.encode() + b"\n"
        sockets[name].sendall(text)
        if receive(name, len(text)) != text:
            return "differs"
    elif verb == "send":
        sockets[name].sendall(pattern(int(argument)))
    elif verb == "read":
        count = int(argument)
        if receive(name, count) != pattern(count):
            return "differs"
    elif verb == "wait":
        while sockets[name].recv(65536):
            pass
        return "eof"
    elif verb == "close":
        sockets.pop(name).close()
    else:
        return "unknown"
    return "ok"


print("ready", flush=True)
for line in sys.stdin:
    verb, name, *rest = line.split(maxsplit=2)
    try:
        result = command(verb, name, rest[0].strip() if rest else "")
    except EOFError:
        result = "eof"
    except OSError as error:
        result = errno.errorcode.get(error.errno, str(error))
    print(verb, name, result, flush=True)
