"""What an evaluation has computed, kept on disk so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from qwen_retrieval.errors import StoreError
from qwen_retrieval.evaluation.files import write_whole


class Ledger:
    """An array on disk that grows by whole blocks, whatever moment the process is killed at.

    A block's rows are written first, then a line of the journal with their number and checksum.
    On opening, the first block that is not there as its line says ends the array: rows without a
    line were not finished, and rows that differ went missing when the machine lost power. Waiting
    for the disk after each block instead can take longer than the models do.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        """Open what is in the folder; `Store.ledger` does it under a lock."""
        self._rows_path, self._journal = folder / "rows", folder / "journal.jsonl"
        self._dtype = dtype
        self.entries: list[dict[str, Any]] = self._recovered()

    @property
    def rows(self) -> int:
        """How many rows are there."""
        return sum(entry["rows"] for entry in self.entries)

    def append(self, rows: NDArray[Any], **facts: float) -> None:
        """Add a block of rows, and to the journal what it took."""
        raw = np.ascontiguousarray(rows, self._dtype).tobytes()
        width = rows.shape[1] if rows.ndim > 1 else 0
        entry = {"rows": len(rows), "width": width, "crc": zlib.crc32(raw), **facts}
        _append(self._rows_path, raw)
        _append(self._journal, json.dumps(entry).encode() + b"\n")
        self.entries.append(entry)

    def read(self) -> NDArray[Any]:
        """Return all rows, read from disk as they are needed."""
        if self.rows == 0:
            return np.empty(0, self._dtype)
        width = self.entries[0]["width"]
        shape = (self.rows, width) if width > 0 else (self.rows,)
        return np.memmap(self._rows_path, self._dtype, "r", shape=shape)

    def total(self, fact: str) -> float:
        """Return the sum of a fact over the journal, e.g. the seconds that all blocks took."""
        return float(sum(entry.get(fact, 0.0) for entry in self.entries))

    def _recovered(self) -> list[dict[str, Any]]:
        """Return the entries of the blocks that are whole, and cut off what follows them."""
        for path in (self._rows_path, self._journal):
            path.touch()
        entries: list[dict[str, Any]] = []
        counted = noted = 0
        with self._rows_path.open("rb") as rows, self._journal.open("rb") as journal:
            for line in journal:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                    size = entry["rows"] * max(entry["width"], 1) * self._dtype.itemsize
                    sum_written = entry["crc"]
                except (KeyError, TypeError, ValueError):
                    break  # a damaged line: it and what follows is computed again
                raw = rows.read(size)
                if zlib.crc32(raw) != sum_written:
                    break
                entries.append(entry)
                counted, noted = counted + len(raw), noted + len(line)
        for path, right in ((self._journal, noted), (self._rows_path, counted)):
            if path.stat().st_size > right:
                os.truncate(path, right)
        return entries


class Store:
    """A folder of ledgers, each under the digest of all that its rows depend on."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which is made where needed."""
        self.folder = folder

    @contextmanager
    def ledger(self, key: Mapping[str, Any], dtype: Any) -> Iterator[Ledger]:  # noqa: ANN401 - as numpy takes it
        """Open the ledger of this key; no other process can have it meanwhile.

        Raises:
            StoreError: another process has it.
        """
        text = json.dumps(key, sort_keys=True, ensure_ascii=False)
        folder = self.folder / hashlib.sha256(text.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(
                f"another process is computing what belongs into {folder}; wait for it, or choose"
                " another store."
            ) from error
        with lock:
            write_whole(folder / "key.json", text)
            yield Ledger(folder, np.dtype(dtype))


def _append(path: Path, raw: bytes) -> None:
    with path.open("ab") as file:
        file.write(raw)
