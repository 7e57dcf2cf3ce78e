"""What is searched, what is asked, and what answers it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qwen_retrieval.errors import DataError, SettingsError
from qwen_retrieval.evaluation.documents import Documents, InMemory, JsonLines, add_text
from qwen_retrieval.evaluation.lines import Line, read_lines

HEADS = {("query-id", "corpus-id", "score"), ("query_id", "corpus_id", "score")}
_COLUMNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents, judged queries, and the judgements.

    Attributes:
        name: what reports call it.
        documents: what is searched.
        query_ids: of the queries that have a relevant document.
        queries: their texts, in the same order.
        judgements: for each of them, the grade of every judged document by its place; above 0 is
            relevant.
        left_out: judged queries without a relevant document, which cannot be measured.
        not_drawn: queries that a sample leaves out.
        excluded: for each query the place of a document that is no hit for it, −1 for none; empty
            where every document may be found.
    """

    name: str
    documents: Documents
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    judgements: tuple[Mapping[int, int], ...]
    left_out: int = 0
    not_drawn: int = 0
    excluded: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """A name of all texts and judgements in their order."""
        digest = hashlib.sha256(self.documents.digest.encode())
        for query, judged in zip(self.queries, self.judgements, strict=True):
            add_text(digest, query)
            add_text(digest, repr(sorted(judged.items())))
        if self.excluded:
            add_text(digest, repr(self.excluded))
        return digest.hexdigest()

    @property
    def queries_digest(self) -> str:
        """A name of the queries' texts in their order."""
        digest = hashlib.sha256()
        for query in self.queries:
            add_text(digest, query)
        return digest.hexdigest()

    def sampled(self, queries: int, seed: int = 0) -> Collection:
        """Return the collection with so many of its queries, drawn once and for all by the seed."""
        if queries < 1:
            raise SettingsError(f"queries is {queries}; ask at least 1.")
        if queries >= len(self.queries):
            return self
        drawn = np.random.default_rng(seed).choice(len(self.queries), queries, replace=False)
        kept = sorted(map(int, drawn))
        return replace(
            self,
            query_ids=tuple(self.query_ids[place] for place in kept),
            queries=tuple(self.queries[place] for place in kept),
            judgements=tuple(self.judgements[place] for place in kept),
            not_drawn=self.not_drawn + len(self.queries) - queries,
            excluded=tuple(self.excluded[place] for place in kept if self.excluded),
        )

    @classmethod
    def of(
        cls,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        judgements: Mapping[str, Mapping[str, int]],
        *,
        name: str = "collection",
        ignore_identical_ids: bool = False,
    ) -> Collection:
        """Return a collection of texts in memory.

        Args:
            documents: texts by id.
            queries: texts by id.
            judgements: by the query's id, the grades by the document's id.
            name: what reports call it.
            ignore_identical_ids: whether a document with the query's own id is no hit for it.

        Raises:
            DataError: a judgement names an id that is not there, or no query has an answer.
        """
        stored = InMemory(documents)
        judged: dict[str, dict[int, int]] = {}
        for query, grades in judgements.items():
            if query not in queries:
                raise DataError(f"a judgement names the query {query!r:.60}, which is not there.")
            for document, grade in grades.items():
                place = stored.find(document)
                if place is None:
                    raise DataError(
                        f"a judgement names the document {document!r:.60}, which is not there."
                    )
                judged.setdefault(query, {})[place] = grade
        made = _collection(name, stored, queries, judged, f"the judgements of {name}")
        return _without_identical(made) if ignore_identical_ids else made


def read_folder(
    folder: Path,
    *,
    split: str | None = None,
    name: str | None = None,
    ignore_identical_ids: bool = False,
) -> Collection:
    """Return the collection that a folder in the form of BEIR holds.

    Args:
        folder: with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` or ``qrels/<split>.tsv``.
        split: which judgements; None takes ``qrels.tsv``, else ``test``, else the only one.
        name: what reports call it; None takes the folder's name.
        ignore_identical_ids: whether a document with the query's own id is no hit for it, where
            queries are taken from the documents; ids that are mere numbers may coincide by chance.

    Raises:
        DataError: naming the file and the line of whatever is wrong.
    """
    judgements = _qrels(folder, split)
    documents = JsonLines(folder / "corpus.jsonl")
    queries = _read_queries(folder / "queries.jsonl")
    judged = _read_judgements(judgements, queries, documents)
    made = _collection(
        folder.resolve().name if name is None else name,
        documents,
        queries,
        judged,
        f"{judgements}, line 1 and on",
    )
    return _without_identical(made) if ignore_identical_ids else made


def _collection(
    name: str,
    documents: Documents,
    queries: Mapping[str, str],
    judged: Mapping[str, Mapping[int, int]],
    source: str,
) -> Collection:
    kept = [
        query for query in queries if any(grade > 0 for grade in judged.get(query, {}).values())
    ]
    if not kept:
        raise DataError(
            f"{source}: no query has a relevant document (a grade above 0), so nothing can be"
            " measured."
        )
    return Collection(
        name=name,
        documents=documents,
        query_ids=tuple(kept),
        queries=tuple(queries[query] for query in kept),
        judgements=tuple(judged[query] for query in kept),
        left_out=sum(query in judged for query in queries) - len(kept),
    )


def _without_identical(collection: Collection) -> Collection:
    """Return the collection in which no query finds the document that has its id."""
    found = (collection.documents.find(query) for query in collection.query_ids)
    excluded = tuple(-1 if place is None else place for place in found)
    return replace(collection, excluded=excluded if max(excluded) >= 0 else ())


def _qrels(folder: Path, split: str | None) -> Path:
    single, several = folder / "qrels.tsv", folder / "qrels"
    if split is None and single.is_file():
        return single
    splits = sorted(path.stem for path in several.glob("*.tsv")) if several.is_dir() else []
    if split is not None:
        if split in splits:
            return several / f"{split}.tsv"
        raise DataError(
            f"{folder} has no judgements qrels/{split}.tsv; there are"
            f" {splits or ('qrels.tsv alone' if single.is_file() else 'none')}."
        )
    if "test" in splits or len(splits) == 1:
        return several / f"{'test' if 'test' in splits else splits[0]}.tsv"
    if splits:
        raise DataError(f"{folder} has judgements of several splits, {splits}; choose one.")
    raise DataError(
        f"{folder} has no judgements; a collection holds corpus.jsonl, queries.jsonl and qrels.tsv"
        " or qrels/<split>.tsv."
    )


def _read_queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for line in read_lines(path):
        row = line.json_object()
        name = line.name(line.field(row, "_id"), "'_id'")
        if name in numbers:
            line.fail(
                f"the id {name!r:.60} stands on line {numbers[name]} already; give each query an"
                " id of its own."
            )
        numbers[name] = line.number
        queries[name] = line.field(row, "text")
    if not queries:
        raise DataError(f"{path}, line 1: the file is empty; give a query a line.")
    return queries


def _read_judgements(
    path: Path, queries: Mapping[str, str], documents: Documents
) -> dict[str, dict[int, int]]:
    judged: dict[str, dict[int, int]] = {}
    for line in read_lines(path):
        cells = line.text().split("\t")
        if line.number == 1 and tuple(cell.strip().lower() for cell in cells) in HEADS:
            continue
        if len(cells) != _COLUMNS:
            line.fail(
                f"{len(cells)} columns; give three, separated by tabs: query-id, corpus-id, score."
            )
        query, document, grade = cells
        if query not in queries:
            line.fail(f"the query {query!r:.60} is not in queries.jsonl.")
        place = documents.find(line.checked(document, "the document's id"))
        if place is None:
            line.fail(f"the document {document!r:.60} is not in corpus.jsonl.")
        grades = judged.setdefault(query, {})
        if place in grades:
            line.fail(
                f"the query {query!r:.60} and the document {document!r:.60} are judged already;"
                " give each pair once."
            )
        grades[place] = _grade(line, grade)
    if not judged:
        raise DataError(f"{path}, line 1: there are no judgements; give one a line.")
    return judged


def _grade(line: Line, cell: str) -> int:
    text = cell.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):  # noqa: PLR2004 - an int32
        line.fail(f"the score is {cell!r:.60}; give a whole number, 0 for not relevant.")
    return int(text)
