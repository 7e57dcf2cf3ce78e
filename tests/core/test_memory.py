"""What a layer frees, the next layer gets; what loading frees, the system gets."""

from __future__ import annotations

import platform
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Model

from qwen_retrieval.local.attention import Group
from qwen_retrieval.local.network import Qwen3Network

TINY = Path(__file__).resolve().parents[1] / "tiny"

KEPT = """
import sys, torch
from qwen_retrieval.local.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
place = torch.ones(5 << 20).data_ptr()
heap = next(line for line in open("/proc/self/maps") if line.endswith("[heap]\\n"))
first, last = (int(end, 16) for end in heap.split()[0].split("-"))
print(int(first <= place < last))
"""
HOLES = """
import torch
from pathlib import Path
from qwen_retrieval.local.memory import give_freed_memory_back, keep_freed_memory
def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
keep_freed_memory()
copies = [torch.ones(size) for _ in range(20) for size in (3 << 20, 1 << 18)]
del copies[::2]
before = resident()
give_freed_memory_back()
print(before - resident())
"""
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")


def printed(program: str, *words: str) -> int:
    """Return the number that a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@only_glibc
def test_freed_memory_is_used_again() -> None:
    """A result of 20 MiB comes from the heap, where without it the system maps it anew."""
    assert printed(KEPT, "keep") == 1
    assert printed(KEPT) == 0


@only_glibc
def test_holes_are_given_back() -> None:
    """Twenty temporary copies of 12 MiB between what stays."""
    assert printed(HOLES) > 200 << 20


@torch.inference_mode()
def test_a_layers_hidden_states_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long document all layers' together would take as much as a small model."""
    network = Qwen3Network(Qwen3Model.from_pretrained(TINY / "reranker", dtype=torch.float32))
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []
    layer = network._layer

    def watched(*given: Any, final: bool) -> Any:
        found = layer(*given, final=final)
        made.append(weakref.ref(found[0]))
        alive.append(sum(hidden() is not None for hidden in made))
        return found

    monkeypatch.setattr(network, "_layer", watched)
    network.last_hidden([Group((), [range(5, 20)])])
    assert alive == [1, 2, 2, 2]
