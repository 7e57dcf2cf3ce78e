"""Which replica computes a batch, and what happens when memory ends."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_retrieval.errors import MemoryWarning
from qwen_retrieval.local.memory import is_out_of_memory
from qwen_retrieval.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.local.turnstile import Turnstile

    Result = NDArray[np.float32]


SHORT_TOKENS = 128
"""A call that has no more to compute, such as a query, need not wait behind others' batches."""


class Replica(Protocol):
    """One copy of a model on one device, with the turnstile before it."""

    turnstile: Turnstile

    def compute(self, items: Sequence[Any]) -> Result:
        """Return one row (or number) for each prepared sequence."""


def run(  # noqa: PLR0913 - the whole of a call's work
    batches: Sequence[list[int]],
    items: Sequence[Any],
    lengths: Sequence[int],
    replicas: Sequence[Replica],
    *,
    progress_bar: bool,
    stop: Event | None,
) -> list[Result]:
    """Return the result of every item, in the items' order.

    The turnstile is passed batch by batch, so that another caller waits for one batch and not for
    the whole call. Several replicas draw from one queue of batches.

    Args:
        batches: places, from `qwen_retrieval.batches.plan`.
        items: prepared sequences.
        lengths: tokens of each sequence.
        replicas: at least one.
        progress_bar: over the sequences.
        stop: when set, the work ends before the next batch.
    """
    queue = deque(batches)
    call = _Call(items, lengths, stop)
    with progress(len(items), shown=progress_bar) as bar:

        def work(replica: Replica) -> None:
            while not call.stopped:
                try:
                    batch = queue.popleft()
                except IndexError:
                    return
                try:
                    call.compute(replica, batch)
                except BaseException:
                    queue.clear()  # the other replicas need not go on for a call that has failed
                    raise
                if bar is not None:
                    bar.update(len(batch))

        if len(replicas) == 1:
            work(replicas[0])
        else:
            with ThreadPoolExecutor(len(replicas)) as pool:
                try:
                    for done in [pool.submit(work, replica) for replica in replicas]:
                        done.result()
                except BaseException:  # also Ctrl-C, for which the pool would compute to the end
                    queue.clear()
                    raise
    return call.results


@dataclass
class _Call:
    """The state of one call: its results, and how much memory has turned out to hold."""

    items: Sequence[Any]
    lengths: Sequence[int]
    stop: Event | None
    results: list[Result] = field(init=False)
    short: bool = field(init=False)
    most: int | None = None
    guard: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.results = [np.empty(0, np.float32)] * len(self.items)
        self.short = sum(self.lengths) <= SHORT_TOKENS

    @property
    def stopped(self) -> bool:
        return self.stop is not None and self.stop.is_set()

    def compute(self, replica: Replica, batch: list[int]) -> None:
        """Fill in a batch's results; when memory ends, halve this batch and all that are as big."""
        width = max(self.lengths[place] for place in batch)
        alone = len(batch) == 1
        if alone or self.most is None or len(batch) * width <= self.most:
            try:
                with replica.turnstile.turn(short=self.short):
                    if self.stopped:  # while it waited its turn
                        return
                    rows = replica.compute([self.items[place] for place in batch])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if alone:
                    error.add_note(
                        f"Memory does not hold a single sequence (counted as {width} tokens): lower"
                        " max_length, or take a smaller model or dtype."
                    )
                    raise
            else:
                for place, row in zip(batch, rows, strict=True):
                    self.results[place] = row
                return
            self._ran_out(len(batch), width)
        half = (len(batch) + 1) // 2
        self.compute(replica, batch[:half])
        self.compute(replica, batch[half:])

    def _ran_out(self, sequences: int, width: int) -> None:
        most = (sequences + 1) // 2 * width
        with self.guard:
            first = self.most is None
            self.most = most if self.most is None else min(self.most, most)
        if first:
            warnings.warn(
                f"memory ran out over {sequences} sequences counted as up to {width} tokens; this"
                f" call goes on in smaller batches. Lower batch_size or batch_tokens (to {most},"
                " say) to avoid the attempt.",
                MemoryWarning,
                stacklevel=2,
            )
