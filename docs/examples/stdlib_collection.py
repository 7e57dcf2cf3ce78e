"""Write the standard library's documentation and its judged questions as a folder to evaluate on.

``python docs/examples/stdlib_collection.py FOLDER`` writes ``corpus.jsonl``, ``queries.jsonl`` and
``qrels.tsv``, the form that ``qwen-retrieval evaluate`` and ``compare`` read. Questions whose
answers another version of Python lacks are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from stdlib_entries import load_questions, stdlib_entries


def write_collection(folder: Path) -> None:
    """Write the three files into the folder, which is made where needed."""
    entries = stdlib_entries()
    known = {entry.id for entry in entries}
    asked = {
        f"q{number}": (question.text, [name for name in question.relevant if name in known])
        for number, question in enumerate(load_questions(), start=1)
    }
    judgements = [f"{name}\t{entry}\t1" for name, (_, names) in asked.items() for entry in names]
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpus.jsonl", ({"_id": e.id, "text": e.text} for e in entries))
    write_lines(
        folder / "queries.jsonl",
        ({"_id": name, "text": text} for name, (text, names) in asked.items() if names),
    )
    rows = "\n".join(["query-id\tcorpus-id\tscore", *judgements])
    (folder / "qrels.tsv").write_text(f"{rows}\n", encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write one JSON object a line."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("Usage: python docs/examples/stdlib_collection.py FOLDER")
    write_collection(Path(sys.argv[1]))
