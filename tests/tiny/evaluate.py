"""Yardsticks for the tiny checkpoints: two collections, two rankers, and switches that break them.

Written against transformers alone, so that it can judge the package that ships beside it::

    collection = two_target_collection()
    embedder = Embedder(folder)
    ndcg = embedding_ndcg(embedder, collection)
    broken = embedding_ndcg(embedder, collection, EmbeddingFaults(append_end=False))

A fault's cost is the difference. The corpus is text of the running interpreter's standard library;
the questions are the demo's judged ones, whose answers the checkpoints have never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from . import judged, prompts, sources
from .scores import BM25, mean_ndcg, top_by_vectors
from .settings import INSTRUCTIONS

DOCUMENT_CHARACTERS = 400
DISTRACTORS = 200


@dataclass(frozen=True, slots=True)
class Query:
    """A question, what it asks for, and the places of the documents that answer it."""

    text: str
    instruction: str
    relevant: frozenset[int]


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents and the queries over them."""

    documents: tuple[str, ...]
    queries: tuple[Query, ...]

    @property
    def relevant(self) -> list[set[int]]:
        """What answers each query."""
        return [set(query.relevant) for query in self.queries]


@cache
def judged_collection() -> Collection:
    """Return every documentation entry and the judged questions, with the default instruction."""
    entries = judged.entries()
    place = {entry.id: index for index, entry in enumerate(entries)}
    queries = [
        Query(
            question.text,
            INSTRUCTIONS["web"],
            frozenset(place[entry] for entry in question.relevant if entry in place),
        )
        for question in judged.questions()
    ]
    documents = tuple(entry.text for entry in entries)
    return Collection(documents, tuple(query for query in queries if query.relevant))


@cache
def two_target_collection() -> Collection:
    """Return entries and source code in one corpus, each question asked for either.

    Only what has both kinds of text is in it: the answers of judged questions, and a fixed sample
    of other functions. Without its instruction a question cannot know which of the two is meant.
    """
    answers = judged.answer_ids()
    both = {
        entry.id: (entry.text[:DOCUMENT_CHARACTERS], sources.source_of(entry.id))
        for entry in judged.entries()
        if entry.id in answers or _draw(entry.id) < 0.15
    }
    both = {name: texts for name, texts in both.items() if len(texts[1]) > 40}
    others = sorted((name for name in both if name not in answers), key=_draw)[:DISTRACTORS]
    names = sorted({*others, *(name for name in both if name in answers)})
    place = {name: index for index, name in enumerate(names)}
    documents = [both[name][0] for name in names]
    documents += [both[name][1][:DOCUMENT_CHARACTERS] for name in names]
    queries = []
    for question in judged.questions():
        found = [place[name] for name in question.relevant if name in place]
        if found:
            code = frozenset(index + len(names) for index in found)
            queries.append(Query(question.text, INSTRUCTIONS["web"], frozenset(found)))
            queries.append(Query(question.text, INSTRUCTIONS["code"], code))
    return Collection(tuple(documents), tuple(queries))


def _draw(name: str) -> float:
    return int.from_bytes(sha256(name.encode()).digest()[:4]) / 2**32


def bm25_ndcg(collection: Collection) -> float:
    """Return the nDCG@10 of BM25, which knows no instruction."""
    found, _ = BM25(collection.documents).top([query.text for query in collection.queries])
    return mean_ndcg(found, collection.relevant)


# --- embedding -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbeddingFaults:
    """What may be broken on purpose; the defaults are right."""

    instruction: bool = True
    instruction_on_documents: bool = False
    newline: str = "\n"  # what stands between the instruction and "Query:"
    append_end: bool = True
    pooling: str = "last"  # or "mean"
    dimensions: int = 256
    normalize_after_cut: bool = True


class Embedder:
    """An embedder folder, run with plain transformers in float32."""

    def __init__(self, folder: Path, max_tokens: int = 256) -> None:
        """Load it."""
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._max_tokens = max_tokens

    def encode(
        self, texts: Sequence[str], faults: EmbeddingFaults = EmbeddingFaults()
    ) -> NDArray[np.float32]:
        """Return one vector a text, in the order given."""
        end = self._tokenizer.convert_tokens_to_ids("<|endoftext|>")
        encoded = []
        for text in texts:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            ids = ids[: self._max_tokens - 1] + ([end] if faults.append_end else [])
            encoded.append(ids or [end])
        vectors: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(encoded)
        for places, ids, mask in _batches(encoded, end):
            with torch.no_grad():
                hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            if faults.pooling == "mean":
                pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
            else:
                pooled = hidden[torch.arange(len(ids)), mask.sum(1) - 1]
            for place, vector in zip(places, pooled.numpy(), strict=True):
                vectors[place] = _shorten(vector, faults)
        return np.stack(vectors)


def _shorten(vector: NDArray[np.float32], faults: EmbeddingFaults) -> NDArray[np.float32]:
    if not faults.normalize_after_cut:
        vector = vector / np.linalg.norm(vector)
        return vector[: faults.dimensions]
    vector = vector[: faults.dimensions]
    return vector / np.linalg.norm(vector)


def embedding_top(
    embedder: Embedder,
    collection: Collection,
    k: int = 10,
    faults: EmbeddingFaults = EmbeddingFaults(),
) -> list[list[int]]:
    """Return the k best documents of every query."""
    asked = [_asked(query, faults) for query in collection.queries]
    documents = list(collection.documents)
    if faults.instruction_on_documents:
        head = prompts.embedding_query_prompt(INSTRUCTIONS["web"])
        documents = [head + document for document in documents]
    return top_by_vectors(embedder.encode(asked, faults), embedder.encode(documents, faults), k)


def _asked(query: Query, faults: EmbeddingFaults) -> str:
    if not faults.instruction:
        return query.text
    return (
        prompts.embedding_query_prompt(query.instruction).replace("\n", faults.newline) + query.text
    )


def embedding_ndcg(
    embedder: Embedder, collection: Collection, faults: EmbeddingFaults = EmbeddingFaults()
) -> float:
    """Return the nDCG@10 of embedding alone."""
    return mean_ndcg(embedding_top(embedder, collection, 10, faults), collection.relevant)


# --- reranking -------------------------------------------------------------------------------

Render = Callable[[str, str, str], str]


def without_template(instruction: str, query: str, document: str) -> str:
    """Return the bare pair, as a classifier would be given it."""
    return f"{query} {document}"


def without_think_block(instruction: str, query: str, document: str) -> str:
    """Return the prompt that ends after the assistant's turn has begun."""
    whole = prompts.reranker_prompt(instruction, query, document)
    return whole.removesuffix("<think>\n\n</think>\n\n")


def without_closing(instruction: str, query: str, document: str) -> str:
    """Return the prompt that ends with the document, as a careless truncation leaves it."""
    return prompts.reranker_prompt(instruction, query, document).removesuffix(
        prompts.RERANKER_SUFFIX
    )


def with_default_instruction(instruction: str, query: str, document: str) -> str:
    """Return the prompt in which the caller's instruction was lost."""
    return prompts.reranker_prompt(INSTRUCTIONS["web"], query, document)


class Reranker:
    """A reranker folder, run with plain transformers in float32."""

    def __init__(self, folder: Path) -> None:
        """Load it and look up the two answers."""
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._yes, self._no = self._tokenizer.convert_tokens_to_ids(["yes", "no"])

    def logits(
        self,
        instruction: str,
        query: str,
        documents: Sequence[str],
        render: Render = prompts.reranker_prompt,
    ) -> NDArray[np.float32]:
        """Return yes minus no at the last position, in the order given."""
        texts = [render(instruction, query, document) for document in documents]
        encoded = [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        found = np.zeros(len(texts), np.float32)
        answers = torch.tensor([self._yes, self._no])
        rows = self._model.lm_head.weight[answers]
        for places, ids, mask in _batches(encoded, 0):
            with torch.no_grad():
                hidden = self._model.model(input_ids=ids, attention_mask=mask).last_hidden_state
                last = hidden[torch.arange(len(ids)), mask.sum(1) - 1]
                both = last @ rows.T
            found[places] = (both[:, 0] - both[:, 1]).numpy()
        return found


def reranked_ndcg(
    reranker: Reranker,
    collection: Collection,
    candidates: Sequence[Sequence[int]],
    render: Render = prompts.reranker_prompt,
    *,
    swapped: bool = False,
) -> float:
    """Return the nDCG@10 after reordering each query's candidates by the reranker's score."""
    rankings = []
    for query, places in zip(collection.queries, candidates, strict=True):
        documents = [collection.documents[place][:DOCUMENT_CHARACTERS] for place in places]
        logits = reranker.logits(query.instruction, query.text, documents, render)
        order = np.argsort(logits if swapped else -logits, kind="stable")
        rankings.append([places[index] for index in order])
    return mean_ndcg(rankings, collection.relevant)


def _batches(
    encoded: Sequence[list[int]], padding: int, size: int = 32
) -> list[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Return (places, ids, mask) of batches of like length, padded on the right."""
    order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
    made = []
    for start in range(0, len(order), size):
        places = order[start : start + size]
        longest = max(len(encoded[place]) for place in places)
        ids = torch.full((len(places), longest), padding)
        mask = torch.zeros(len(places), longest, dtype=torch.long)
        for row, place in enumerate(places):
            ids[row, : len(encoded[place])] = torch.tensor(encoded[place])
            mask[row, : len(encoded[place])] = 1
        made.append((places, ids, mask))
    return made
