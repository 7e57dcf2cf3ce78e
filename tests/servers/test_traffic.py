"""How requests travel: how many at once and how large, on which connections, in which order."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qwen_retrieval.errors import ClosedError, ServerError
from servers import faults
from servers.clients import TEXTS, Client, Way, acall, call, is_right, open_client
from servers.fault_server import FaultServer
from servers.setup import Kind

MANY = tuple(f"{text} ({n})" for n in range(8) for text in TEXTS)
BOTH = [("vllm", "embedder"), ("vllm", "reranker")]
both = pytest.mark.parametrize(("engine", "kind"), BOTH)
ways = pytest.mark.parametrize("way", ["sync", "async"])


def test_opening_asks_for_nothing() -> None:
    """The server is first asked by the first call."""
    with FaultServer("vllm") as server:
        client = open_client(server)
        repr(client)
        client.close()
        assert server.connections == 0


@both
@ways
def test_nothing_to_do_asks_for_nothing(engine: str, kind: Kind, way: Way) -> None:
    """No texts, no work."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way)
        assert len(client.use(())) == 0
        client.close()
        assert server.work == []


@both
@ways
def test_equal_texts_travel_once(engine: str, kind: Kind, way: Way) -> None:
    """Each distinct text is computed once, and everyone gets its result."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, batch_size=1)
        assert is_right(client.use((TEXTS[0],) * 7), (TEXTS[0],) * 7)
        client.close()
        assert len(server.work) == 1


@both
@ways
def test_requests_at_once_are_bounded_and_the_bound_is_reached(
    engine: str,
    kind: Kind,
    way: Way,
) -> None:
    """Never more than `max_concurrency` under way, and as many as that to keep the server busy."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, batch_size=4, max_concurrency=3)
        client.use(TEXTS[:1])
        server.inject(faults.delay(0.08))
        assert is_right(client.use(MANY), MANY)
        client.close()
        assert server.most_in_flight == 3
        assert len(server.work) == 1 + len(MANY) // 4


@both
def test_threads_share_the_bound(engine: str, kind: Kind) -> None:
    """The bound is the client's, however many threads call it."""
    with FaultServer(engine, serves=kind) as server:
        client = open_client(server, batch_size=4, max_concurrency=3)
        call(client, TEXTS[:1])
        server.inject(faults.delay(0.05))
        parts = [MANY[n : n + 8] for n in range(0, len(MANY), 8)]
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda part: call(client, part), parts))
        assert all(is_right(*each) for each in zip(found, parts, strict=True))
        client.close()
        assert server.most_in_flight == 3


@both
async def test_coroutines_share_the_bound(engine: str, kind: Kind) -> None:
    """The same for coroutines of one event loop."""
    with FaultServer(engine, serves=kind) as server:
        client = open_client(server, batch_size=4, max_concurrency=3)
        await acall(client, TEXTS[:1])
        server.inject(faults.delay(0.05))
        parts = [MANY[n : n + 8] for n in range(0, len(MANY), 8)]
        found = await asyncio.gather(*(acall(client, part) for part in parts))
        assert all(is_right(*each) for each in zip(found, parts, strict=True))
        await client.aclose()
        assert server.most_in_flight == 3


@both
@ways
def test_order_is_kept_whatever_comes_back_first(
    engine: str,
    kind: Kind,
    way: Way,
) -> None:
    """Answers to twenty requests come back in any order; every text keeps its own."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, batch_size=2, max_concurrency=10)
        client.use(TEXTS[:1])
        server.forget()
        server.inject(faults.random_delay(0.1))
        assert is_right(client.use(MANY), MANY)
        client.close()
        work = sorted(server.work, key=lambda each: each.ended or 0)
        assert [each.began for each in work] != sorted(each.began for each in work)


@both
@ways
def test_connections_are_kept(engine: str, kind: Kind, way: Way) -> None:
    """Call after call goes over the connections that are open, in one event loop and in several."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, batch_size=4, max_concurrency=3)
        for _ in range(3):
            client.use(MANY)
        client.close()
        assert len(server.work) == 30
        assert server.connections <= 3


def test_one_client_serves_one_event_loop_after_another() -> None:
    """A connection belongs to an event loop, a client does not: `asyncio.run` twice goes well."""
    with FaultServer("vllm") as server:
        client = open_client(server)
        for _ in range(3):
            assert is_right(asyncio.run(acall(client)))
        assert is_right(call(client))
        client.close()


@both
@ways
def test_closing_gives_the_connections_back(engine: str, kind: Kind, way: Way) -> None:
    """`close` ends the connections, and later calls say that it is closed."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way)
        client.use()
        assert server.open_connections > 0
        client.close_inner()
        until(lambda: server.open_connections == 0)
        with pytest.raises(ClosedError, match="is closed; open"):
            client.use()
        client.close()


LIMITED = [
    ("tei", "embedder", 422),
    ("openai", "embedder", 413),
    ("dashscope", "embedder", 400),
    ("infinity", "embedder", 422),
    ("jina", "reranker", 413),
]


@pytest.mark.parametrize(("engine", "kind", "status"), LIMITED)
@ways
def test_a_batch_that_is_too_large_is_split(
    engine: str,
    kind: Kind,
    status: int,
    way: Way,
) -> None:
    """Whatever status the engine has for it, until it fits; results are whole and in order."""
    with FaultServer(engine, serves=kind, max_batch=3) as server:
        client = Client(server, way=way, batch_size=20)
        assert is_right(client.use(MANY), MANY)
        client.close()
        statuses = {each.status for each in server.work}
        assert statuses <= {200, status}
        assert len(server.work) < 2 * len(MANY)


@ways
def test_a_batch_is_as_large_as_the_server_says(way: Way) -> None:
    """TEI tells its limit, so no request is refused."""
    with FaultServer("tei", max_batch=3) as server:
        client = Client(server, way=way, batch_size=20)
        assert is_right(client.use(MANY), MANY)
        client.close()
        assert {each.status for each in server.work} == {200}
        assert {len(each.body["inputs"]) for each in server.work} == {3, 1}


@ways
def test_one_text_that_is_too_large_is_an_error(way: Way) -> None:
    """Splitting ends at one text."""
    with FaultServer("openai") as server:
        server.inject(faults.status(413))
        client = Client(server, way=way)
        with pytest.raises(ServerError, match="413"):
            client.use(TEXTS[:1])
        client.close()
        assert len(server.work) == 1


@both
@ways
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(engine: str, kind: Kind, way: Way, form: str) -> None:
    """The next try comes no earlier than the server asked for."""
    as_date = form == "date"
    wait = 2 if as_date else 1  # a date has whole seconds
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way)
        client.use()
        server.forget()
        server.inject(faults.status(429, retry_after=wait, as_date=as_date), times=1)
        assert is_right(client.use())
        client.close()
        first, second = server.work
        assert second.began - first.began >= 0.9
        assert second.began - first.began < wait + 1.5


@both
@ways
def test_tries_are_counted(engine: str, kind: Kind, way: Way) -> None:
    """`max_retries` further tries and no more, with growing waits between them."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, max_retries=2)
        client.use()
        server.forget()
        server.inject(faults.status(503))
        with pytest.raises(ServerError, match="503"):
            client.use()
        client.close()
        assert len(server.work) == 3


async def until_async(condition: Any) -> None:
    """Wait a little until it holds."""
    end = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def until(condition: Any) -> None:
    """Wait a little until it holds."""
    end = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@both
async def test_cancelling_closes_the_requests(engine: str, kind: Kind) -> None:
    """The server sees every request of the call hang up, at once; the next call is answered."""
    with FaultServer(engine, serves=kind) as server:
        client = open_client(server, batch_size=4, max_concurrency=4)
        await acall(client)
        server.forget()
        server.inject(faults.delay(20))
        task = asyncio.create_task(acall(client, MANY))
        await until_async(lambda: server.in_flight == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_async(lambda: server.in_flight == 0)
        assert len(server.work) == 4
        assert all(each.abandoned for each in server.work)
        server.heal()
        assert is_right(await acall(client))
        await client.aclose()


@both
async def test_one_cancelled_call_leaves_the_others_alone(engine: str, kind: Kind) -> None:
    """Calls that run beside it are answered as ever."""
    with FaultServer(engine, serves=kind) as server:
        client = open_client(server, batch_size=4, max_concurrency=8)
        await acall(client)
        server.inject(faults.delay(0.2))
        cancelled, kept = (asyncio.create_task(acall(client, MANY)) for _ in range(2))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        assert is_right(await kept, MANY)
        await client.aclose()


@both
async def test_waiting_leaves_the_event_loop_alone(engine: str, kind: Kind) -> None:
    """The loop goes on while the server takes its time."""
    with FaultServer(engine, serves=kind) as server:
        client = open_client(server)
        await acall(client)
        server.inject(faults.delay(0.4))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        assert is_right(await acall(client))
        ticking.cancel()
        await client.aclose()
        assert ticks >= 10


@both
@ways
def test_the_others_of_a_failed_call_are_not_left_running(
    engine: str,
    kind: Kind,
    way: Way,
) -> None:
    """After one request has failed for good, the call sends no more of them."""
    with FaultServer(engine, serves=kind) as server:
        client = Client(server, way=way, batch_size=1, max_concurrency=2)
        client.use()
        server.forget()
        server.inject(faults.status(404), times=1)
        server.inject(faults.delay(0.05))
        with pytest.raises(ServerError, match="404"):
            client.use(MANY)
        time.sleep(0.2)
        sent = len(server.work)
        assert sent < len(MANY) // 2
        client.close()
