# SPDX-License-Identifier: BSD-3-Clause
"""What the programs beside this one share."""


def exactly(s, n):
    """Reads n bytes of a stream, or raises EOFError."""
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {n} bytes")
        data += piece
    return data
