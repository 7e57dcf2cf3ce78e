"""The raw (query, positive) pairs: read from the material folder where there is one."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = {
    "stdlib": "python-stdlib-docstring-code",
    "packages": "python-packages-docstring-code",
    "debian": "debian-descriptions-en",
    "shell": "tldr-en",
    "gloss": "wordnet-lemma-gloss",
    "example": "wordnet-example-gloss",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One text and what belongs to it, as its source has them."""

    query: str
    positive: str
    title: str
    origin: str  # the module file, package or context, empty where the source has none


def _origin(row: dict[str, str]) -> str:
    if "path" in row:  # .../python3.11/json/decoder.py -> json.decoder
        tail = row["path"].split("/python3.11/")[-1]
        return tail.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return row.get("package", row.get("context", "")).removesuffix(".py")


def material_folder() -> Path | None:
    """Return the folder of ready pairs, or None where the machine has none."""
    root = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    return None if root is None else Path(root) / "data" / "pairs"


def read_pairs(source: str, folder: Path | None = None) -> list[Pair]:
    """Return the pairs of one source, from `folder`, the material, or this machine itself."""
    folder = material_folder() if folder is None else folder
    if folder is None:
        from . import gather

        return list(gather.gather(source))
    return list(_read(folder / f"{SOURCES[source]}.jsonl.gz"))


def _read(path: Path) -> Iterator[Pair]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield Pair(row["query"], row["positive"], row.get("title", ""), _origin(row))
