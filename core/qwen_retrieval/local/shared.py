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

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - untyped
        from qwen_retrieval.local.network import (  # noqa: PLC0415 - loads torch
            Qwen3Network,
            decoder_of,
        )

        self._network = Qwen3Network(decoder_of(inner))
        self._trunks = Trunks(self._network)

    @classmethod
    def of(
        cls,
        inner: Any,  # noqa: ANN401 - transformers' models are untyped
        name: str,
        *,
        changing: bool,
        unusual: str | None,
        told: bool = False,
    ) -> Self | None:
        """Return it for a loaded model, or None, with a line in the log that says why.

        Args:
            inner: transformers' model.
            name: for the log.
            changing: whether others hold the model too and may train or adapt it between calls;
                it is then asked for at each call, and nothing computed before is kept.
            unusual: what stands behind the decoder and is not known, if anything.
            told: whether the log has it already.
        """
        from qwen_retrieval.local.network import unknown_to_network  # noqa: PLC0415 - loads torch

        obstacle = unknown_to_network(inner) or unusual
        if obstacle is None:
            return cls(inner)
        if not told:
            _log.info(
                "%s has %s, so sentence-transformers computes it as it is, without shared"
                " beginnings",
                name, obstacle,
            )  # fmt: skip
        if not changing and len({weight.dtype for weight in inner.parameters()}) > 1:
            inner.float()  # the vocabulary too, which only the own forward pass widens by the row
        return None

    def branches(
        self, sequences: Sequence[Sequence[int]], trunk: Sequence[int], families: Sequence[object]
    ) -> list[Branch]:
        """Return a call's sequences split into what they share and what is their own."""
        return branches(sequences, trunk, families)

    def waves(self, items: Sequence[Branch]) -> list[list[int]]:
        """Return the items' places in parts whose beginnings fit into memory together, in order."""
        return waves(items, CAPACITY_BYTES // 2 // self._network.bytes_per_token)

    def last_hidden(self, items: Sequence[Branch]) -> Tensor:
        """Return the normed hidden state at the end of each item, shape (n, width)."""
        try:
            return self._computed(items)
        except (MemoryError, RuntimeError):
            self._trunks.forget()  # it may be memory that ended
            if len(items) > 1 or not items[0].path:
                raise
        return self._computed([Branch((), items[0].ids)])  # which takes no copies of a beginning

    def _computed(self, items: Sequence[Branch]) -> Tensor:
        from qwen_retrieval.local.attention import Group  # noqa: PLC0415 - loads torch

        groups: dict[Path, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(item.path, []).append(place)
        stems = self._trunks.stems(groups)
        rows = self._network.last_hidden(
            [Group(stems[path], [items[p].own for p in group]) for path, group in groups.items()]
        )
        order = [place for group in groups.values() for place in group]
        return rows[sorted(range(len(order)), key=order.__getitem__)]
