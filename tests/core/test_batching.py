"""Which sequences run together, in whose turn, and what happens when memory ends."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qwen_retrieval.batches import plan
from qwen_retrieval.errors import MemoryWarning
from qwen_retrieval.local.batching import SHORT_TOKENS, run
from qwen_retrieval.local.turnstile import Turnstile


class Doubling:
    """A replica that doubles numbers and notes the batches it saw."""

    def __init__(
        self,
        most: int | None = None,
        error: type[Exception] = MemoryError,
        words: str = "CUDA out of memory. Tried to allocate 20.00 GiB",
    ) -> None:
        self.turnstile = Turnstile()
        self.most = most
        self.error = error
        self.words = words
        self.seen: list[list[int]] = []

    def compute(self, items: Sequence[Any]) -> Any:
        """Return the doubles, or the error where there are too many."""
        self.seen.append(list(items))
        if self.most is not None and len(items) > self.most:
            raise self.error(self.words)
        return np.array(items, np.float32) * 2


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C, which a shell lets its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def computed(
    replicas: Sequence[Doubling], number: int, batch_size: int, stop: Event | None = None
) -> list[float]:
    """Return the doubled numbers 0 to `number`, all of the same length."""
    lengths = [4] * number
    batches = plan(lengths, batch_size, 10_000)
    rows = run(batches, range(number), lengths, replicas, progress_bar=False, stop=stop)
    return [float(row) for row in rows if np.size(row)]


class TestPlan:
    """`plan`."""

    @given(
        lengths=st.lists(st.integers(1, 500), max_size=80),
        batch_size=st.integers(1, 20),
        batch_tokens=st.integers(1, 2_000),
    )
    def test_every_place_is_in_exactly_one_batch_within_the_budget(
        self, lengths: list[int], batch_size: int, batch_tokens: int
    ) -> None:
        """No sequence is lost or computed twice, and padding counts into the budget."""
        batches = plan(lengths, batch_size, batch_tokens)
        assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
        for batch in batches:
            assert 1 <= len(batch) <= batch_size
            assert len(batch) == 1 or len(batch) * max(lengths[p] for p in batch) <= batch_tokens

    def test_longest_first_and_neighbours_together(self) -> None:
        """Little is padded, and memory that does not suffice shows at once."""
        assert plan([3, 9, 2, 8], 2, 100) == [[1, 3], [0, 2]]


class TestMemory:
    """Out of memory."""

    @pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError, RuntimeError])
    def test_smaller_batches_give_all_results_and_one_warning(self, error: type[Exception]) -> None:
        """A call that runs out of memory goes on in smaller batches and says so once."""
        replica = Doubling(most=3, error=error)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = computed([replica], 40, 16)
        assert found == [2 * n for n in range(40)]
        assert [w.category for w in caught] == [MemoryWarning]
        assert "16 sequences" in str(caught[0].message)
        assert "batch_size" in str(caught[0].message)

    def test_a_full_gpu_is_told_by_its_libraries_too(self) -> None:
        """CuBLAS and cuDNN have words of their own for it."""
        words = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
        replica = Doubling(most=2, error=RuntimeError, words=words)
        with pytest.warns(MemoryWarning):
            assert computed([replica], 8, 8) == [2 * n for n in range(8)]

    def test_what_did_not_fit_is_not_tried_again(self) -> None:
        """Later batches of the call begin at the size that memory held."""
        replica = Doubling(most=4)
        with pytest.warns(MemoryWarning):
            computed([replica], 64, 16)
        assert [len(batch) for batch in replica.seen if len(batch) > 4] == [16, 8]

    def test_a_single_sequence_that_does_not_fit_is_an_error(self) -> None:
        """Nothing can be halved: the error passes, with the remedy as a note."""
        with (
            pytest.warns(MemoryWarning),
            pytest.raises(torch.OutOfMemoryError) as caught,
        ):
            computed([Doubling(most=0, error=torch.OutOfMemoryError)], 4, 4)
        assert any("max_length" in note for note in caught.value.__notes__)

    def test_other_errors_pass_untouched(self) -> None:
        """Only want of memory is worked around."""

        class Broken(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                self.seen.append(list(items))
                raise RuntimeError("shapes do not match")

        replica = Broken()
        with pytest.raises(RuntimeError, match="shapes do not match"):
            computed([replica], 8, 4)
        assert len(replica.seen) == 1
        with replica.turnstile.turn():
            pass  # it was left


class TestReplicas:
    """Several devices."""

    @given(number=st.integers(0, 50), batch_size=st.integers(1, 7), replicas=st.integers(1, 4))
    def test_results_are_in_the_inputs_order(
        self, number: int, batch_size: int, replicas: int
    ) -> None:
        """Whoever computes a batch, each result stands where its input stood."""
        found = computed([Doubling() for _ in range(replicas)], number, batch_size)
        assert found == [2 * n for n in range(number)]

    def test_both_take_part(self) -> None:
        """Batches are drawn from one queue by all replicas."""

        class Slow(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                time.sleep(0.01)
                return super().compute(items)

        replicas = [Slow(), Slow()]
        computed(replicas, 20, 1)
        assert min(len(replica.seen) for replica in replicas) > 3

    def test_an_error_ends_the_others_work(self) -> None:
        """A call that has failed on one device does not go on at length on the others."""
        failed = Event()

        class Broken(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                failed.set()
                raise ValueError("broken device")

        class Waiting(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                assert failed.wait(10)
                time.sleep(0.05)
                return super().compute(items)

        waiting = Waiting()
        with pytest.raises(ValueError, match="broken device"):
            computed([waiting, Broken()], 100, 1)
        assert len(waiting.seen) < 10

    @pytest.mark.usefixtures("heard")
    def test_ctrl_c_ends_the_work_of_all(self) -> None:
        """The pool would else compute all that is left before the interrupt is heard."""

        class Interrupted(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                if items == [150]:  # both are at work, and who called waits for them
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                time.sleep(0.005)
                return super().compute(items)

        replicas = [Interrupted(), Interrupted()]
        with pytest.raises(KeyboardInterrupt):
            computed(replicas, 300, 1)
        assert sum(len(replica.seen) for replica in replicas) < 200


class TestStopping:
    """Cancelled calls."""

    def test_work_ends_before_the_next_batch(self) -> None:
        """Nobody waits for a cancelled call, so it leaves off."""
        stop = Event()

        class Stopping(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                if len(self.seen) == 2:
                    stop.set()
                return super().compute(items)

        replica = Stopping()
        computed([replica], 100, 1, stop)
        assert len(replica.seen) == 3

    def test_a_call_cancelled_in_the_queue_computes_nothing(self) -> None:
        """What waits at the turnstile looks again when its turn comes."""
        stop, replica = Event(), Doubling()
        with replica.turnstile.turn():
            thread = threading.Thread(target=computed, args=([replica], 5, 1, stop))
            thread.start()
            while not replica.turnstile._short and not replica.turnstile._waiting:
                time.sleep(0.001)
            stop.set()
        thread.join(10)
        assert replica.seen == []


class TestTurnstile:
    """The order of callers."""

    def test_serves_in_the_order_of_arrival(self) -> None:
        """First come, first served."""
        turnstile, served, threads = Turnstile(), [], []

        def pass_through(number: int) -> None:
            with turnstile.turn():
                served.append(number)

        with turnstile.turn():
            for number in range(20):
                threads.append(threading.Thread(target=pass_through, args=(number,)))
                threads[-1].start()
                while len(turnstile._waiting) <= number:
                    time.sleep(0.001)
        for thread in threads:
            thread.join(10)
        assert served == list(range(20))

    def test_a_query_waits_for_one_batch_and_not_for_a_whole_call(self) -> None:
        """Beside a call of 50 batches, a query's turn comes after the batch under way."""
        order: list[str] = []
        first = Event()

        class Noting(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                order.append("query" if len(items) == 2 else "bulk")
                first.set()
                time.sleep(0.002)
                return super().compute(items)

        replica = Noting()
        bulk = threading.Thread(target=computed, args=([replica], 50, 1))
        bulk.start()
        assert first.wait(10)
        computed([replica], 2, 2)
        bulk.join(20)
        assert order.count("bulk") == 50
        assert order.index("query") < 40, "the query would have starved behind the bulk"

    def test_short_work_passes_what_waits_and_starves_nobody(self) -> None:
        """A query is next though many wait; after four of them a batch has its turn."""
        turnstile, served = Turnstile(), []

        def pass_through(what: str) -> None:
            with turnstile.turn(short=what == "query"):
                served.append(what)

        calls = ["batch"] * 8 + ["query"] * 6
        threads = [threading.Thread(target=pass_through, args=(what,)) for what in calls]
        with turnstile.turn():
            for number, thread in enumerate(threads, 1):
                thread.start()
                while len(turnstile._waiting) + len(turnstile._short) < number:
                    time.sleep(0.001)
        for thread in threads:
            thread.join(10)
        assert served == ["query"] * 4 + ["batch"] + ["query"] * 2 + ["batch"] * 7

    def test_a_query_passes_the_batches_of_other_threads(self) -> None:
        """Eight calls of long texts wait, and a query's tokens come after the batch under way."""
        order: list[str] = []

        class Noting(Doubling):
            def compute(self, items: Sequence[Any]) -> Any:
                order.append("query" if len(items) == 2 else "bulk")
                time.sleep(0.005)
                return super().compute(items)

        replica = Noting()
        lengths = [SHORT_TOKENS + 1]

        def bulk() -> None:
            for _ in range(5):
                run([[0]], [1], lengths, [replica], progress_bar=False, stop=None)

        threads = [threading.Thread(target=bulk) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(replica.turnstile._waiting) < 7:
            time.sleep(0.001)
        before = len(order)
        computed([replica], 2, 2)
        for thread in threads:
            thread.join(20)
        assert order.index("query") - before <= 1

    def test_one_at_a_time(self) -> None:
        """Two threads are never inside together."""
        turnstile, inside, most = Turnstile(), [0], [0]

        def pass_through() -> None:
            for _ in range(50):
                with turnstile.turn():
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0)
                    inside[0] -= 1

        threads = [threading.Thread(target=pass_through) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert most == [1]

    def test_who_leaves_the_queue_holds_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C while waiting gives the place away, also when the turn has just come."""
        turnstile = Turnstile()

        class Interrupted:
            """A ticket whose holder is interrupted while it waits."""

            def __init__(self, *, released: bool) -> None:
                self.acquired, self.released = 0, released

            def acquire(self) -> None:
                self.acquired += 1
                if self.acquired == 2:
                    if self.released:  # the turn came in the same moment
                        turnstile._hand_over()
                    raise KeyboardInterrupt

            def release(self) -> None:
                """Take the turn; the holder is about to leave."""

        for released in (False, True):
            turnstile._wait(short=False)
            with monkeypatch.context() as patch:
                patch.setattr(
                    "qwen_retrieval.local.turnstile.Lock",
                    lambda r=released: Interrupted(released=r),
                )
                with pytest.raises(KeyboardInterrupt):
                    turnstile._wait(short=False)
            if not released:
                turnstile._hand_over()
            assert not turnstile._busy
            with turnstile.turn():
                pass
