"""Which sequences are computed together, on which replica, and what happens when memory ends."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_retrieval.errors import MemoryWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.local.turnstile import Turnstile

    Result = NDArray[np.float32]


class Replica(Protocol):
    """One copy of a model on one device, with the turnstile before it."""

    turnstile: Turnstile

    def compute(self, items: Sequence[Any]) -> Result:
        """Return one row (or number) for each prepared sequence."""


def plan(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[list[int]]:
    """Return the places of the sequences, batch by batch, longest first.

    Neighbours in length share a batch, so little is spent on padding; the longest come first, so
    memory that does not suffice shows at the start.

    Args:
        lengths: tokens of each sequence.
        batch_size: sequences of a batch, at most.
        batch_tokens: tokens of a batch, padding included, at most; a single longer sequence still
            is a batch.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda p: -lengths[p]):
        if batches:
            last = batches[-1]
            width = lengths[last[0]]
            if len(last) < batch_size and (len(last) + 1) * width <= batch_tokens:
                last.append(place)
                continue
        batches.append([place])
    return batches


def run(
    batches: Sequence[list[int]],
    items: Sequence[Any],
    replicas: Sequence[Replica],
    *,
    progress_bar: bool,
    stop: Event | None,
) -> list[Result]:
    """Return the result of every item, in the items' order.

    The turnstile is passed batch by batch, so that another caller waits for one batch and not for
    the whole call. Several replicas draw from one queue of batches.

    Args:
        batches: places, from `plan`.
        items: prepared sequences.
        replicas: at least one.
        progress_bar: over the sequences.
        stop: when set, the work ends before the next batch.
    """
    queue = deque(batches)
    results: list[Result] = [np.empty(0, np.float32)] * len(items)
    with _progress(len(items), shown=progress_bar) as bar:

        def work(replica: Replica) -> None:
            while queue and not (stop is not None and stop.is_set()):
                try:
                    batch = queue.popleft()
                except IndexError:  # another replica took the last one
                    return
                rows = _compute(replica, [items[place] for place in batch])
                for place, row in zip(batch, rows, strict=True):
                    results[place] = row
                if bar is not None:
                    bar.update(len(batch))

        if len(replicas) == 1:
            work(replicas[0])
        else:
            with ThreadPoolExecutor(len(replicas)) as pool:
                for done in [pool.submit(work, replica) for replica in replicas]:
                    done.result()
    return results


def _compute(replica: Replica, items: Sequence[Any]) -> list[Result]:
    """Return one result an item; when memory ends, halve the batch and go on."""
    try:
        with replica.turnstile:
            return list(replica.compute(items))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error) or len(items) == 1:
            raise
    half = len(items) // 2
    warnings.warn(
        f"memory ran out over a batch of {len(items)} sequences; going on with {half}. Lower"
        " batch_size or batch_tokens to avoid the attempt.",
        MemoryWarning,
        stacklevel=2,
    )
    return _compute(replica, items[:half]) + _compute(replica, items[half:])


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU, torch raises a plain RuntimeError from its allocator.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _progress(total: int, *, shown: bool) -> Any:  # noqa: ANN401 - tqdm is untyped
    if not shown:
        return nullcontext()
    from tqdm.auto import tqdm  # noqa: PLC0415 - only where a bar is shown

    return tqdm(total=total, unit="seq", desc="Qwen3")


