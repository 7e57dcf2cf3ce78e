"""Attention over packed sequences that may go on from beginnings they share.

On a CPU, in float32 and where it measures faster, each sequence is attended by itself, in blocks of
queries that see no more keys than they may; otherwise a group is padded and goes through torch's
own attention at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

_log = logging.getLogger(__name__)

BLOCK = 64
"""Queries that are attended at once on a CPU; 48 to 128 are within noise."""
LONGEST = 1024
"""Tokens of its own up to which a sequence may go by blocks: 1.3 to 1.6 times as fast as torch's
own attention for ragged ones of 60 to 500, as fast at 1,000, slower at 2,000 (2 cores, EPYC)."""
LED = 512
"""Tokens from which on a causal pass is faster than a mask in torch's own attention, whose kernel
goes by blocks of 512 keys; 1.3 times at 600 tokens behind 110, 1.8 times at 3,000."""


@dataclass(frozen=True, slots=True, eq=False)
class Stem:
    """Keys and values of tokens that sequences begin with, layer by layer.

    Each tensor has shape (1, key-value heads, tokens, head width); keys are already rotated.
    """

    tokens: int
    layers: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that go on from the same beginning.

    Attributes:
        stems: what they begin with, in order; none for sequences that are given whole.
        sequences: the token ids that follow, at least one each.
    """

    stems: tuple[Stem, ...]
    sequences: Sequence[Sequence[int]]

    @property
    def before(self) -> int:
        """Tokens of the beginning."""
        return sum(stem.tokens for stem in self.stems)


class Span(Protocol):
    """The part of a pack that one group takes, and its attention.

    Queries, keys and values have shape (tokens of the pack, heads, head width).
    """

    count: int
    """Sequences of the group."""
    ends: Tensor
    """The place of each sequence's last token in the pack."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Return the attended values of the span's tokens, shape (tokens, heads, head width)."""

    def attend_at_ends(
        self, first: int, query: Tensor, key: Tensor, value: Tensor, layer: int
    ) -> Tensor:
        """Return the attended values of the last tokens, whose queries begin at `first`."""


def span_of(group: Group, start: int, device: torch.device, dtype: torch.dtype) -> Span:
    """Return the span of a group whose tokens begin at `start`, by the faster kind."""
    # Of 16 bits torch's own makes sums in 32, which plain products do not.
    possible = device.type == "cpu" and dtype == torch.float32
    blocked = possible and max(map(len, group.sequences)) <= LONGEST and blocks_are_faster()
    return (BlockedSpan if blocked else PaddedSpan)(group, start, device, dtype)


@cache
def blocks_are_faster() -> bool:
    """Return which kind of attention is faster on this CPU, measured once per process.

    Over ragged sequences with heads of the 0.6B models' shape; takes some 100 ms.
    """
    device, dtype = torch.device("cpu"), torch.float32
    stem = Stem(80, ((torch.zeros(1, 8, 80, 128, dtype=dtype),) * 2,))
    group = Group((stem,), [range(n) for n in (200, 180, 150, 120)])
    total = sum(map(len, group.sequences))
    query, key = (torch.zeros(total, heads, 128, dtype=dtype) for heads in (16, 8))
    spans = [kind(group, 0, device, dtype) for kind in (BlockedSpan, PaddedSpan)]
    seconds = [float("inf")] * len(spans)
    for _ in range(3):
        for place, span in enumerate(spans):
            started = time.perf_counter()
            span.attend(query, key, key, 0)
            seconds[place] = min(seconds[place], time.perf_counter() - started)
    _log.info("attention by blocks takes %.2f times as long as padded", seconds[0] / seconds[1])
    return seconds[0] <= seconds[1]


class BlockedSpan:
    """Sequences one by one, each in blocks of queries: no padding, and few pairs for nothing."""

    def __init__(self, group: Group, start: int, device: torch.device, dtype: torch.dtype) -> None:
        self.count = len(group.sequences)
        self._stems = group.stems
        self._bounds: list[tuple[int, int]] = []
        for sequence in group.sequences:
            self._bounds.append((start, start + len(sequence)))
            start += len(sequence)
        self.ends = torch.tensor([end - 1 for _, end in self._bounds], device=device)
        self._later = _additive(torch.ones(BLOCK, BLOCK, dtype=torch.bool).tril(), device, dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Return the attended values of the span's tokens, shape (tokens, heads, head width)."""
        found: list[Tensor] = []
        for first, end in self._bounds:
            keys, values = self._whole(key[first:end], value[first:end], layer)
            before = keys.shape[1] - end
            for start in range(first, end, BLOCK):
                block = query[start : min(start + BLOCK, end)]
                seen = slice(before + start + len(block))
                found.append(self._attended(block, keys[:, seen], values[:, seen]))
        return found[0] if len(found) == 1 else torch.cat(found)

    def attend_at_ends(
        self, first: int, query: Tensor, key: Tensor, value: Tensor, layer: int
    ) -> Tensor:
        """Return the attended values of the last tokens, whose queries begin at `first`."""
        found: list[Tensor] = []
        for place, (start, end) in enumerate(self._bounds, first):
            keys, values = self._whole(key[start:end], value[start:end], layer)
            found.append(self._attended(query[place, None], keys, values))
        return torch.cat(found)

    def _whole(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return a sequence's keys and values behind those of the stems, heads first."""
        before = [stem.layers[layer] for stem in self._stems]
        return (
            torch.cat([*(k[0] for k, _ in before), key.transpose(0, 1)], 1),
            torch.cat([*(v[0] for _, v in before), value.transpose(0, 1)], 1),
        )

    def _attended(self, block: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return the attention of a block to all keys up to its own; those have heads first."""
        tokens, heads, width = block.shape
        shared = heads // len(keys)  # query heads that share a key
        rows = block.view(tokens, len(keys), shared, width).permute(1, 2, 0, 3)
        scores = torch.baddbmm(
            block.new_empty(1, 1, 1),
            rows.reshape(len(keys), shared * tokens, width),
            keys.transpose(1, 2),
            beta=0,
            alpha=width**-0.5,
        )
        own = scores.view(len(keys), shared, tokens, -1)[..., -tokens:]
        own.add_(self._later[:tokens, :tokens])
        found = torch.bmm(scores.softmax(-1), values).view(len(keys), shared, tokens, width)
        return found.permute(2, 0, 1, 3).reshape(block.shape)


class PaddedSpan:
    """A group at once, padded on the right, where the causal mask hides it from what is real."""

    def __init__(self, group: Group, start: int, device: torch.device, dtype: torch.dtype) -> None:
        lengths = torch.tensor([len(sequence) for sequence in group.sequences])
        self.count = len(lengths)
        self._stems = group.stems
        self._tokens = slice(start, start + int(lengths.sum()))
        self._width = int(lengths.max())
        self._before = before = group.before
        steps = torch.arange(self._width)
        real = steps < lengths[:, None]
        firsts = lengths.cumsum(0) - lengths
        self.ends = (start + firsts + lengths - 1).to(device)
        self._into = self._out_of = None
        if not bool(real.all()):
            self._into = (firsts[:, None] + steps.where(real, 0)).flatten().to(device)
            self._out_of = real.flatten().nonzero().squeeze(1).to(device)
        self._mask = self._end_mask = None
        # A causal pass leaves half of the pairs out, where a mask computes all. For it the places
        # before the span are given queries too, which nobody reads.
        self._led = 0 < before < self._width and self._width >= LED
        if before and not self._led:
            seen = torch.ones(self._width, before + self._width, dtype=torch.bool).tril(before)
            self._mask = _additive(seen, device, dtype)
        if self._into is not None:
            seen = torch.arange(before + self._width) < before + lengths[:, None]
            self._end_mask = _additive(seen[:, None, None], device, dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Return the attended values of the span's tokens, shape (tokens, heads, head width)."""
        asked = self._padded(query)
        if self._led:
            asked = pad(asked, (0, 0, self._before, 0))
        found = _attention(
            asked,
            *self._whole(key, value, layer),
            attn_mask=self._mask,
            is_causal=self._mask is None,
        )
        found = found[:, :, found.shape[2] - self._width :]
        flat = found.transpose(1, 2).flatten(0, 1)
        return flat if self._out_of is None else flat[self._out_of]

    def attend_at_ends(
        self, first: int, query: Tensor, key: Tensor, value: Tensor, layer: int
    ) -> Tensor:
        """Return the attended values of the last tokens, whose queries begin at `first`."""
        found = _attention(
            query[first : first + self.count, :, None],
            *self._whole(key, value, layer),
            attn_mask=self._end_mask,
        )
        return found.squeeze(2)

    def _whole(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return keys and values with those of the stems before them."""
        own = self._padded(key), self._padded(value)
        if not self._stems:
            return own
        before = [stem.layers[layer] for stem in self._stems]
        size = (self.count, -1, -1, -1)
        return (
            torch.cat([*(k.expand(size) for k, _ in before), own[0]], 2),
            torch.cat([*(v.expand(size) for _, v in before), own[1]], 2),
        )

    def _padded(self, packed: Tensor) -> Tensor:
        mine = packed[self._tokens]
        if self._into is not None:
            mine = mine[self._into]
        return mine.view(self.count, self._width, *mine.shape[1:]).transpose(1, 2)


def _attention(query: Tensor, key: Tensor, value: Tensor, **masks: Any) -> Tensor:  # noqa: ANN401
    """Return the attention of grouped heads."""
    if query.device.type != "cpu":
        # With a mask, the fast kernels of other devices do not take heads in groups.
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        return scaled_dot_product_attention(query, key, value, **masks)
    return scaled_dot_product_attention(query, key, value, enable_gqa=True, **masks)


def _additive(seen: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a mask to add: 0 where seen, −inf elsewhere; a boolean one is turned at each call."""
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf).to(device)
