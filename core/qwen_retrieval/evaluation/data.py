"""From what a user names to a collection: a folder, a table of questions, an mteb task."""

from __future__ import annotations

from pathlib import Path

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation.collection import Collection, read_folder
from qwen_retrieval.evaluation.pairs import SUFFIXES, read_pairs
from qwen_retrieval.evaluation.tasks import read_task


def read_collection(
    source: str | Path,
    *,
    store: Path,
    split: str | None = None,
    question: str | None = None,
    passage: str | None = None,
) -> Collection:
    """Return the collection that a source holds.

    Args:
        source: a folder in the form of BEIR; a CSV, TSV or JSONL file with a question and the
            passage that answers it in each row; or the name of an mteb task.
        store: folder where the latter two are kept in the form of the first.
        split: which judgements of a folder or task; see `read_folder`.
        question: column of the questions in a file; None finds it by usual names.
        passage: column of the passages, likewise.

    Raises:
        DataError: naming file and line, or that there is nothing of this name.
    """
    path = Path(source)
    if path.is_dir():
        return read_folder(path, split=split)
    if path.is_file():
        return read_pairs(path, store=store, question=question, passage=passage)
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        raise DataError(f"{path} does not exist; give a folder, a file, or an mteb task's name.")
    return read_task(str(source), store=store, split=split)
