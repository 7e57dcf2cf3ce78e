"""Linear layers whose weights lie in 16 bits and are multiplied in float32.

FBGEMM widens the weights in the processor's registers. On CPUs that torch's own matrix library is
not made for, such as AMD's, its products are clearly faster, those of a few tokens several times,
and the weights take half the memory. The operator is one of torch's that is not documented;
`qwen_retrieval.local.widening` tries it before it is trusted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

LOST = 4 * 2.0**-24
"""How much of a row may be lost, next to the row: a few times what float32 rounds a number by."""

AT_A_TIME = 256
"""Rows that are looked at together, to stay in the processor's cache: twice as fast as all."""


class HalfLinear(Module):
    """A linear layer without bias whose weights are float16, and all else float32."""

    def __init__(self, weight: Tensor) -> None:
        """Copy a weight of shape (out, in), which `fits_half` should have allowed."""
        super().__init__()
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the product of float32 rows, shape (..., out)."""
        found: Tensor = torch.ops.quantized.linear_dynamic_fp16(rows, self._packed)
        return found


def fits_half(weight: Tensor) -> bool:
    """Say whether float16 holds a matrix as well as its products in float32 can tell.

    Weights of bfloat16 checkpoints fit; only very small ones (below 2⁻¹⁷) lose a part. What an
    output loses is at most the norm of its row's losses times that of the input (Cauchy, Schwarz),
    and this is held to the size of float32's own rounding.
    """
    return all(_rows_fit(rows.float()) for rows in torch.split(weight, AT_A_TIME))


def _rows_fit(wide: Tensor) -> bool:
    lost = (wide - wide.half().float()).norm(dim=1)
    return bool((lost <= LOST * wide.norm(dim=1)).all())  # also False for what overflows
