"""From what a user names to a collection: a folder, a table of questions, an mteb task."""

from __future__ import annotations

from pathlib import Path

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation.collection import Collection, read_folder
from qwen_retrieval.evaluation.pairs import SUFFIXES, read_pairs
from qwen_retrieval.evaluation.tasks import read_task


def read_collection(  # noqa: PLR0913 - each says something of the source
    source: str | Path,
    *,
    store: Path,
    split: str | None = None,
    question: str | None = None,
    passage: str | None = None,
    ignore_identical_ids: bool | None = None,
) -> Collection:
    """Return the collection that a source holds.

    Args:
        source: a folder in the form of BEIR; a CSV, TSV or JSONL file with a question and the
            passage that answers it in each row; or the name of an mteb task.
        store: folder where the latter two are kept in the form of the first.
        split: which judgements of a folder or task; see `read_folder`.
        question: column of the questions in a file; None finds it by usual names.
        passage: column of the passages, likewise.
        ignore_identical_ids: whether a document with the query's own id is no hit for it; None
            takes what a task says, and for folders no.

    Raises:
        DataError: naming file and line, or that there is nothing of this name.
    """
    path = Path(source)
    if path.is_dir():
        return read_folder(path, split=split, ignore_identical_ids=bool(ignore_identical_ids))
    if path.is_file():
        return read_pairs(path, store=store, question=question, passage=passage)
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        raise DataError(f"{path} does not exist; give a folder, a file, or an mteb task's name.")
    return read_task(
        str(source), store=store, split=split, ignore_identical_ids=ignore_identical_ids
    )
