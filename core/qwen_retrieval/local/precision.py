"""Which number format computes fastest on a device, found by measuring."""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

CLEARLY_FASTER = 1.3
"""How many times faster than float32 another format has to be, since it costs accuracy."""


@cache
def fastest_dtype(device: str) -> torch.dtype:
    """Return the dtype to load weights in on this device, measured once per process.

    Checkpoints ask for bfloat16 whatever the machine; on CPUs without matrix units for it that is
    about half as fast as float32. A product of the shape of a 0.6B model's layer decides; float32
    stays unless bfloat16 is clearly faster. float16 is never chosen: these models' values leave its
    range on ordinary text, such as "import numpy as np". Takes some 50 ms on a CPU.
    """
    import torch  # noqa: PLC0415 - loaded with the first model, not with the package

    if device.startswith("mps") or (device.startswith("cuda") and not _has_bfloat16(device)):
        return torch.float32
    base = _seconds(device, torch.float32)
    ratio = base / _seconds(device, torch.bfloat16)
    chosen = torch.bfloat16 if ratio >= CLEARLY_FASTER else torch.float32
    _log.info(
        "%s computes bfloat16 %.2f times as fast as float32: weights are loaded as %s"
        " (dtype= overrides)",
        device, ratio, chosen,
    )  # fmt: skip
    return chosen


def _has_bfloat16(device: str) -> bool:
    """Return whether a CUDA device computes it itself, where others only emulate it."""
    import torch  # noqa: PLC0415

    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _seconds(device: str, dtype: torch.dtype, repeats: int = 5) -> float:
    """Return the best time of a product; a GPU gets rows enough to hide what a launch takes."""
    import torch  # noqa: PLC0415

    tokens = torch.ones(256 if device == "cpu" else 8192, 1024, dtype=dtype, device=device)
    weight = torch.ones(3072, 1024, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        result = torch.nn.functional.linear(tokens, weight)
        result[0, 0].item()  # waits for a device that computes asynchronously
        best = min(best, time.perf_counter() - started)
    return best
