"""The documents of a collection: known by place and id, while their texts stay on disk."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation.lines import Line, read_lines

Places = NDArray[np.int64]


class Documents(Protocol):
    """Texts with ids, in a fixed order."""

    @property
    def digest(self) -> str:
        """A name of all texts in their order."""

    def __len__(self) -> int: ...

    def texts(self, places: Sequence[int]) -> list[str]:
        """Return the texts at these places."""

    def ids(self, places: Sequence[int]) -> list[str]:
        """Return the ids of these places."""

    def find(self, document_id: str) -> int | None:
        """Return the place of an id, or None."""


def blocks(documents: Documents, size: int, start: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield (first place, texts) of the documents from `start` on, `size` at a time."""
    for first in range(start, len(documents), size):
        yield first, documents.texts(range(first, min(first + size, len(documents))))


class InMemory:
    """Documents given as ids and texts."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take texts by id."""
        self._ids, self._texts = list(texts), list(texts.values())
        self._places = {name: place for place, name in enumerate(self._ids)}
        digest = hashlib.sha256()
        for text in self._texts:
            add_text(digest, text)
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._ids)

    def texts(self, places: Sequence[int]) -> list[str]:
        """Return the texts at these places."""
        return [self._texts[place] for place in places]

    def ids(self, places: Sequence[int]) -> list[str]:
        """Return the ids of these places."""
        return [self._ids[place] for place in places]

    def find(self, document_id: str) -> int | None:
        """Return the place of an id, or None."""
        return self._places.get(document_id)


class JsonLines:
    """Documents in a ``corpus.jsonl``, whose lines are found by their offsets.

    In memory are 24 bytes a document: the offset of its line, a hash of its id, and their order.
    """

    def __init__(self, path: Path) -> None:
        """Read the whole file once and refuse it if anything in it is wrong.

        Raises:
            DataError: with the line, for whatever `read_lines` and `document_of` refuse, and for an
                id that occurs twice.
        """
        self.path = path
        offsets, hashes, digest = array("q"), array("Q"), hashlib.sha256()
        end = 0
        for line in read_lines(path):
            name, text = document_of(line)
            offsets.append(line.offset)
            hashes.append(_hash(name))
            add_text(digest, text)
            end = line.offset + len(line.raw)
        if not offsets:
            raise DataError(f"{path}, line 1: the file is empty; give a document a line.")
        self.digest = digest.hexdigest()
        self._offsets = np.append(np.frombuffer(offsets, np.int64), end)
        found = np.frombuffer(hashes, np.uint64)
        self._order = np.argsort(found, kind="stable")
        self._hashes = found[self._order]
        self._refuse_doubles()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def texts(self, places: Sequence[int]) -> list[str]:
        """Return the texts at these places."""
        return [text for _, text in self._rows(places)]

    def ids(self, places: Sequence[int]) -> list[str]:
        """Return the ids of these places."""
        return [name for name, _ in self._rows(places)]

    def find(self, document_id: str) -> int | None:
        """Return the place of an id, or None."""
        wanted = _hash(document_id)
        at = int(np.searchsorted(self._hashes, np.uint64(wanted)))
        while at < len(self) and int(self._hashes[at]) == wanted:
            place = int(self._order[at])
            if self.ids([place]) == [document_id]:  # two ids could share a hash
                return place
            at += 1
        return None

    def _rows(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        with self.path.open("rb") as file:
            for place in places:
                offset, end = map(int, self._offsets[place : place + 2])
                file.seek(offset)
                raw = file.read(end - offset).rstrip(b"\r\n")
                yield document_of(Line(self.path, place + 1, offset, raw))

    def _refuse_doubles(self) -> None:
        for at in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]):
            first, second = sorted(map(int, self._order[at : at + 2]))
            (one,), (other,) = self.ids([first]), self.ids([second])
            if one == other:
                raise DataError(
                    f"{self.path}, line {second + 1}: the id {other!r:.60} stands on line"
                    f" {first + 1} already; give each document an id of its own."
                )


def document_of(line: Line) -> tuple[str, str]:
    """Return the id and the text of a document: title, a space and text, as BEIR has it."""
    row = line.json_object()
    name, text = line.field(row, "_id"), line.field(row, "text")
    title = "" if row.get("title") is None else line.field(row, "title")
    return line.name(name, "'_id'"), f"{title} {text}" if title else text


def add_text(digest: hashlib._Hash, text: str) -> None:
    """Count a text into a digest, so that where one ends and the next begins counts too."""
    raw = text.encode()
    digest.update(len(raw).to_bytes(8))
    digest.update(raw)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
