"""Reads the head of an HTTP request from a socket, with limits of size and time for all of it."""

import socket
import time

MAX_BYTES = 16 * 1024
SECONDS = 5.0
END = b"\r\n\r\n"
PIECE = 4096


def read_head(connection: socket.socket, seconds: float = SECONDS) -> bytes | None:
    """The request line and the headers with the empty line behind them.

    None where they do not come whole within `seconds`, or the peer ends. Raises ValueError for more than `MAX_BYTES`.
    The limit of time is for all pieces together, so one byte now and then holds no thread.
    """
    deadline = time.monotonic() + seconds
    head = b""
    while END not in head:
        if len(head) > MAX_BYTES:
            raise ValueError("the head is too large")
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        connection.settimeout(left)
        try:
            piece = connection.recv(PIECE)
        except OSError:  # too late, or the peer is gone
            return None
        if not piece:
            return None
        head += piece
    connection.settimeout(seconds)  # for the answer
    return head[: head.index(END) + len(END)]
