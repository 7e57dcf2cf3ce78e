"""Retrieval tasks of mteb, where their data can be reached."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation.collection import Collection, read_folder
from qwen_retrieval.evaluation.folders import FolderWriter, write_once


def read_task(
    name: str, *, store: Path, split: str | None = None, ignore_identical_ids: bool | None = None
) -> Collection:
    """Return the collection of an mteb task.

    Args:
        name: of the task; of one with several subsets ``task:subset``.
        store: where it is kept once fetched, in the form of BEIR.
        split: None takes the only one, or ``test``.
        ignore_identical_ids: whether a document with the query's own id is no hit for it; None
            takes what the task says, as mteb's own evaluation does.

    Raises:
        DataError: there is no such task, mteb is not installed, or the data cannot be reached.
    """
    if find_spec("mteb") is None:
        raise DataError(
            f"{name!r} is no file or folder here; to look it up among mteb's tasks, install mteb"
            " (python -m pip install mteb)."
        )
    task, subset = _find(name)
    chosen = _choose(name, "split", list(task.metadata.eval_splits), split, "test")
    revision = str(task.metadata.dataset.get("revision", ""))[:12]
    folder = store / "imported" / "-".join(filter(None, (name, chosen, revision))).replace(":", "-")
    write_once(folder, lambda writer: _write(_load(task, name, subset, chosen), writer))
    if ignore_identical_ids is None:
        ignore_identical_ids = getattr(task, "ignore_identical_ids", False)
    return read_folder(folder, name=name, ignore_identical_ids=ignore_identical_ids)


def _find(name: str) -> tuple[Any, str | None]:
    import mteb  # noqa: PLC0415 - takes seconds

    wanted, _, subset = name.partition(":")
    known = {task.metadata.name: task for task in mteb.get_tasks(task_types=["Retrieval"])}
    if wanted in known:
        return known[wanted], subset or None
    near = difflib.get_close_matches(wanted, known, n=3)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    raise DataError(f"{wanted!r} is no file or folder here and no retrieval task of mteb{meant}")


def _load(task: Any, name: str, subset: str | None, split: str) -> Any:  # noqa: ANN401 - mteb's own
    try:
        task.load_data()
    except Exception as error:  # whatever a hub, a proxy or a data set raises
        raise DataError(
            f"the data of the mteb task {name!r} cannot be reached ({type(error).__name__}:"
            f" {error!s:.200}); without a network, give a folder with corpus.jsonl, queries.jsonl"
            " and qrels.tsv."
        ) from error
    subsets = list(task.dataset)
    return task.dataset[_choose(name, "subset", subsets, subset, "default")][split]


def _choose(name: str, what: str, there: list[str], wanted: str | None, usual: str) -> str:
    if wanted in there:
        return str(wanted)
    if wanted is None and (usual in there or len(there) == 1):
        return usual if usual in there else there[0]
    raise DataError(f"the mteb task {name!r} has no {what} {wanted!r}; choose one of {there}.")


def _write(data: Any, writer: FolderWriter) -> None:  # noqa: ANN401 - mteb's own
    for row in data["corpus"]:
        title = row.get("title")
        writer.document(str(row["id"]), row["text"], "" if title is None else title)
    for row in data["queries"]:
        writer.query(str(row["id"]), row["text"])
    for query, grades in data["relevant_docs"].items():
        for document, grade in grades.items():
            writer.judgement(str(query), str(document), int(grade))
