"""What a fault costs: nDCG@10 on the standard library, and the error against the right result.

Three collections, all made from the running interpreter's own documentation, so they are real text
that lies on every machine: the judged questions over a part of the entries; the same questions with
the embedder's candidates to rerank; and summaries that ask for source code while documentation of
the same functions lies beside it, where the instruction alone tells which is meant.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import sys
import textwrap
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.local.embedder import LocalEmbedder
from qwen_retrieval.local.reranker import LocalReranker

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "examples"))

from stdlib_entries import Entry, load_questions, stdlib_entries  # noqa: E402

CODE = "Given a description of a function, retrieve its source code"
EMBEDDER = EmbedderSettings(
    model=str(ROOT / "tests/tiny/embedder"), dtype="float32", max_length=96, dimensions=128
)
RERANKER = RerankerSettings(
    model=str(ROOT / "tests/tiny/reranker"), dtype="float32", max_length=160
)
DEPTH = 10
EVERY = 40
"""One in so many of the entries that answer nothing is kept, for speed; so are the next."""
ASKED = slice(None, None, 2)
RERANKED = slice(None, None, 3)
FUNCTIONS = slice(None, None, 8)


@dataclass(frozen=True)
class Collection:
    """Texts to find, queries, and the places of what answers each."""

    documents: list[str]
    queries: list[str]
    relevant: list[set[int]]
    instruction: str | None = None


@cache
def judged() -> Collection:
    """Return the judged questions over their answers and a part of the other entries."""
    questions = load_questions()[ASKED]
    answers = {name for question in questions for name in question.relevant}
    entries = [
        entry
        for place, entry in enumerate(stdlib_entries())
        if entry.id in answers or place % EVERY == 0
    ]
    places = {entry.id: place for place, entry in enumerate(entries)}
    return Collection(
        [entry.text for entry in entries],
        [question.text for question in questions],
        [{places[name] for name in question.relevant} for question in questions],
    )


@cache
def code() -> Collection:
    """Return summaries whose answer is the source code, with the documentation beside it."""
    pairs = [
        (entry, source)
        for entry in stdlib_entries()
        if entry.kind == "function" and (source := _source(entry)) is not None
    ][FUNCTIONS]
    documents = [text for entry, source in pairs for text in (entry.text, source)]
    summaries = [entry.text.split("\n", 1)[-1].split("\n\n", 1)[0][:200] for entry, _ in pairs]
    return Collection(documents, summaries, [{2 * place + 1} for place in range(len(pairs))], CODE)


def embedding_quality(collection: Collection) -> float:
    """Return the mean nDCG@10 of embedding alone (dot product, as vector stores take it)."""
    embedder = LocalEmbedder(EMBEDDER)
    documents = embedder.embed_documents(collection.documents)
    queries = embedder.embed_queries(collection.queries, instruction=collection.instruction)
    embedder.close()
    orders = np.argsort(-(queries @ documents.T), axis=1, kind="stable")
    return _mean_ndcg(orders, collection.relevant)


@cache
def candidates() -> list[list[int]]:
    """Return what the embedder, unharmed, finds for each judged question.

    In the collection's order, which says nothing: one that gets lost then shows in full.
    """
    collection = judged()
    embedder = LocalEmbedder(EMBEDDER)
    documents = embedder.embed_documents(collection.documents)
    queries = embedder.embed_queries(collection.queries)
    embedder.close()
    orders = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :DEPTH]
    return [sorted(map(int, order)) for order in orders]


def reranking_quality() -> float:
    """Return the mean nDCG@10 of the reranked candidates."""
    collection = judged()
    reranker = LocalReranker(RERANKER)
    orders = []
    for query, places in list(zip(collection.queries, candidates(), strict=True))[RERANKED]:
        ranked = reranker.rerank(query, [collection.documents[place] for place in places])
        orders.append([places[each.index] for each in ranked])
    reranker.close()
    return _mean_ndcg(orders, collection.relevant[RERANKED])


def embedding_probe() -> np.ndarray:
    """Return vectors of ragged texts with newlines, for the error against the right ones."""
    collection = judged()
    embedder = LocalEmbedder(EMBEDDER)
    vectors = np.vstack(
        [
            embedder.embed_queries(collection.queries[:8]),
            embedder.embed_documents(collection.documents[:24]),
        ]
    )
    embedder.close()
    return vectors


def reranking_probe() -> np.ndarray:
    """Return scores of ragged documents, some of them cut, under an instruction of one's own."""
    collection = judged()
    reranker = LocalReranker(RERANKER)
    pairs = [
        (query, document)
        for query in collection.queries[:4]
        for document in sorted(collection.documents, key=len)[::-30]
    ]
    scores = reranker.score(pairs, instruction=CODE)
    reranker.close()
    return scores


def _mean_ndcg(orders: object, relevant: list[set[int]]) -> float:
    """Binary gains and the usual logarithmic discount (Järvelin & Kekäläinen 2002)."""
    discounts = 1 / np.log2(np.arange(2, 12))
    values = []
    for order, right in zip(orders, relevant, strict=True):  # type: ignore[call-overload]
        gains = np.array([float(place in right) for place in order[:10]])
        values.append(gains @ discounts[: len(gains)] / discounts[: len(right)].sum())
    return float(np.mean(values))


def _source(entry: Entry) -> str | None:
    """Return a Python function's source without its docstring; None for built-in ones."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that a later Python has no longer
            tree = ast.parse(textwrap.dedent(inspect.getsource(pkgutil.resolve_name(entry.id))))
    except (ImportError, AttributeError, TypeError, OSError, SyntaxError, ValueError):
        return None  # no such source: written in C, or built at run time
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef) or len(body.body) < 2:
        return None
    body.body = body.body[1:]
    return ast.unparse(body)
