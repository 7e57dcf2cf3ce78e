"""Which sequences are computed together."""

from __future__ import annotations

from collections.abc import Sequence


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
