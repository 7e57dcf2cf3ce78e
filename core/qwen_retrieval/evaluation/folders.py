"""Writing a collection in the form of BEIR, which everything else is turned into first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from filelock import FileLock


class FolderWriter:
    """Writes a collection's folder line by line; it appears under its name only when whole."""

    def __init__(self, folder: Path) -> None:
        """Take the folder's final name."""
        self._folder = folder
        self._part = folder.with_name(f"{folder.name}.part")
        self._files: dict[str, IO[str]] = {}

    def document(self, name: str, text: str, title: str = "") -> None:
        """Add a document."""
        self._line("corpus.jsonl", json.dumps({"_id": name, "title": title, "text": text}))

    def query(self, name: str, text: str) -> None:
        """Add a query."""
        self._line("queries.jsonl", json.dumps({"_id": name, "text": text}))

    def judgement(self, query: str, document: str, grade: int) -> None:
        """Add a judgement."""
        self._line("qrels.tsv", f"{query}\t{document}\t{grade}")

    def __enter__(self) -> Self:
        shutil.rmtree(self._part, ignore_errors=True)  # of a run that was broken off
        self._part.mkdir(parents=True)
        for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv"):
            self._files[name] = (self._part / name).open("w", encoding="utf-8", newline="\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
        if kind is None:
            self._part.replace(self._folder)
        else:
            shutil.rmtree(self._part)

    def _line(self, file: str, text: str) -> None:
        self._files[file].write(f"{text}\n")


def write_once(folder: Path, write: Callable[[FolderWriter], None]) -> None:
    """Write a collection's folder unless it is there; whoever wants the same meanwhile waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            with FolderWriter(folder) as writer:
                write(writer)
