"""Files that hold a result: looked at before it is computed, written as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qwen_retrieval.errors import SettingsError


def check_writable(path: Path, endings: Sequence[str]) -> None:
    """Refuse a file that could not be written, before hours of work are done for it.

    Args:
        path: its folder may be missing.
        endings: of names that say what the file is to hold.

    Raises:
        SettingsError: the name ends otherwise, or something is in the way.
    """
    if path.suffix.lower() not in endings:
        *some, last = endings
        choice = f"{', '.join(some)} or {last}"
        raise SettingsError(f"{path} ends with {path.suffix!r}; give a {choice} file.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    obstacles = {
        "it is a folder": path.is_dir(),
        f"{nearest} is no folder": not nearest.is_dir(),
        f"{nearest} is not yours to write in": not os.access(nearest, os.W_OK),
    }
    for obstacle, found in obstacles.items():
        if found:
            raise SettingsError(f"{path} cannot be written: {obstacle}; give another file.")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or, after a kill, as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
