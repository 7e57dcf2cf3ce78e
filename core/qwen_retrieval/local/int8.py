"""Linear layers in 8-bit integers on a CPU: weights by output channel, activations by token.

A token's scale depends on that token alone, so a result does not depend on what else is in the
batch. The product is oneDNN's, by an operator that PyTorch's own compiler uses and does not
document; `levels` tries it before it is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module

from qwen_retrieval.errors import SettingsError

FULL, HALF = 127, 63
"""Largest weight in 8 bits, and in 7."""
PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
               "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip


class Int8Linear(Module):
    """A linear layer without bias whose product is computed in 8-bit integers."""

    def __init__(self, weight: Tensor, largest: int) -> None:
        """Quantise a float weight of shape (out, in) symmetrically, row by row."""
        super().__init__()
        scales = weight.float().abs().amax(1).clamp_min(1e-12) / largest
        rounded = (weight.float() / scales[:, None]).round().to(torch.int8)
        self._scales = scales
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(len(scales), dtype=torch.int32)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the product of float rows, shape (tokens, out)."""
        return self.product(*quantized(rows))

    def product(self, rounded: Tensor, scales: Tensor) -> Tensor:
        """Return the product of rows from `quantized`, which several layers may share."""
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 128, self._packed, self._scales, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return found.mul_(scales)


def quantized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return float rows as unsigned bytes around 128, and the scale of each, shape (tokens, 1)."""
    scales = rows.abs().amax(-1, keepdim=True).clamp_min(1e-12) / FULL
    return (rows / scales).round_().add_(128).to(torch.uint8), scales


def products(rows: Tensor, layers: Sequence[Any]) -> list[Tensor]:
    """Return what each layer makes of the same rows."""
    if all(isinstance(layer, Int8Linear) for layer in layers):
        shared = quantized(rows)
        return [layer.product(*shared) for layer in layers]
    return [layer(rows) for layer in layers]


def to_int8(model: Any) -> None:  # noqa: ANN401 - transformers' modules are untyped
    """Replace the linear layers of a loaded `Qwen3Model`, one at a time, in place.

    Raises:
        SettingsError: the model has a layer that is no plain linear one, such as LoRA's.
    """
    largest = levels()
    for layer in model.layers:
        for path in PROJECTIONS:
            owner, name = layer.get_submodule(path.split(".")[0]), path.split(".")[1]
            linear = getattr(owner, name)
            if type(linear) is not Linear or linear.bias is not None:
                raise SettingsError(
                    f"precision is 'int8', but {path} is a {type(linear).__name__}; merge adapters"
                    " into the model first, or leave precision out."
                )
            setattr(owner, name, Int8Linear(linear.weight.detach(), largest))


@cache
def levels() -> int:
    """Return the largest weight whose products this machine adds up exactly.

    CPUs without VNNI add pairs of products in 16 bits, which saturate: 255 × 127 × 2 > 32,767.
    Weights of seven bits fit.

    Raises:
        SettingsError: this torch or this machine has no such product, or a wrong one.
    """
    for largest in (FULL, HALF):
        if _exact(largest):
            return largest
    raise SettingsError(
        "precision is 'int8', but this build of torch or this CPU has no exact 8-bit product;"
        " leave precision out."
    )


def _exact(largest: int) -> bool:
    weights = torch.full((32, 64), largest, dtype=torch.int8)
    rows = torch.full((3, 64), 255, dtype=torch.uint8)
    try:
        packed = torch.ops.onednn.qlinear_prepack(weights, None)
        found = torch.ops.onednn.qlinear_pointwise(
            rows, 1.0, 128, packed, torch.ones(32), torch.zeros(32, dtype=torch.int32),
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
    except (AttributeError, RuntimeError):
        return False
    return bool((found == 64 * 127 * largest).all())
