"""A Qwen3 model computed by its own forward pass, where that knows the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from qwen_retrieval.local.prefix import CAPACITY_BYTES, Branch, Path, Trunks, branches, waves

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)


class SharedForward:
    """Computes the last hidden state of sequences, each shared beginning once."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - transformers' models are untyped
        from qwen_retrieval.local.network import Qwen3Network  # noqa: PLC0415 - loads torch

        self._network = Qwen3Network(getattr(inner, "model", inner))
        self._trunks = Trunks(self._network)

    @classmethod
    def of(cls, inner: Any, name: str, obstacle: str | None = None) -> Self | None:  # noqa: ANN401
        """Return it for a loaded model, or None, with a line in the log that says why."""
        from qwen_retrieval.local.network import unknown_to_network  # noqa: PLC0415 - loads torch

        obstacle = obstacle if obstacle is not None else unknown_to_network(inner)
        if obstacle is None:
            return cls(inner)
        _log.info(
            "%s has %s, so sentence-transformers computes it as it is, without shared prefixes",
            name, obstacle,
        )  # fmt: skip
        return None

    def branches(
        self, sequences: Sequence[Sequence[int]], trunk: Sequence[int], families: Sequence[object]
    ) -> list[Branch]:
        """Return the sequences split into what they share and what is their own."""
        return branches(sequences, trunk, families)

    def waves(self, items: Sequence[Branch]) -> list[list[int]]:
        """Return the items' places in parts, each to be computed before the next begins."""
        return waves(items, CAPACITY_BYTES // 2 // self._network.bytes_per_token)

    def last_hidden(self, items: Sequence[Branch]) -> Tensor:
        """Return the normed hidden state at the end of each item, shape (n, width)."""
        from qwen_retrieval.local.network import Group  # noqa: PLC0415 - loads torch

        groups: dict[Path, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(item.path, []).append(place)
        try:
            stems = self._trunks.stems(groups)
            rows = self._network.last_hidden(
                [
                    Group(stems[path], [items[p].own for p in group])
                    for path, group in groups.items()
                ]
            )
        except (MemoryError, RuntimeError):
            self._trunks.forget()  # it may be memory that ended
            raise
        order = [place for group in groups.values() for place in group]
        return rows[sorted(range(len(order)), key=order.__getitem__)]
