"""What sequences begin with in common: found in their token ids, computed once, kept for a while.

Only identical ids are shared, never identical text: the characters at a seam may merge into one
token with what follows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_retrieval.local.network import Qwen3Network, Stem

Ids = tuple[int, ...]
Path = tuple[Ids, ...]
"""Beginnings that follow each other: the prompt's, then the query's."""

CAPACITY_BYTES = 256 << 20
"""What the stems of a replica may take; with the 0.6B model in float32 about 1,100 tokens."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A sequence as beginnings that it shares, and the tokens of its own (at least one)."""

    path: Path
    own: Sequence[int]

    def __len__(self) -> int:
        """Return the number of tokens of its own: what it costs."""
        return len(self.own)

    @property
    def ids(self) -> list[int]:
        """The whole sequence."""
        return [*chain.from_iterable(self.path), *self.own]


def branches(
    sequences: Sequence[Sequence[int]], trunk: Sequence[int], families: Sequence[object]
) -> list[Branch]:
    """Return each sequence split into trunk, family's beginning, and the rest.

    Args:
        sequences: token ids.
        trunk: ids that all may begin with; whoever does not gets no path. Its last token is left
            to the sequences, since it may have merged with what follows.
        families: who may share more than the trunk, such as the documents of one query; a family
            of one shares nothing.
    """
    root = tuple(trunk[:-1])
    members: dict[object, list[int]] = {}
    for place, (ids, family) in enumerate(zip(sequences, families, strict=True)):
        if root and len(ids) > len(root) and tuple(ids[: len(root)]) == root:
            members.setdefault(family, []).append(place)
    found = [Branch((), ids) for ids in sequences]
    for places in members.values():
        common = _common(sequences[places[0]], [sequences[place] for place in places[1:]])
        path = (root, tuple(common[len(root) :])) if len(common) > len(root) else (root,)
        taken = sum(map(len, path))
        for place in places:
            ids = sequences[place]
            if _pays(taken, len(ids) - taken):
                found[place] = Branch(path, ids[taken:])
    return found


def _common(first: Sequence[int], others: Sequence[Sequence[int]]) -> Sequence[int]:
    """Return the longest common beginning, which leaves each at least its last token."""
    if not others:
        return ()
    length = min(len(first), *map(len, others)) - 1
    for other in others:
        while first[:length] != other[:length]:
            length -= 1
    return first[:length]


def _pays(shared: int, own: int) -> bool:
    """Say whether sharing costs less than it saves.

    A beginning that is not part of the sequence takes a mask, and attention then computes the half
    that a causal pass leaves out: some own² against the linear layers of the shared tokens.
    """
    return own * own <= 8192 * shared


def waves(items: Sequence[Branch], room: int) -> list[list[int]]:
    """Return the items' places in parts; what the items of one begin with has `room` tokens."""
    families: dict[Path, list[int]] = {}
    for place, item in enumerate(items):
        families.setdefault(item.path, []).append(place)
    found: list[list[int]] = [[]]
    taken = 0
    for path, places in families.items():
        needed = len(path[-1]) if path else 0
        if found[-1] and taken + needed > room:
            found.append([])
            taken = 0
        taken += needed
        found[-1].extend(places)
    return found


class Trunks:
    """The stems of one replica; the least recently used are forgotten when they take too much."""

    def __init__(self, network: Qwen3Network, capacity: int = CAPACITY_BYTES) -> None:
        """Keep at most `capacity` bytes beside those in use."""
        self._network = network
        self._capacity = capacity
        self._kept: OrderedDict[Path, Stem] = OrderedDict()

    def stems(self, paths: Iterable[Path]) -> dict[Path, tuple[Stem, ...]]:
        """Return the stems along each path, computing those that are not at hand."""
        wanted = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        held = {path: self._kept[path] for path in wanted if path in self._kept}
        missing: dict[Path, list[Path]] = {}
        for path in sorted(wanted - held.keys(), key=len):
            missing.setdefault(path[:-1], []).append(path)
        for before, new in missing.items():
            parents = tuple(held[before[:depth]] for depth in range(1, len(before) + 1))
            computed = self._network.stems(parents, [path[-1] for path in new])
            held.update(zip(new, computed, strict=True))
        self._keep(held)
        return {
            path: tuple(held[path[:depth]] for depth in range(1, len(path) + 1)) for path in paths
        }

    def forget(self) -> None:
        """Let all of them go, when memory is short."""
        self._kept.clear()

    def _keep(self, held: dict[Path, Stem]) -> None:
        # Those that others follow come last: they are forgotten last.
        for path in sorted(held, key=len, reverse=True):
            self._kept[path] = held[path]
            self._kept.move_to_end(path)
        size = sum(stem.nbytes for stem in self._kept.values())
        while size > self._capacity:
            size -= self._kept.popitem(last=False)[1].nbytes
