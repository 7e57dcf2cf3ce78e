"""What the three framework programs beside this share: options, documents to index, output.

A program defines ``run(settings)``, which returns the hits and the chain's answer, and ends with
``main(run)``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import shorten
from typing import Literal, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stdlib_entries import stdlib_entries

QUESTION = "how do I find out which elements of a list are the most common ones"
TINY = Path(__file__).resolve().parents[2] / "tests" / "tiny"

PIECE = 1500
"""Characters that a piece of a user's file has at most, unless a single paragraph has more."""
TINY_DIMENSIONS = 64
"""Vectors of the tiny embedder are cut to this by default, as one would to keep an index small:
recall with short vectors, and leave the order to the reranker."""
LARGEST_FILE = 1_000_000
"""Bytes; larger files are data rather than text that somebody wrote."""


@dataclass(frozen=True)
class DemoSettings:
    """What a program is asked to do.

    Attributes:
        question: in plain words.
        embedder: hub id or folder.
        dimensions: width of the vectors that are stored and searched; None is the model's own.
        reranker: hub id or folder.
        retrieve: how many documents the embedder hands to the reranker.
        keep: how many the reranker keeps.
        folder: of text, Markdown or code files to search; None searches the documentation of
            Python's standard library.
        device: as in the settings of `qwen_retrieval`.
        dtype: the same; float32 by default, so that the three frameworks agree to 1e-6.
        progress_bar: show how far a long call has come.
    """

    question: str = QUESTION
    embedder: str = str(TINY / "embedder")
    dimensions: int | None = None
    reranker: str = str(TINY / "reranker")
    retrieve: int = 30
    keep: int = 5
    folder: str | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = "float32"
    progress_bar: bool = False


@dataclass(frozen=True)
class Entry:
    """A document to index: its id, its text, and what it is ("function", "markdown", …)."""

    id: str
    text: str
    kind: str


@dataclass(frozen=True)
class Hit:
    """A document that was found, with the score of the reranker."""

    id: str
    score: float
    text: str


Run: TypeAlias = Callable[[DemoSettings], tuple[list[Hit], str]]
"""A framework's program: the hits, best first, and the answer of its chain."""


def documents(settings: DemoSettings) -> list[Entry]:
    """Return what to index: the standard library's documentation, or the user's folder."""
    if settings.folder is None:
        return [Entry(entry.id, entry.text, entry.kind) for entry in stdlib_entries()]
    return folder_entries(Path(settings.folder))


def folder_entries(folder: Path) -> list[Entry]:
    """Return the text, Markdown and code files of a folder in pieces, named ``path:line``.

    Hidden files and folders, files that are not UTF-8 text and very large ones are left out.
    """
    if not folder.is_dir():
        raise SystemExit(f"--folder {folder}: there is no such folder.")
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith((".", "__pycache__")) for part in name.parts):
            continue
        text = _text(path)
        for line, piece in [] if text is None else pieces(text):
            entries.append(Entry(f"{name.as_posix()}:{line}", piece, path.suffix.lstrip(".")))
    if not entries:
        raise SystemExit(f"--folder {folder}: no file in it holds UTF-8 text.")
    return entries


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield the text in pieces of whole paragraphs, each with the number of its first line.

    A Markdown heading, and any unindented line after a blank one once a piece is half full (in
    code that is a new definition), begins a new piece.
    """
    piece: list[str] = []
    begin, size, after_blank = 1, 0, True
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        opens = after_blank and bool(line.strip()) and not line[0].isspace()
        is_heading = after_blank and line.startswith("#")
        is_full = after_blank and size + len(line) > PIECE
        if piece and (is_heading or is_full or (opens and size > PIECE // 2)):
            if "".join(piece).strip():
                yield begin, "".join(piece)
            piece, begin, size = [], number, 0
        piece.append(line)
        size += len(line)
        after_blank = not line.strip()
    if "".join(piece).strip():
        yield begin, "".join(piece)


def main(run: Run) -> None:
    """Read the options, run a framework's program, print its hits and its answer."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print for a program, not for people")
    options = parser.parse_args()
    settings = settings_of(options)
    started = time.perf_counter()
    hits, answer = run(settings)
    seconds = time.perf_counter() - started
    if options.json:
        found = {"hits": [asdict(hit) for hit in hits], "answer": answer, "seconds": seconds}
        sys.stdout.write(json.dumps(found) + "\n")
        return
    title = escape(settings.question)
    table = Table("", "score", "entry", "text", title=title, title_justify="left")
    for place, hit in enumerate(hits, start=1):
        table.add_row(str(place), f"{hit.score:.6f}", escape(hit.id), escape(summary(hit.text)))
    console = terminal()
    console.print(table)
    console.print("[bold]Answer[/]", highlight=False)
    console.print(answer, markup=False, highlight=False)
    console.print(f"[dim]{seconds:.0f} s[/]", highlight=False)


def terminal() -> Console:
    """Return where to print: as wide as the terminal, or wide enough where there is none."""
    return Console(width=None if sys.stdout.isatty() else 110)


def summary(text: str) -> str:
    """Return the line of a text that best says what it is: in an entry, the one after its title."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shorten(lines[min(1, len(lines) - 1)] if lines else "", 60, placeholder=" …")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every program here understands."""
    default = DemoSettings()
    parser.add_argument("--question", default=default.question, help="in plain words")
    parser.add_argument(
        "--folder", help="search text, Markdown or code files there instead of the library's docs"
    )
    parser.add_argument("--embedder", default=default.embedder, help="hub id or folder")
    parser.add_argument(
        "--dimensions",
        type=int,
        help=f"of the stored vectors; {TINY_DIMENSIONS} for the default embedder, else its own",
    )
    parser.add_argument("--reranker", default=default.reranker, help="hub id or folder")
    parser.add_argument("--retrieve", type=int, default=default.retrieve, help="before reranking")
    parser.add_argument("--keep", type=int, default=default.keep, help="after reranking")
    parser.add_argument("--device", help='"cpu", "cuda", "mps", …; by default the best there is')
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default=default.dtype
    )
    parser.add_argument(
        "--progress-bar",
        action=argparse.BooleanOptionalAction,
        default=sys.stderr.isatty(),
        help="by default where somebody watches",
    )


def settings_of(options: argparse.Namespace) -> DemoSettings:
    """Return the settings that the parsed options ask for."""
    if options.dimensions is None and options.embedder == DemoSettings.embedder:
        options.dimensions = TINY_DIMENSIONS
    return DemoSettings(
        **{field.name: getattr(options, field.name) for field in fields(DemoSettings)}
    )


def _text(path: Path) -> str | None:
    """Return the text of a file, or None where it is no file or holds none."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
