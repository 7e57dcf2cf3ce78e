"""Weights mapped from their file, made float32 one matrix at a time.

A checkpoint in 16 bits is mapped, not read; each matrix is widened by itself and its part of the
file given back, so the weights never lie in memory twice. The vocabulary's rows stay as they are
stored: a text reads few of them, and a row widened when it is read is the same row.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch.nn.functional import linear

from qwen_retrieval.local.half import HalfLinear, fits_half

_log = logging.getLogger(__name__)

CLEARLY_FASTER = 1.1
"""How many times faster products have to be for their weights to be copied into another order."""


Form = Literal["rows", "columns", "half"]
"""How a matrix is stored: as torch does, transposed, or as a `HalfLinear`."""


def widen(model: Any) -> None:  # noqa: ANN401 - transformers is untyped
    """Turn a loaded `Qwen3Model` on a CPU to float32 in place, all but its vocabulary."""
    files = MappedFiles()
    for layer in (*model.layers, model.norm):
        widen_layer(layer, files, fastest_form())


@torch.no_grad()
def widen_layer(layer: Module, files: MappedFiles, form: Form) -> None:
    """Turn one layer to float32, its matrices in the form asked for if they fit into it."""
    for owner in list(layer.modules()):
        for name, child in list(owner.named_children()):
            if form == "half" and _is_plain(child) and fits_half(child.weight):
                setattr(owner, name, HalfLinear(child.weight))
                files.give_back(child.weight)
    for weight in layer.parameters():
        old = weight.data
        new = old.float()
        if form == "columns" and new.dim() == 2:  # noqa: PLR2004 - a matrix
            new = new.T.contiguous().T
        if new is not old:
            weight.data = new
            files.give_back(old)


def _is_plain(module: Module) -> TypeGuard[Linear]:
    return type(module) is Linear and module.bias is None


@cache
def fastest_form() -> Form:
    """Return the form of weights that float32 products are clearly fastest with.

    Measured once per process on products of the shape of a 0.6B model's layer; takes some 200 ms.
    The numbers that come out are the same up to rounding.
    """
    rows, weight = torch.rand(256, 1024), torch.rand(3072, 1024)
    products: dict[Form, Callable[[Tensor], Tensor]] = {
        "rows": partial(linear, weight=weight),
        "columns": partial(linear, weight=weight.T.contiguous().T),
    }
    with suppress(AttributeError, RuntimeError):  # not in every build of torch, not on every CPU
        half = HalfLinear(weight)
        if torch.allclose(half(rows), rows @ weight.half().float().T, rtol=1e-4):
            products["half"] = half
    seconds: dict[Form, float] = {}
    for _ in range(5):
        for form, product in products.items():
            started = time.perf_counter()
            product(rows)
            took = time.perf_counter() - started
            seconds[form] = min(took, seconds.get(form, took))
    gains = {form: seconds["rows"] / took for form, took in seconds.items()}
    best = max(gains, key=gains.__getitem__)
    chosen = best if gains[best] >= CLEARLY_FASTER else "rows"
    _log.info(
        "float32 products are %s times as fast with weights as %s: %s it is",
        [round(gain, 2) for gain in gains.values()], list(gains), chosen,
    )  # fmt: skip
    return chosen


class MappedFiles:
    """Where files were mapped into this process when this was made; nowhere but on Linux."""

    def __init__(self) -> None:
        table = Path("/proc/self/maps")
        text = table.read_text() if table.exists() else ""
        # address-address permissions offset device inode path
        mapped = (line.split(maxsplit=1)[0] for line in text.splitlines() if "/" in line)
        self._ranges = [(int(a, 16), int(b, 16)) for a, b in (each.split("-") for each in mapped)]

    def give_back(self, tensor: Tensor) -> None:
        """Return a mapped tensor's pages to the system; reading it again reads the file."""
        first, last = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        if not any(start <= first and last <= end for start, end in self._ranges):
            return
        first, last = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, last // mmap.PAGESIZE
        size = last * mmap.PAGESIZE - first
        if size > 0:
            advise = ctypes.CDLL(None).madvise
            advise(ctypes.c_void_p(first), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
