"""A bar over the sequences of a call."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any


def progress(total: int, *, shown: bool) -> Any:  # noqa: ANN401 - tqdm is untyped
    """Return a context manager that gives tqdm's bar, or None where none is to be shown."""
    if not shown:
        return nullcontext()
    from tqdm.auto import tqdm  # noqa: PLC0415 - only where a bar is shown

    return tqdm(total=total, unit="seq", desc="Qwen3")
