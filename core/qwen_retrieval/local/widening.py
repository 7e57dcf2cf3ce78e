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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn import Module

_log = logging.getLogger(__name__)

CLEARLY_FASTER = 1.1
"""How many times faster products have to be for their weights to be copied into another order."""


def widen(model: Any) -> None:  # noqa: ANN401 - transformers is untyped
    """Turn a loaded `Qwen3Model` on a CPU to float32 in place, all but its vocabulary."""
    files = MappedFiles()
    for layer in (*model.layers, model.norm):
        widen_layer(layer, files, reorder=by_column())


@torch.no_grad()
def widen_layer(layer: Module, files: MappedFiles, *, reorder: bool) -> None:
    """Turn one layer's weights to float32, and the matrices to column order if asked for."""
    for weight in layer.parameters():
        old = weight.data
        new = old.float()
        if reorder and new.dim() == 2:  # noqa: PLR2004 - a matrix
            new = new.T.contiguous().T
        if new is not old:
            weight.data = new
            files.give_back(old)


@cache
def by_column() -> bool:
    """Say whether products are clearly faster with weights stored column by column.

    Measured once per process on products of the shape of a 0.6B model's layer, few tokens, where it
    matters most; takes some 30 ms. The numbers that come out are the same up to rounding.
    """
    tokens, weight = torch.rand(128, 1024), torch.rand(3072, 1024)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    orders = {False: weight, True: weight.T.contiguous().T}
    for _ in range(9):
        for order, arranged in orders.items():
            started = time.perf_counter()
            torch.nn.functional.linear(tokens, arranged)
            seconds[order].append(time.perf_counter() - started)
    gain = min(seconds[False]) / min(seconds[True])
    _log.info("float32 products are %.2f times as fast with weights by column", gain)
    return gain >= CLEARLY_FASTER


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
