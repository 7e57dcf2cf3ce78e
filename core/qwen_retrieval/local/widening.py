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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch.nn.functional import linear

from qwen_retrieval.local.half import HalfLinear, fits_half
from qwen_retrieval.local.memory import give_freed_memory_back

_log = logging.getLogger(__name__)

CLEARLY_FASTER = 1.1
"""How many times faster products have to be for their weights to be stored in another order."""


@dataclass(frozen=True, slots=True)
class Forms:
    """How matrices are stored, other than row by row as torch does.

    Attributes:
        half: as `HalfLinear`, those that fit into it.
        columns: transposed, all others.
    """

    half: bool = False
    columns: bool = False


def widen(model: Any) -> None:  # noqa: ANN401 - transformers is untyped
    """Turn a loaded `Qwen3Model` on a CPU to float32 in place, all but its vocabulary."""
    files = MappedFiles()
    for layer in (*model.layers, model.norm):
        widen_layer(layer, files, fastest_forms())
        give_freed_memory_back()


@torch.no_grad()
def widen_layer(layer: Module, files: MappedFiles, forms: Forms) -> None:
    """Turn one layer to float32, its matrices into the forms asked for."""
    if forms.half:
        _pack_halves(layer, files)
    for weight in layer.parameters():
        old = weight.data
        new = old.float()
        if forms.columns and new.dim() == 2:  # noqa: PLR2004 - a matrix
            new = new.T.contiguous().T
        if new is not old:
            weight.data = new
            files.give_back(old)


def _pack_halves(layer: Module, files: MappedFiles) -> None:
    """Pack the matrices that fit; FBGEMM packs one on one thread, so several at a time."""
    places = [
        (owner, name, child.weight.detach())
        for owner in layer.modules()
        for name, child in owner.named_children()
        if _is_plain(child) and fits_half(child.weight)
    ]
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        packed = threads.map(HalfLinear, [weight for _, _, weight in places])
        for (owner, name, weight), half in zip(places, packed, strict=True):
            setattr(owner, name, half)
            files.give_back(weight)


def _is_plain(module: Module) -> TypeGuard[Linear]:
    return type(module) is Linear and module.bias is None


@cache
def fastest_forms() -> Forms:
    """Return the forms that float32 products gain by.

    Measured once per process on products of the shape of a 0.6B model's layer; takes some 200 ms.
    The numbers that come out are the same up to rounding.
    """
    random = torch.Generator().manual_seed(0)  # not the process's own, which users may have seeded
    rows, weight = (torch.rand(n, 1024, generator=random) for n in (256, 3072))
    products: dict[str, Callable[[Tensor], Tensor]] = {
        "rows": partial(linear, weight=weight),
        "columns": partial(linear, weight=weight.T.contiguous().T),
    }
    with suppress(AttributeError, RuntimeError):  # not in every build of torch, not on every CPU
        half = HalfLinear(weight)
        if torch.allclose(half(rows), rows @ weight.half().float().T, rtol=1e-4):
            products["half"] = half
    seconds = dict.fromkeys(products, float("inf"))
    for _ in range(5):
        for form, product in products.items():
            started = time.perf_counter()
            product(rows)
            seconds[form] = min(seconds[form], time.perf_counter() - started)
    gains = {form: seconds["rows"] / took for form, took in seconds.items()}
    _log.info(
        "float32 products are %s times as fast with weights as %s",
        [round(gain, 2) for gain in gains.values()], list(gains),
    )  # fmt: skip
    return Forms(
        half=gains.get("half", 0) >= max(1, gains["columns"]),  # half the memory is worth a tie
        columns=gains["columns"] >= CLEARLY_FASTER,
    )


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
