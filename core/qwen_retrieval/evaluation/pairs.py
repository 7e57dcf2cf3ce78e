"""A CSV, TSV or JSONL file with a question and the passage that answers it in each row."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation.collection import Collection, read_folder
from qwen_retrieval.evaluation.folders import FolderWriter, write_once
from qwen_retrieval.evaluation.lines import MAX_LINE, Line, read_lines

SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": ""}
QUESTIONS = ("question", "query", "anchor", "prompt", "frage")
PASSAGES = ("passage", "answer", "document", "positive", "context", "text", "response", "antwort")


def read_pairs(
    path: Path, *, store: Path, question: str | None = None, passage: str | None = None
) -> Collection:
    """Return the collection of a file's pairs: its distinct passages are what is searched.

    A question that stands in several rows has several answers; a passage likewise answers several.

    Raises:
        DataError: naming the line of whatever is wrong.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is of no known kind; give one of {sorted(SUFFIXES)}, or a folder.")
    folder = store / "imported" / _digest(path, question, passage)
    write_once(folder, lambda writer: _convert(path, writer, question, passage))
    return read_folder(folder, name=path.stem)


def _convert(path: Path, writer: FolderWriter, question: str | None, passage: str | None) -> None:
    rows = _objects if path.suffix.lower() == ".jsonl" else _cells
    queries: dict[str, str] = {}
    documents: dict[bytes, str] = {}
    judged: set[tuple[str, str]] = set()
    for asked, answer in rows(path, question, passage):
        if asked not in queries:
            queries[asked] = f"q{len(queries)}"
            writer.query(queries[asked], asked)
        known = hashlib.sha256(answer.encode()).digest()  # passages may be long
        if known not in documents:
            documents[known] = f"d{len(documents)}"
            writer.document(documents[known], answer)
        pair = queries[asked], documents[known]
        if pair not in judged:
            judged.add(pair)
            writer.judgement(*pair, 1)
    if not judged:
        raise DataError(f"{path}, line 1: there are no rows; give a question a row.")


def _objects(path: Path, question: str | None, passage: str | None) -> Iterator[tuple[str, str]]:
    columns: tuple[str, str] | None = None
    for line in read_lines(path):
        row = line.json_object()
        if columns is None:
            columns = _columns(line, list(row), question, passage)
        yield _pair(line, *(line.field(row, column) for column in columns))


def _cells(path: Path, question: str | None, passage: str | None) -> Iterator[tuple[str, str]]:
    lines = _Remembering(path)
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))  # else 128 KiB, for the process
    reader = csv.reader(lines, delimiter=SUFFIXES[path.suffix.lower()], strict=True)
    head: list[str] | None = None
    try:
        for row in reader:
            if head is None:
                head = row
                places = [
                    head.index(name) for name in _columns(lines.last, head, question, passage)
                ]
                continue
            if row == []:
                lines.blank = lines.last if lines.blank is None else lines.blank
                continue
            if lines.blank is not None:
                lines.blank.fail("blank; remove it, blank lines may stand only at the end.")
            if len(row) != len(head):
                lines.last.fail(f"{len(row)} columns where the first line has {len(head)}.")
            yield _pair(lines.last, *(row[place] for place in places))
    except csv.Error as error:
        if "field limit" in str(error):
            lines.last.fail(f"a cell is longer than {MAX_LINE:,} characters; is a quote left open?")
        lines.last.fail(f"no CSV ({error}); quote cells that hold quotes, commas or line ends.")


class _Remembering:
    """The decoded lines of a file, and which came last."""

    def __init__(self, path: Path) -> None:
        self._lines = read_lines(path, blank_ones=True)
        self.last = Line(path, 1, 0, b"")
        self.blank: Line | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line
            yield f"{line.text()}\n"


def _columns(
    line: Line, names: Sequence[str], question: str | None, passage: str | None
) -> tuple[str, str]:
    asked = _column(line, names, question, QUESTIONS, "question")
    others = [name for name in names if name != asked]
    return asked, _column(line, others, passage, PASSAGES, "passage")


def _column(
    line: Line, names: Sequence[str], wanted: str | None, usual: Sequence[str], what: str
) -> str:
    if wanted is not None and wanted not in names:
        line.fail(f"there is no column {wanted!r}; there are {list(names)!r:.200}.")
    folded = {name.strip().lower(): name for name in names}
    found = next((folded[name] for name in usual if name in folded), None)
    found = found if wanted is None else wanted
    if found is None:
        line.fail(
            f"none of the columns {list(names)!r:.200} has a usual name of a {what}"
            f" ({', '.join(usual)}); name it with --{what}-column."
        )
    return found


def _pair(line: Line, asked: str, answer: str) -> tuple[str, str]:
    for text, what in ((asked, "question"), (answer, "passage")):
        if not text.strip():
            line.fail(f"the {what} is empty.")
    return asked, answer


def _digest(path: Path, question: str | None, passage: str | None) -> str:
    digest = hashlib.sha256(repr((path.suffix.lower(), question, passage)).encode())
    with path.open("rb") as file:
        while part := file.read(MAX_LINE):
            digest.update(part)
    return digest.hexdigest()[:24]
