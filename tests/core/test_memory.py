"""What a layer frees, the next layer gets."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from qwen_retrieval.local.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def layer():
    return [torch.ones(3 << 20) for _ in range(4)]
for _ in range(3):
    layer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(9):
    layer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words: str) -> int:
    """Return how often a process had to be given a page, over nine times 48 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_used_again() -> None:
    """Without it the system hands out, and clears, thousands of pages anew."""
    without = faults()
    assert without > 10_000  # else it would show nothing
    assert faults("keep") < without / 10
