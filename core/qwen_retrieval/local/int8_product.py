"""The product of bytes on a CPU: exact, and by whichever of oneDNN's ways is fastest here.

The operators are those that PyTorch's own compiler uses and does not document; they are tried
before they are trusted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from qwen_retrieval.errors import SettingsError

_log = logging.getLogger(__name__)

ZERO = 128
"""The byte that stands for 0 in rows."""
FULL, HALF = 127, 63
"""Largest weight in 8 bits, and in 7."""
OUT, IN = 3072, 1024
"""The shape of the matrix that is tried: one of a 0.6B model's layer."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of oneDNN's ways to the same numbers.

    Attributes:
        pack: takes signed bytes, shape (out, in), and the scales of their rows.
        multiply: takes unsigned bytes, shape (tokens, in), what `pack` made, the scales and zeros.
    """

    pack: Callable[[Tensor, Tensor], Tensor]
    multiply: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class PackedBytes:
    """A matrix of signed bytes, and the scale of each of its rows."""

    def __init__(self, rounded: Tensor, scales: Tensor, way: Way) -> None:
        """Pack whole numbers, shape (out, in), that are no larger than `fastest_exact` allows."""
        self._way, self._scales = way, scales
        self._zeros = torch.zeros(len(rounded), dtype=torch.int32)
        self._packed = way.pack(rounded.to(torch.int8), scales)

    def product(self, rows: Tensor) -> Tensor:
        """Return float32 of shape (tokens, out): (bytes − 128) times the matrix, scaled."""
        return self._way.multiply(rows, self._packed, self._scales, self._zeros)


def _pack_matrix(weight: Tensor, _: Tensor) -> Tensor:
    packed: Tensor = torch.ops.onednn.qlinear_prepack(weight, None)
    return packed


def _multiply_matrix(rows: Tensor, packed: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    found: Tensor = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, ZERO, packed, scales, zeros,
        None, 1.0, 0, torch.float32, "none", [], "",
    )  # fmt: skip
    return found


_ONCE = ([1, 1], [0, 0], [1, 1], 1)
"""Stride, padding, dilation and groups."""


def _pack_kernel(weight: Tensor, scales: Tensor) -> Tensor:
    packed: Tensor = torch.ops.onednn.qconv_prepack(
        weight[:, :, None, None], scales, 1.0, ZERO, *_ONCE, None
    )
    return packed


def _multiply_kernel(rows: Tensor, packed: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Take tokens for the pixels of a picture one pixel wide, and inputs for its channels."""
    operators = torch.ops.onednn
    new = hasattr(operators, "qconv_pointwise")  # since torch 2.8
    convolution = operators.qconv_pointwise if new else operators.qconv2d_pointwise
    found: Tensor = convolution(
        rows.T[None, :, :, None], 1.0, ZERO, packed, scales, zeros,
        None, *_ONCE, 1.0, 0, torch.float32, "none", [], "",
    )  # fmt: skip
    return found[0, :, :, 0].T


WAYS = {
    "matrix products": Way(_pack_matrix, _multiply_matrix),
    "convolutions": Way(_pack_kernel, _multiply_kernel),
}


@cache
def fastest_exact() -> tuple[Way, int]:
    """Return the fastest way that is exact here, and the largest weight that it adds up exactly.

    CPUs without VNNI add pairs of products in 16 bits, which saturate: 255 × 127 × 2 > 32,767.
    Weights of seven bits fit. Without VNNI, matrix products pack the weights anew at every call,
    and convolutions do not: 1.1 times as fast at 1,024 tokens, 1.5 times at 64, 2.5 times at 16
    (AMD EPYC, AVX2).

    Raises:
        SettingsError: this torch or this machine has no such product, or a wrong one.
    """
    for largest in (FULL, HALF):
        exact = {name: way for name, way in WAYS.items() if _is_exact(way, largest)}
        if exact:
            name = _fastest(exact)
            _log.info("8-bit products are computed as %s, with weights up to %d", name, largest)
            return exact[name], largest
    raise SettingsError(
        "precision is 'int8', but this build of torch or this CPU has no exact 8-bit product;"
        " leave precision out."
    )


def _is_exact(way: Way, largest: int) -> bool:
    """Try the largest numbers, and any, with rows of different scales in batches of several sizes.

    The products stay below 2²⁴ and the scales are powers of two, so float32 holds them exactly.
    """
    random = torch.Generator().manual_seed(0)
    weights = torch.randint(-largest, largest + 1, (OUT, IN), generator=random)
    weights[:2] = torch.tensor([[largest], [-largest]])
    scales = 0.5 ** (torch.arange(OUT) % 3)
    rows = torch.randint(256, (70, IN), generator=random, dtype=torch.uint8)
    rows[0] = 255
    expected = ((rows.double() - ZERO) @ weights.T.double()).float() * scales
    try:
        packed = PackedBytes(weights, scales, way)
        return all(torch.equal(packed.product(rows[:n]), expected[:n]) for n in (1, 3, 70))
    except (AttributeError, RuntimeError):  # not in every build of torch, not on every CPU
        return False


def _fastest(ways: dict[str, Way]) -> str:
    """Return the name of the fastest, tried by turns over batches of ever other sizes.

    Takes some 100 ms.
    """
    packed = {
        name: PackedBytes(torch.ones(OUT, IN), torch.ones(OUT), way) for name, way in ways.items()
    }
    seconds = dict.fromkeys(ways, float("inf"))
    for more in range(3) if len(ways) > 1 else ():
        batches = [torch.zeros(n + more, IN, dtype=torch.uint8) for n in (15, 60, 400)]
        for name, matrix in packed.items():
            started = time.perf_counter()
            for rows in batches:
                matrix.product(rows)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return min(seconds, key=seconds.__getitem__)
