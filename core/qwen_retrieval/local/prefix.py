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
    from qwen_retrieval.local.attention import Stem
    from qwen_retrieval.local.network import Qwen3Network

Ids = tuple[int, ...]
Path = tuple[Ids, ...]
"""Beginnings that follow each other: the prompt's, then the query's."""

CAPACITY_BYTES = 256 << 20
"""What the stems of a replica may take; with the 0.6B model in float32 about 1,100 tokens.

Those of the last batch are kept in any case, since the next may begin with them: 656 MiB after a
query of 3,000 tokens, until another call.
"""


@dataclass(frozen=True, slots=True)
class Branch:
    """A sequence as beginnings that it shares, and the tokens of its own (at least one)."""

    path: Path
    own: Sequence[int]

    @property
    def cost(self) -> int:
        """What it takes of a batch's tokens: its own, and a part of those before them.

        Of a shared token only keys and values are copied, an eighth of what one of its own takes.
        """
        return len(self.own) + sum(map(len, self.path)) // 8

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
        if root and tuple(ids[: len(root)]) == root:
            members.setdefault(family, []).append(place)
    found = [Branch((), ids) for ids in sequences]
    for places in members.values():
        common = _common([sequences[place] for place in places])
        path = (root, tuple(common[len(root) :])) if len(common) > len(root) else (root,)
        shared = sum(map(len, path))
        for place in places:
            if len(sequences[place]) > shared:  # it needs a token of its own
                found[place] = Branch(path, sequences[place][shared:])
    return found


def _common(sequences: list[Sequence[int]]) -> Sequence[int]:
    """Return the longest common beginning, which leaves each at least its last token."""
    if len(sequences) == 1:
        return ()
    first, *others = sequences
    length = min(map(len, sequences)) - 1
    for other in others:
        pairs = enumerate(zip(first[:length], other, strict=False))
        length = next((place for place, (mine, its) in pairs if mine != its), length)
    return first[:length]


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
    """The stems of one replica; beyond a number of tokens, those used longest ago are forgotten."""

    def __init__(self, network: Qwen3Network) -> None:
        """Keep what fits into `CAPACITY_BYTES`, and in any case what the last batch used."""
        self._network = network
        self._room = CAPACITY_BYTES // network.bytes_per_token
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
        tokens = sum(stem.tokens for stem in self._kept.values())
        while tokens > self._room and len(self._kept) > len(held):
            tokens -= self._kept.popitem(last=False)[1].tokens
