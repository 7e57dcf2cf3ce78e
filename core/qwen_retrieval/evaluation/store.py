"""What an evaluation has computed, kept on disk so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from qwen_retrieval.errors import StoreError


class Ledger:
    """An array on disk that grows by whole blocks, whatever moment the process is killed at.

    A block's rows are written first, then a line of the journal that counts them. Rows without
    their line are those of a block that was not finished; they are cut off on opening.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        """Open what is in the folder; `Store.ledger` does it under a lock."""
        self._rows_path, self._journal = folder / "rows", folder / "journal.jsonl"
        self._dtype = dtype
        self.entries: list[dict[str, Any]] = []
        self._recover()

    @property
    def rows(self) -> int:
        """How many rows are there."""
        return sum(entry["rows"] for entry in self.entries)

    def append(self, rows: NDArray[Any], **facts: float) -> None:
        """Add a block of rows, and to the journal what it took."""
        entry = {"rows": len(rows), "width": rows.shape[1] if rows.ndim > 1 else 0, **facts}
        _append(self._rows_path, np.ascontiguousarray(rows, self._dtype).tobytes())
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

    def _recover(self) -> None:
        raw = self._journal.read_bytes() if self._journal.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        self.entries = [json.loads(line) for line in whole.splitlines()]
        size = sum(each["rows"] * max(each["width"], 1) for each in self.entries)
        size *= self._dtype.itemsize
        there = self._rows_path.stat().st_size if self._rows_path.exists() else 0
        if there < size:
            raise StoreError(
                f"{self._rows_path} has {there} bytes where its journal counts {size}; delete the"
                f" folder {self._rows_path.parent} to compute it again."
            )
        for path, right, found in (
            (self._journal, len(whole), len(raw)),
            (self._rows_path, size, there),
        ):
            if found > right:
                os.truncate(path, right)


class Store:
    """A folder of ledgers, each under the digest of all that its rows depend on."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which is made where needed."""
        self.folder = folder

    @contextmanager
    def ledger(self, key: Mapping[str, Any], dtype: Any) -> Iterator[Ledger]:  # noqa: ANN401 - as numpy takes it
        """Open the ledger of this key; no other process can have it meanwhile.

        Raises:
            StoreError: another process has it, or it is damaged.
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


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or, after a kill, as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _append(path: Path, raw: bytes) -> None:
    with path.open("ab") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
