"""Memory: what the C library does with what is freed, and how its end is told."""

from __future__ import annotations

import ctypes
import platform

MOST = 31 << 20
"""Bytes of a block that glibc still raises its limits for (32 MiB on 64-bit machines)."""


def keep_freed_memory() -> None:
    """Let the C library keep what a layer has freed for the next layer.

    glibc gives freed memory back to the system beyond a limit, and the pages of the next layer's
    results have to be cleared again: 640,000 page faults and 10 % of the time for 1,800 tokens of
    the 0.6B model in float32. The limits rise to the largest block freed so far and to twice that
    (mallopt(3), `M_MMAP_THRESHOLD`), so the largest that counts is taken and freed. Where the
    library is another one, nothing happens.
    """
    import torch  # noqa: PLC0415 - loaded with the first model

    torch.empty(MOST, dtype=torch.uint8)


def give_freed_memory_back() -> None:
    """Return to the system what lies free between blocks in use, where the library can (glibc).

    Matrices that are converted one by one leave holes of their temporary copies: .5 GiB for the
    0.6B model.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory has ended, on whatever device."""
    # On a CPU, torch raises a plain RuntimeError from its allocator.
    words = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
