"""The stages of retrieval over one collection, each computed once and then read from the store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval.errors import SettingsError, TruncationWarning
from qwen_retrieval.evaluation.bm25 import bm25
from qwen_retrieval.evaluation.collection import Collection
from qwen_retrieval.evaluation.documents import blocks
from qwen_retrieval.evaluation.progress import Progress, Quiet
from qwen_retrieval.evaluation.search import Ranking, search
from qwen_retrieval.evaluation.store import Ledger, Store
from qwen_retrieval.evaluation.words import detect, words_of
from qwen_retrieval.factory import open_embedder, open_reranker
from qwen_retrieval.settings import (
    COMPUTING,
    EmbedderSettings,
    ModelSettings,
    RerankerSettings,
)

if TYPE_CHECKING:
    from qwen_retrieval.contract import Embedder, Reranker, Vectors

BATCH = 256
"""Texts or pairs that are computed between two entries of a journal: what a kill can lose."""

_SAMPLE = 200
_SCORE = np.dtype([("query", np.int32), ("place", np.int32), ("score", np.float32)])
# What does not change results: how much is computed at once, what is shown meanwhile, and how a
# server is reached.
_IRRELEVANT = {
    "batch_size", "batch_tokens", "progress_bar", "local_files_only", "safetensors_only",
    "timeout", "max_retries", "max_concurrency", "verify_tls", "check_server",
}  # fmt: skip

_OF_QUERIES = {"query_instruction", "query_prompt", "prefixed_query"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of texts and what it took to compute them, in whichever run that was.

    Attributes:
        vectors: float32 of shape (n, width), of unit length, on disk.
        seconds: that the embedder computed.
        characters: of the texts, instructions not counted.
    """

    vectors: Vectors
    seconds: float
    characters: int


@dataclass(frozen=True, slots=True)
class Reranked:
    """A ranking after reranking.

    Attributes:
        ranking: the candidates by the reranker's score.
        seconds: that scoring these pairs took, estimated from all pairs that were scored.
        pairs: how many there are.
    """

    ranking: Ranking
    seconds: float
    pairs: int


class Stages:
    """Everything that can be done to one collection; models are opened only where they are needed.

    ``embedded_texts`` and ``scored_pairs`` count what this object has computed itself.
    """

    def __init__(
        self,
        collection: Collection,
        store: Store,
        *,
        progress: Progress | None = None,
        token: str | None = None,
    ) -> None:
        """Take a collection and where to keep what is computed."""
        self.collection = collection
        self.embedded_texts = 0
        self.scored_pairs = 0
        self.store = store
        self._progress = Quiet() if progress is None else progress
        self.token = token

    def language(self) -> str:
        """Return the language of the documents as it looks; see `words.detect`."""
        count = len(self.collection.documents)
        return detect(self.collection.documents.texts(range(min(count, _SAMPLE))))

    def bm25(self, k: int, language: str | None = None) -> Ranking:
        """Return BM25's ranking; None detects the language."""
        words = words_of(self.language() if language is None else language)
        documents = self.collection.documents
        with self._stage("BM25", len(documents), 0):
            return self.allowed(
                k,
                lambda k: bm25(
                    documents, self.collection.queries, k, words, self._progress.advance
                ),
            )

    def embed_documents(self, settings: EmbedderSettings) -> Embedded:
        """Return the documents' vectors in the model's full width."""
        full = full_width(settings)
        documents = self.collection.documents
        key = {
            "texts": documents.digest,
            "of": "documents",
            "settings": {n: v for n, v in essence(full).items() if n not in _OF_QUERIES},
        }
        return self._embed(
            key,
            "documents",
            len(documents),
            lambda start: (texts for _, texts in blocks(documents, BATCH, start)),
            lambda: open_embedder(full, token=self.token),
            lambda embedder, texts: embedder.embed_documents(texts),
        )

    def embed_queries(self, settings: EmbedderSettings) -> Embedded:
        """Return the queries' vectors in the model's full width, with the instruction."""
        full = full_width(settings)
        queries = self.collection.queries
        key = {
            "texts": self.collection.queries_digest,
            "of": "queries",
            "settings": essence(full),
        }
        return self._embed(
            key,
            "queries",
            len(queries),
            lambda start: (queries[n : n + BATCH] for n in range(start, len(queries), BATCH)),
            lambda: open_embedder(full, token=self.token),
            lambda embedder, texts: embedder.embed_queries(texts),
        )

    def search(self, settings: EmbedderSettings, k: int) -> Ranking:
        """Return the nearest documents by vectors of the settings' width."""
        documents = self.embed_documents(settings).vectors
        queries = self.embed_queries(settings).vectors
        width = documents.shape[1]
        if settings.dimensions is not None and settings.dimensions > width:
            raise SettingsError(
                f"dimensions is {settings.dimensions}, but {settings.model} gives {width}; choose"
                " at most that."
            )
        return self.allowed(k, lambda k: search(queries, documents, k, settings.dimensions))

    def allowed(self, k: int, find: Callable[[int], Ranking]) -> Ranking:
        """Return k hits of each query by `find`, without the document that is none for it."""
        excluded = self.collection.excluded
        return find(k + 1).without(excluded).cut(k) if excluded else find(k)

    def rerank(self, ranking: Ranking, settings: RerankerSettings, depth: int) -> Reranked:
        """Return each query's `depth` best in the reranker's order.

        A pair is scored once, whichever ranking it comes from.
        """
        key = {
            "texts": [self.collection.queries_digest, self.collection.documents.digest],
            "of": "pairs",
            "settings": essence(settings),
        }
        candidates = ranking.cut(depth)
        wanted = [[int(p) for p in row if p >= 0] for row in candidates.places]
        with self.store.ledger(key, _SCORE) as ledger:
            known = _scores(ledger)
            missing = [
                [place for place in row if (query, place) not in known]
                for query, row in enumerate(wanted)
            ]
            total, left = sum(map(len, wanted)), sum(map(len, missing))
            if left > 0:
                with (
                    self._stage(f"rerank with {_short(settings)}", total, total - left),
                    _closing(open_reranker(settings, token=self.token)) as reranker,
                ):
                    reranker.score([])  # loads the model, which is no part of what pairs cost
                    self._check_room(reranker, missing)
                    self._score(reranker, missing, ledger)
                known = _scores(ledger)
            rate = ledger.total("seconds") / max(ledger.rows, 1)
        best = np.full(candidates.places.shape, -np.inf, np.float32)
        for query, row in enumerate(wanted):
            best[query, : len(row)] = [known[query, place] for place in row]
        # Stable: equal scores keep the order that the candidates had.
        order = np.argsort(-best, axis=1, kind="stable")
        reordered = Ranking(
            np.take_along_axis(candidates.places, order, axis=1),
            np.take_along_axis(best, order, axis=1),
        )
        return Reranked(reordered, rate * total, total)

    def _embed(  # noqa: PLR0913 - queries and documents differ in all of these
        self,
        key: dict[str, Any],
        what: str,
        total: int,
        remaining: Callable[[int], Iterator[Sequence[str]]],
        opened: Callable[[], Embedder],
        embed: Callable[[Embedder, Sequence[str]], Vectors],
    ) -> Embedded:
        with self.store.ledger(key, np.float32) as ledger:
            done = ledger.rows
            if done < total:
                with (
                    self._stage(f"embed {what} with {_short_name(key)}", total, done),
                    _closing(opened()) as embedder,
                ):
                    embed(embedder, [])  # loads the model, which is no part of what texts cost
                    for texts in remaining(done):
                        started = time.perf_counter()
                        vectors = embed(embedder, texts)
                        self.embedded_texts += len(texts)
                        ledger.append(
                            vectors,
                            seconds=time.perf_counter() - started,
                            characters=sum(map(len, texts)),
                        )
                        self._progress.advance(len(texts))
            return Embedded(ledger.read(), ledger.total("seconds"), int(ledger.total("characters")))

    def _check_room(self, reranker: Reranker, missing: list[list[int]]) -> None:
        """Raise for a query that leaves no room for a document now, not when its turn comes."""
        count: Any = getattr(reranker, "count_tokens", None)  # servers count for themselves
        if count is not None:
            asked = [self.collection.queries[query] for query, row in enumerate(missing) if row]
            count([(query, "") for query in asked])

    def _score(self, reranker: Reranker, missing: list[list[int]], ledger: Ledger) -> None:
        """Score pairs in blocks that depend on what is missing alone, so a resumed run equals."""
        pending: list[tuple[int, int]] = []
        for query, places in enumerate(missing):
            pending += [(query, place) for place in places]
            if len(pending) >= BATCH or (query == len(missing) - 1 and pending):
                self._score_block(reranker, pending, ledger)
                pending = []

    def _score_block(
        self, reranker: Reranker, pending: list[tuple[int, int]], ledger: Ledger
    ) -> None:
        texts = self.collection.documents.texts([place for _, place in pending])
        pairs = [
            (self.collection.queries[query], text)
            for (query, _), text in zip(pending, texts, strict=True)
        ]
        started = time.perf_counter()
        scores = reranker.score(pairs)
        seconds = time.perf_counter() - started
        rows = np.empty(len(pending), _SCORE)
        rows["query"], rows["place"] = np.array(pending).T
        rows["score"] = scores
        self.scored_pairs += len(pending)
        ledger.append(rows, seconds=seconds, characters=sum(len(a) + len(b) for a, b in pairs))
        self._progress.advance(len(pending))

    @contextmanager
    def _stage(self, name: str, total: int, done: int) -> Iterator[None]:
        self._progress.begin(name, total, done)
        try:
            with _one_truncation_warning(name):
                yield
        finally:
            self._progress.end()


def full_width(settings: EmbedderSettings) -> EmbedderSettings:
    """Return the settings of the vectors that are stored: all else is cut from these."""
    return replace(
        settings, dimensions=None, normalize=True, vector_type="float32", vector_ranges=None
    )


def essence(settings: ModelSettings) -> dict[str, Any]:
    """Return what results depend on; of a model in a folder also when its files were written."""
    values = {n: value for n, value in settings.to_dict().items() if n not in _IRRELEVANT}
    values["version"] = COMPUTING
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        values["files"] = sorted(
            [path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns]
            for path in folder.rglob("*")
            if path.is_file()
        )
    return values


def _scores(ledger: Ledger) -> dict[tuple[int, int], float]:
    rows = ledger.read()
    if len(rows) == 0:
        return {}
    pairs = zip(rows["query"].tolist(), rows["place"].tolist(), strict=True)
    return dict(zip(pairs, rows["score"].tolist(), strict=True))


def _short(settings: ModelSettings) -> str:
    return Path(settings.model).name


def _short_name(key: dict[str, Any]) -> str:
    return Path(key["settings"]["model"]).name


@contextmanager
def _one_truncation_warning(stage: str) -> Iterator[None]:
    """Say once for all blocks of a stage how many texts were cut."""
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", TruncationWarning)
            yield
    finally:
        cut = 0
        for each in seen:
            if isinstance(each.message, TruncationWarning):
                cut += each.message.cut
                limit = each.message.limit
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        if cut:
            sentence = (
                f"{stage}: {cut:,} texts are longer than {limit:,} tokens and have been cut to"
                " that; raise max_length, or split them. Figures are those of the cut texts."
            )
            warnings.warn(TruncationWarning(sentence, cut=cut, limit=limit), stacklevel=2)


@contextmanager
def _closing(model: Any) -> Iterator[Any]:  # noqa: ANN401 - an embedder or a reranker
    try:
        yield model
    finally:
        model.close()
