"""One request and the bytes that answer it, down to the socket."""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from servers.engines import Reply

JSON = "application/json"


class Gone(Exception):  # noqa: N818 - how a handler ends, no error
    """The client has closed the connection, or the server has."""


@dataclass(slots=True)
class Recorded:
    """A request as it came, and how it went.

    Attributes:
        connection: which of the server's connections brought it, counted from 0.
        began, ended: seconds of `time.monotonic`; `ended` is None while it is being answered.
        status: what it was answered with; None if it never was.
        fault: the name of the fault that it met.
        abandoned: the client closed the connection before it had its answer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    size: int
    connection: int
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    status: int | None = None
    fault: str | None = None
    abandoned: bool = False


class Exchange:
    """What a fault works with: the request, the right answer, and the socket."""

    def __init__(
        self,
        recorded: Recorded,
        connection: socket.socket,
        answer: Callable[[], Reply],
        failure: Callable[[int, str], Reply],
        stopping: Callable[[], bool],
    ) -> None:
        self.recorded = recorded
        self.socket = connection
        self.answer = answer
        self.failure = failure
        self._stopping = stopping
        self.open = True

    def send(self, reply: Reply, *, content_type: str = JSON) -> None:
        """Send a whole answer."""
        body = b"" if reply.payload is None else json.dumps(reply.payload).encode()
        self.send_bytes(body, reply.status, {"Content-Type": content_type, **reply.headers})

    def send_bytes(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send these bytes as a whole answer."""
        lines = {"Content-Type": JSON, **(headers or {}), "Content-Length": str(len(body))}
        self.write(head(status, lines) + body)
        self.recorded.status = status

    def write(self, data: bytes) -> None:
        """Write to the socket.

        Raises:
            Gone: nobody reads it.
        """
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.recorded.abandoned = True
            raise Gone from error

    def drip(self, pieces: Iterable[bytes], pause: float = 0.0) -> None:
        """Write pieces until there are no more, nobody reads them, or the server stops."""
        for piece in pieces:
            self.write(piece)
            self.wait(pause)

    def wait(self, seconds: float) -> None:
        """Wait, and notice when the client goes away.

        Raises:
            Gone: it has, or the server stops.
        """
        until = time.monotonic() + seconds
        while True:
            if self._stopping():
                raise Gone
            left = until - time.monotonic()
            if self._client_left(min(0.02, max(0.0, left))):
                self.recorded.abandoned = True
                raise Gone
            if left <= 0:
                return

    def close(self) -> None:
        """End the connection in order."""
        self.open = False

    def reset(self) -> None:
        """End the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self.open = False

    def _client_left(self, seconds: float) -> bool:
        readable, _, _ = select.select([self.socket], [], [], seconds)
        if not readable:
            return False
        if isinstance(self.socket, ssl.SSLSocket):
            return False  # it cannot be looked at without being read
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
