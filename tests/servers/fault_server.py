"""A real HTTP server on loopback that speaks an engine's shapes and goes wrong as it is told.

::

    with FaultServer("vllm", serves="reranker") as server:
        server.inject(faults.status(503), times=2)
        reranker = open_reranker(RerankerSettings(server="vllm", base_url=server.url, …))

It computes with the tiny models, records every request, and can be started with the mistakes that
`Setup` names. ``python tests/servers/serve.py`` starts one from the command line.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from servers.engines import ENGINES, Reply
from servers.faults import Act, Fault
from servers.setup import Setup
from servers.wire import Exchange, Gone, Recorded


@dataclass(slots=True)
class _Planned:
    act: Act
    name: str
    left: int | None
    skip: int
    only: Callable[[Recorded], bool]


class FaultServer:
    """An engine's interface on a free port of 127.0.0.1, from `start` to `stop`."""

    def __init__(
        self,
        engine: str = "vllm",
        setup: Setup | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        **options: Any,
    ) -> None:
        """Take an engine's name and its set-up, or the set-up's options by name."""
        self.engine = ENGINES[engine](Setup(**options) if setup is None else setup)
        self.requests: list[Recorded] = []
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.stopping = False
        self._plans: list[_Planned] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._tls = tls
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    # life

    def start(self) -> Self:
        """Load the model, so that no first request waits for it, and begin to serve."""
        self.engine.computing.network((0,))
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every connection and wait until all is quiet."""
        self.stopping = True
        self._server.shutdown()
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            _shut(each)
        self._server.server_close()  # joins the handlers
        self._thread.join()

    def __enter__(self) -> Self:
        """Begin to serve."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    # what goes wrong

    def inject(
        self,
        fault: Fault | Act,
        *,
        times: int | None = None,
        after: int = 0,
        only: Callable[[Recorded], bool] | None = None,
    ) -> None:
        """Let requests that compute meet a fault.

        Args:
            fault: of `servers.faults`.
            times: how many of them; None is all.
            after: how many are answered rightly first.
            only: which; by default all that compute, and no probe.
        """
        act, name = (fault.act, fault.name) if isinstance(fault, Fault) else (fault, "fault")
        chosen = self._computes if only is None else only
        with self._lock:
            self._plans.append(_Planned(act, name, times, after, chosen))

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._plans.clear()

    # what was seen

    @property
    def work(self) -> list[Recorded]:
        """The requests that computed, or should have."""
        return [each for each in self.requests if self._computes(each)]

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        with self._lock:
            return len(self._sockets)

    def forget(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.requests.clear()
            self.most_in_flight = self.in_flight

    def _computes(self, recorded: Recorded) -> bool:
        return recorded.method == "POST" and recorded.path in self.engine.work

    # one request

    def serve(self, recorded: Recorded, connection: socket.socket) -> bool:
        """Answer a request; return whether the connection stays open."""
        with self._lock:
            self.requests.append(recorded)
            act = self._next(recorded)
            counts = self._computes(recorded)
            self.in_flight += counts
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        exchange = Exchange(
            recorded,
            connection,
            lambda: self._answer(recorded),
            self._failure,
            lambda: self.stopping,
        )
        try:
            if act is None:
                exchange.send(self._answer(recorded))
            else:
                act(exchange)
        except Gone:
            exchange.open = False
        finally:
            with self._lock:
                self.in_flight -= counts
        return exchange.open

    def _next(self, recorded: Recorded) -> Act | None:
        for plan in self._plans:
            if plan.left == 0 or not plan.only(recorded):
                continue
            if plan.skip > 0:
                plan.skip -= 1
                continue
            if plan.left is not None:
                plan.left -= 1
            recorded.fault = plan.name
            return plan.act
        return None

    def _answer(self, recorded: Recorded) -> Reply:
        return self.engine.answer(recorded.method, recorded.path, recorded.body, recorded.headers)

    def _failure(self, code: int, message: str) -> Reply:
        if code == 401:
            return self.engine.unauthorized()
        return Reply(code, self.engine.error(code, message))

    # connections

    def wrapped(self, connection: socket.socket) -> socket.socket:
        """Return a new connection, encrypted if the server is."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        connection.settimeout(5)
        return self._tls.wrap_socket(connection, server_side=True)

    def opened(self, connection: socket.socket) -> int:
        """Count a connection."""
        with self._lock:
            self._sockets.add(connection)
            self.connections += 1
            return self.connections - 1

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._sockets.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing joins them
    request_queue_size = 128
    owner: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        """Encrypt the connection where the server does."""
        self.request = self.server.owner.wrapped(self.request)
        super().setup()
        self.place = self.server.owner.opened(self.connection)

    def finish(self) -> None:
        """Close what `setup` opened."""
        self.server.owner.closed(self.connection)
        try:
            super().finish()
        finally:
            _shut(self.connection)
            self.connection.close()

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        recorded = Recorded(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            _json(content),
            len(content),
            self.place,
        )
        try:
            if not self.server.owner.serve(recorded, self.connection):
                self.close_connection = True
        finally:
            recorded.ended = time.monotonic()

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815 - http.server looks for these names

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"": found}


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
