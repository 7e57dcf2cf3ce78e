"""Promise 6: lazy, closable, thread-safe, and never on the event loop's thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest

from qwen_retrieval.errors import ClosedError
from qwen_retrieval.local.embedder import LocalEmbedder
from qwen_retrieval.local.encoders import Qwen3Embedder
from qwen_retrieval.local.reranker import LocalReranker
from qwen_retrieval.local.scorers import RerankerReplica

from .faces import Face, array
from .texts import DOCUMENTS, OWN_TASK, QUESTION


def use(make: Any, face: Face) -> Any:
    """Return what one short call gives, as plain numbers."""
    if make.kind == "embedder":
        return [array(face.queries([QUESTION])).tolist(), array(face.documents(["a"])).tolist()]
    return face.scores(QUESTION, DOCUMENTS[:2])


async def ause(make: Any, subject: Any, text: str = QUESTION) -> Any:
    """Do the same in a running event loop."""
    if make.kind == "embedder":
        return array(await subject.aembed_queries([text])).tolist()
    if not subject.orders:
        return list(await subject.ascore([(text, document) for document in DOCUMENTS[:2]]))
    return subject.ranked(await subject.arerank(text, subject.wrap(DOCUMENTS[:2])))


def held(make: Any) -> int:
    """Return how many different models are loaded."""
    return len((LocalEmbedder if make.kind == "embedder" else LocalReranker).shelf)


def test_constructing_loads_nothing(computing_here: Any, own_folder: Callable[[str], str]) -> None:
    """Promise 6: weights are loaded by the first call and not before."""
    before = held(computing_here)
    face = computing_here(model=own_folder(computing_here.kind))
    for part in face.subject.parts:
        repr(part)
        face.subject.settings_of(part)
    assert held(computing_here) == before
    use(computing_here, face)
    assert held(computing_here) == before + 1


def test_close_frees_the_weights(computing_here: Any, own_folder: Callable[[str], str]) -> None:
    """Promise 6: the last `close()` gives the memory back; closing twice is no error."""
    before = held(computing_here)
    folder = own_folder(computing_here.kind)
    first, second = computing_here(model=folder), computing_here(model=folder)
    use(computing_here, first)
    use(computing_here, second)
    assert held(computing_here) == before + 1  # shared
    first.close()
    assert held(computing_here) == before + 1
    use(computing_here, second)
    second.close()
    assert held(computing_here) == before
    second.close()
    assert held(computing_here) == before


@pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
def test_use_after_close_raises(anything: Any, used: bool) -> None:  # noqa: FBT001
    """Promise 6: a closed model says so; Haystack's components open again, by its own custom."""
    face = anything()
    expected = use(anything, face) if used else None
    face.close()
    if face.subject.reopens:
        found = flat(use(anything, face))
        assert expected is None or found == pytest.approx(flat(expected), abs=1e-6)
        return
    with pytest.raises(ClosedError, match="is closed; open"):
        use(anything, face)


def test_settings_that_share_weights_load_them_once(
    computing_here: Any, own_folder: Callable[[str], str]
) -> None:
    """Promise 6: instruction and dimensions are no reason to load a model twice."""
    before, folder = held(computing_here), own_folder(computing_here.kind)
    other = (
        {"query_instruction": OWN_TASK, "dimensions": 48}
        if computing_here.kind == "embedder"
        else {"instruction": OWN_TASK, "score_type": "logit"}
    )
    use(computing_here, computing_here(model=folder))
    use(computing_here, computing_here(model=folder, **other))
    assert held(computing_here) == before + 1


def test_threads_share_one_opening_and_get_the_serial_results(
    computing_here: Any, own_folder: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6: eight threads that begin at once load the weights once and disturb nobody."""
    kind = LocalEmbedder if computing_here.kind == "embedder" else LocalReranker
    made: list[object] = []
    init = kind.__init__

    def counted(self: Any, *args: Any, **given: Any) -> None:
        made.append(self)
        init(self, *args, **given)

    face = computing_here(model=own_folder(computing_here.kind))
    monkeypatch.setattr(kind, "__init__", counted)
    barrier = threading.Barrier(8)

    def work(_: int) -> Any:
        barrier.wait()
        return use(computing_here, face)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert len(made) <= len(face.subject.parts)
    serial = use(computing_here, face)
    for each in found:
        assert flat(each) == pytest.approx(flat(serial), abs=1e-6)


def flat(values: Any) -> list[float]:
    """Return nested numbers as one list."""
    if isinstance(values, list | tuple):
        return [number for value in values for number in flat(value)]
    return [float(values)]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Make computing take a while; the list gets the thread of each batch."""
    threads: list[int] = []

    def slowed(compute: Any) -> Any:
        def wrapper(self: Any, items: Any) -> Any:
            threads.append(threading.get_ident())
            time.sleep(0.15)
            return compute(self, items)

        return wrapper

    for kind in (Qwen3Embedder, RerankerReplica):
        monkeypatch.setattr(kind, "compute", slowed(kind.compute))
    return threads


async def test_coroutines_leave_the_event_loop_alone(
    async_computing_here: Any, slow: list[int]
) -> None:
    """Promise 6: the model computes in another thread, and the loop goes on meanwhile."""
    make, ticks = async_computing_here, [time.perf_counter()]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.01)
            ticks.append(time.perf_counter())

    subject = make().subject
    ticking = asyncio.create_task(tick())
    await ause(make, subject)
    ticking.cancel()
    assert slow
    assert threading.get_ident() not in slow
    assert len(ticks) >= 5  # of some 15; a loop that is held up has one at most


async def test_closing_leaves_the_event_loop_alone(
    async_computing_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6: closing waits while a model is being loaded, so it does that elsewhere too."""
    threads: list[int] = []
    kind = LocalEmbedder if async_computing_here.kind == "embedder" else LocalReranker
    close = kind.close

    def noted(self: Any) -> None:
        threads.append(threading.get_ident())
        close(self)

    subject = async_computing_here().subject
    await ause(async_computing_here, subject)
    with monkeypatch.context() as patched:
        patched.setattr(kind, "close", noted)
        await subject.aclose()
    assert threads
    assert threading.get_ident() not in threads


class Listed(np.ndarray):
    """Vectors that note where, and how many at a time, they are made lists."""

    noted: ClassVar[list[tuple[int, int]]] = []

    def tolist(self) -> Any:
        """Note the thread and the number of axes."""
        self.noted.append((threading.get_ident(), self.ndim))
        return super().tolist()


async def test_vectors_become_lists_off_the_event_loop(
    async_embedder_adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6: in another thread, and row by row, since one call would hold the interpreter."""
    embed = LocalEmbedder.aembed_documents

    async def listed(self: Any, texts: Any) -> Any:
        return (await embed(self, texts)).view(Listed)

    monkeypatch.setattr(LocalEmbedder, "aembed_documents", listed)
    monkeypatch.setattr(Listed, "noted", [])
    found = await async_embedder_adapter().subject.aembed_documents(list(DOCUMENTS))
    assert len(found) == len(DOCUMENTS)
    assert len(Listed.noted) == len(DOCUMENTS)
    assert all(thread != threading.get_ident() and axes == 1 for thread, axes in Listed.noted)


async def test_many_coroutines_get_the_serial_results(async_computing: Any) -> None:
    """Promise 6: concurrent calls of one object do not mix up their answers."""
    make = async_computing
    subject = make().subject
    texts = [f"{QUESTION} {n}" for n in range(12)]
    serial = [await ause(make, subject, text) for text in texts]
    found = await asyncio.gather(*(ause(make, subject, text) for text in texts))
    for one, other in zip(found, serial, strict=True):
        if make.kind == "embedder" or not subject.orders:
            assert flat(one) == pytest.approx(flat(other), abs=1e-6)
        else:
            assert [each.index for each in one] == [each.index for each in other]


async def test_a_cancelled_call_leaves_it_usable(
    async_computing_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6: cancelling raises at once, and the next call is answered as ever."""
    make = async_computing_here
    kind = Qwen3Embedder if make.kind == "embedder" else RerankerReplica
    subject = make().subject
    expected = await ause(make, subject)
    begun, go_on, compute = threading.Event(), threading.Event(), kind.compute

    def waiting(self: Any, items: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return compute(self, items)

    monkeypatch.setattr(kind, "compute", waiting)
    task = asyncio.create_task(ause(make, subject))
    try:
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    finally:
        go_on.set()
    monkeypatch.setattr(kind, "compute", compute)
    found = await asyncio.wait_for(ause(make, subject), 20)
    assert found == expected if make.kind == "reranker" else flat(found) == flat(expected)
