"""A server that means harm can neither hang nor exhaust a client, nor learn another's key."""

from __future__ import annotations

import gc
import logging
import pickle
import resource
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen_retrieval.errors import QwenRetrievalError, ServerError
from servers import faults
from servers.clients import Client, Way, is_right
from servers.fault_server import FaultServer
from servers.faults import HOSTILE, Fault
from servers.setup import Kind

KEY = "sk-a-secret-of-the-users"
TIMEOUT = 1.5
SLACK = 3.0
"""Seconds beyond the timeout: one for a machine that has other work too."""
MOST_MEMORY = 64 << 20

subjects = pytest.mark.parametrize(
    ("engine", "kind", "way"), [("vllm", "embedder", "sync"), ("jina", "reranker", "async")]
)


@pytest.fixture
def used(engine: str, kind: Kind, way: Way) -> Iterator[tuple[FaultServer, Client]]:
    """A server and a client that has been answered well once."""
    with FaultServer(engine, serves=kind, api_key=KEY) as server:
        client = Client(server, way=way, token=KEY, timeout=TIMEOUT, max_retries=1)
        client.warm()
        yield server, client
        client.close()


@subjects
@pytest.mark.parametrize("fault", HOSTILE, ids=str)
def test_time_and_memory_are_bounded(used: tuple[FaultServer, Client], fault: Fault) -> None:
    """One clear error, in time, within 64 MiB; and the client is as good as before."""
    server, client = used
    faults.bomb()  # made before memory is counted
    server.inject(fault)
    error, seconds, peak = measured(client)
    assert isinstance(error, ServerError), error
    assert server.url.removeprefix("http://") in str(error)
    assert len(str(error)) < 2000
    assert seconds < TIMEOUT + SLACK
    assert peak < MOST_MEMORY
    server.heal()
    assert is_right(client.use())


@pytest.mark.parametrize("fault", HOSTILE, ids=str)
def test_a_server_that_is_hostile_from_the_first_request_on(fault: Fault) -> None:
    """What a client asks before its first work is as bounded as the work."""
    faults.bomb()
    with FaultServer("vllm") as server:
        server.inject(fault, only=lambda _: True)
        client = Client(server, way="sync", timeout=TIMEOUT, max_retries=1)
        error, seconds, peak = measured(client)
        client.close()
        requests = len({each.path for each in server.requests})
    assert isinstance(error, ServerError), error
    assert seconds < requests * TIMEOUT + SLACK
    assert peak < MOST_MEMORY


class Memory(threading.Thread):
    """Watches the process's resident memory; `grown` is the most that it has grown, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        gc.collect()
        self._first = self._now()
        self._over = threading.Event()
        self.grown = 0

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._over.wait(0.002):
            self.grown = max(self.grown, self._now() - self._first)

    def stop(self) -> None:
        """Look no longer."""
        self._over.set()
        self.join()

    @staticmethod
    def _now() -> int:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()


def measured(client: Client) -> tuple[BaseException | None, float, int]:
    """Return the error of one call, its seconds, and the most memory that it took."""
    memory, error = Memory(), None
    memory.start()
    began = time.monotonic()
    try:
        client.use()
    except QwenRetrievalError as raised:
        error = raised
    seconds = time.monotonic() - began
    memory.stop()
    return error, seconds, memory.grown


@subjects
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(used: tuple[FaultServer, Client], code: int) -> None:
    """Texts and key reach no other host; the error names the address to set."""
    server, client = used
    with FaultServer(server.engine.name, server.engine.setup) as other:
        server.inject(faults.redirect(other.url, code))
        with pytest.raises(ServerError, match="base_url") as caught:
            client.use()
        assert other.requests == []
        assert other.connections == 0
    assert KEY not in everything(caught.value)


@subjects
@pytest.mark.parametrize(
    "fault",
    [faults.echo_of_the_key, faults.status(401), faults.reset, faults.wrong_content_type],
    ids=["echo", "401", "reset", "page"],
)
def test_the_key_is_in_no_message_and_no_record(
    used: tuple[FaultServer, Client], fault: faults.Act, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an error or its causes, nor in a repr, a pickle, or any library's log."""
    server, client = used
    with caplog.at_level(logging.DEBUG):
        client.use()
        server.inject(fault)
        with pytest.raises(ServerError) as caught:
            client.use()
    assert server.work[0].headers["authorization"] == f"Bearer {KEY}"  # it was sent, though
    assert KEY not in everything(caught.value)
    assert KEY not in repr(client.client)
    assert KEY.encode() not in pickled(client.client)
    records = [str(vars(record)) + record.getMessage() for record in caplog.records]
    assert records
    assert not [each for each in records if KEY in each]


def everything(error: BaseException) -> str:
    """Return an error with its causes, as a log would have it."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


def pickled(client: Any) -> bytes:
    """Return it pickled, or the error where that is refused."""
    try:
        return pickle.dumps(client)
    except (TypeError, ValueError) as error:
        return str(error).encode()
