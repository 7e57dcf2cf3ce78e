"""Measure how well BM25, the embedder, and embedder + reranker answer the judged questions.

Prints nDCG@10 over the documentation of Python's standard library, and what the models were trained
on where their model cards say so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import bm25s
import ir_measures
import numpy as np
import Stemmer
from huggingface_hub import ModelCard
from ir_measures import nDCG
from rich.table import Table

from demo import DemoSettings, add_options, settings_of, terminal
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.vectors import cut_and_normalize
from stdlib_entries import load_questions, stdlib_entries

DEPTH = 30
"""How many of the embedder's best the reranker sees."""

Ranking = list[int]
"""Places of documents in the corpus, best first."""


@dataclass(frozen=True)
class Corpus:
    """What is searched, and which of it answers what."""

    texts: list[str]
    questions: list[str]
    relevant: list[set[int]]


def judged() -> Corpus:
    """Return the entries of this interpreter's library and the questions that they answer."""
    entries = stdlib_entries()
    places = {entry.id: place for place, entry in enumerate(entries)}
    questions, relevant = [], []
    for question in load_questions():
        # Another Python version may lack one of the answers, or all of them.
        answers = {places[name] for name in question.relevant if name in places}
        if answers:
            questions.append(question.text)
            relevant.append(answers)
    return Corpus([entry.text for entry in entries], questions, relevant)


def rank_by_words(corpus: Corpus) -> list[Ranking]:
    """Return BM25's order: Lucene's variant, English stemmer and stop words."""
    stemmer = Stemmer.Stemmer("english")
    options = {"stopwords": "en", "stemmer": stemmer, "show_progress": False}
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(bm25s.tokenize(corpus.texts, **options), show_progress=False)
    tokens = bm25s.tokenize(corpus.questions, **options)
    found = index.retrieve(tokens, k=DEPTH, show_progress=False)
    return [list(map(int, row)) for row in found.documents]


def rank_by_vectors(corpus: Corpus, settings: DemoSettings) -> dict[int, list[Ranking]]:
    """Return the embedder's order by vectors of the settings' width and of its full width."""
    embedder = open_embedder(
        EmbedderSettings(
            model=settings.embedder,
            device=settings.device,
            dtype=settings.dtype,
            progress_bar=settings.progress_bar,
        )
    )
    documents = embedder.embed_documents(corpus.texts)
    queries = embedder.embed_queries(corpus.questions)
    embedder.close()
    full = documents.shape[1]
    rankings = {}
    for width in (full if settings.dimensions is None else settings.dimensions, full):
        stored, asked = (cut_and_normalize(v, width, normalize=True) for v in (documents, queries))
        order = np.argsort(-(asked @ stored.T), axis=1, kind="stable")[:, :DEPTH]
        rankings[width] = [list(map(int, row)) for row in order]
    return rankings


def rerank(corpus: Corpus, rankings: list[Ranking], settings: DemoSettings) -> list[Ranking]:
    """Return each ranking's documents in the reranker's order."""
    reranker = open_reranker(
        RerankerSettings(
            model=settings.reranker,
            device=settings.device,
            dtype=settings.dtype,
            progress_bar=settings.progress_bar,
        )
    )
    pairs = [
        (question, corpus.texts[place])
        for question, ranking in zip(corpus.questions, rankings, strict=True)
        for place in ranking
    ]
    scores = reranker.score(pairs).reshape(len(rankings), -1)
    reranker.close()
    order = np.argsort(-scores, axis=1, kind="stable")
    return [[ranking[place] for place in row] for ranking, row in zip(rankings, order, strict=True)]


def ndcg(corpus: Corpus, rankings: list[Ranking]) -> float:
    """Return the mean nDCG@10 with linear gain, as trec_eval computes it."""
    qrels = {
        str(question): {str(place): 1 for place in answers}
        for question, answers in enumerate(corpus.relevant)
    }
    # Places instead of scores: trec_eval would break ties by name.
    run = {
        str(question): {str(place): float(-rank) for rank, place in enumerate(ranking)}
        for question, ranking in enumerate(rankings)
    }
    measure = nDCG @ 10
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def training_data(model: str) -> str:
    """Return what a model's card names as its training data, where the card is at hand."""
    card = Path(model) / "README.md"
    if not card.is_file():
        return "what its model card says (there is none in a folder here)"
    names = ModelCard.load(card).data.get("datasets")
    if names is None:
        return "data that its model card does not name"
    return ", ".join([names] if isinstance(names, str) else names)


def main() -> None:
    """Read the options, rank in the three ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    settings = settings_of(parser.parse_args())
    console = terminal()
    corpus = judged()
    console.print(
        f"Measuring with {len(corpus.questions)} judged questions over {len(corpus.texts)} entries"
        " of the standard library …"
    )
    by_words = ndcg(corpus, rank_by_words(corpus))
    by_vectors = rank_by_vectors(corpus, settings)
    width, candidates = next(iter(by_vectors.items()))
    rows = {
        "BM25": by_words,
        f"embedding alone, {width} dimensions as above": ndcg(corpus, candidates),
        f"the same + reranking of its {DEPTH} best": ndcg(
            corpus, rerank(corpus, candidates, settings)
        ),
    }
    rows |= {
        f"embedding alone, all {full} dimensions": ndcg(corpus, ranking)
        for full, ranking in by_vectors.items()
        if full != width
    }
    table = Table("", "nDCG@10", "of BM25")
    for name, value in rows.items():
        table.add_row(name, f"{value:.3f}", f"{value / by_words:.2f} ×")
    console.print(table)
    for role, model in {"Embedder": settings.embedder, "Reranker": settings.reranker}.items():
        name = "/".join(Path(model).parts[-2:])  # of a hub id that is the whole
        console.print(
            f"{role} {name} was trained on: {training_data(model)}.",
            markup=False,
            highlight=False,
        )


if __name__ == "__main__":
    main()
