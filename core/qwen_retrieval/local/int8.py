"""Linear layers in 8-bit integers on a CPU: weights by output channel, activations by token.

A token's scale depends on that token alone, so a result does not depend on what else is in the
batch. A few input channels may stay in float32, as in LLM.int8() (Dettmers et al.,
arXiv:2208.07339), and a layer's input may be rounded to 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from qwen_retrieval.local.int8_product import FULL, PackedBytes, Way

Rows = tuple[Tensor, Tensor, Tensor | None]
"""Bytes around 128, the scale of each row, and the channels that stay as they are, if any. In 16
bits, the upper bytes of all rows stand before the lower ones."""


class Int8Linear(Module):
    """A linear layer without bias whose product is computed in 8-bit integers."""

    def __init__(self, weight: Tensor, whole: Tensor | None, way: Way, largest: int) -> None:
        """Quantise a float weight of shape (out, in) symmetrically, row by row.

        Args:
            weight: stays as it is.
            whole: places of the input channels that are left in float32, if any.
            way: how it is multiplied.
            largest: what a weight may be in that way.
        """
        super().__init__()
        self.whole = whole
        rest = weight.float()
        if whole is not None:
            self._float = rest[:, whole].T.contiguous()
            rest = rest.index_fill(1, whole, 0.0)
        scales = rest.abs().amax(1).clamp_min(1e-12) / largest
        self._bytes = PackedBytes((rest / scales[:, None]).round_(), scales, way)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the product of float rows, shape (..., out)."""
        flat = rows.flatten(0, -2)
        mine = flat if self.whole is None else flat.clone()
        return self.product(self.rounded(mine)).view(*rows.shape[:-1], -1)

    def rounded(self, rows: Tensor) -> Rows:
        """Return rows for `product`, also of others of this kind with the same `whole`.

        Channels that stay as they are become 0 in the rows given: a copy would cost more than that.
        """
        whole = None if self.whole is None else rows[:, self.whole]
        if self.whole is not None:
            rows.index_fill_(1, self.whole, 0.0)
        steps, scales = in_steps(rows)
        return self._bytes_of(steps), scales, whole

    def product(self, rows: Rows) -> Tensor:
        """Return the product of what `rounded` made, shape (tokens, out)."""
        rounded, scales, whole = rows
        found = self._joined(self._bytes.product(rounded)).mul_(scales)
        return found if whole is None else found.addmm_(whole, self._float)

    def _bytes_of(self, steps: Tensor) -> Tensor:
        return _as_bytes(steps.round_())

    def _joined(self, found: Tensor) -> Tensor:
        return found


class FineInt8Linear(Int8Linear):
    """One whose input is rounded to 16 bits: each number becomes two bytes, at twice the cost.

    Channels are left alone here too, for the sake of the weights, which stay in one byte.
    """

    def _bytes_of(self, steps: Tensor) -> Tensor:
        coarse = steps.round()
        fine = steps.sub_(coarse).mul_(2 * FULL).round_()
        return torch.cat([_as_bytes(coarse), _as_bytes(fine)])

    def _joined(self, found: Tensor) -> Tensor:
        coarse, fine = found.chunk(2)
        return coarse.add_(fine, alpha=0.5 / FULL)


def in_steps(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row in units of a step of its own, within ±127, and that step."""
    largest = torch.maximum(rows.amax(-1, keepdim=True), rows.amin(-1, keepdim=True).neg_())
    scales = largest.clamp_min_(1e-12).div_(FULL)
    return rows.div(scales), scales


def _as_bytes(rounded: Tensor) -> Tensor:
    # Adds 128: torch turns floats into signed bytes several times as fast as into unsigned ones.
    return rounded.to(torch.int8).bitwise_xor_(-128).view(torch.uint8)


def products(rows: Tensor, layers: Sequence[Any]) -> list[Tensor]:
    """Return what each layer makes of rows, which are used up: see `Int8Linear.rounded`."""
    first = layers[0]
    if isinstance(first, Int8Linear):
        shared = first.rounded(rows)
        return [layer.product(shared) for layer in layers]
    return [layer(rows) for layer in layers]
