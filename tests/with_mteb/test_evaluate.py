"""`mteb.evaluate` over an embedder and a reranker as they are, beside our own flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mteb
import pytest
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import CrossEncoderProtocol, EncoderProtocol
from small import small_collection

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.evaluation import evaluate

# mteb and what it draws in warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("default")

TINY = Path(__file__).parents[1] / "tiny"
EMBEDDER = EmbedderSettings(model=str(TINY / "embedder"), device="cpu", dtype="float32")
RERANKER = RerankerSettings(model=str(TINY / "reranker"), device="cpu", dtype="float32")
DEPTH = 10


class StandardLibraryQuestions(AbsTaskRetrieval):
    """The small collection as a task of mteb, from memory."""

    metadata = TaskMetadata(
        name="StandardLibraryQuestions",
        description="Questions about Python's standard library over its documentation.",
        reference=None,
        dataset={"path": "memory", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, **options: Any) -> None:
        """Lay the collection out as mteb has it."""
        collection = small_collection()
        places = range(len(collection.documents))
        names = collection.documents.ids(places)
        rows = zip(names, collection.documents.texts(places), strict=True)
        asked = zip(collection.query_ids, collection.queries, strict=True)
        judged = zip(collection.query_ids, collection.judgements, strict=True)
        split = {
            "corpus": Dataset.from_list([{"id": n, "text": t, "title": ""} for n, t in rows]),
            "queries": Dataset.from_list([{"id": n, "text": t} for n, t in asked]),
            "relevant_docs": {
                query: {names[place]: grade for place, grade in grades.items()}
                for query, grades in judged
            },
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def ndcg(model: object, task: AbsTaskRetrieval, predictions: Path | None = None) -> float:
    """What mteb measures, nothing taken from its cache."""
    result = mteb.evaluate(
        model, task, cache=None, prediction_folder=predictions, show_progress_bar=False
    )
    (scores,) = result.task_results[0].scores["test"]
    return float(scores["ndcg_at_10"])


def test_both_stages_are_worth_what_our_own_flow_says(tmp_path: Path) -> None:
    """nDCG@10 of embedding, then of reranking its best in mteb's reranking mode, agrees."""
    report = evaluate(
        small_collection(), embedder=EMBEDDER, reranker=RERANKER, depth=DEPTH, bm25=False
    )
    ours = [run.estimates["nDCG@10"].mean for run in report.runs]
    embedder, reranker = open_embedder(EMBEDDER), open_reranker(RERANKER)
    assert isinstance(embedder, EncoderProtocol)
    assert isinstance(reranker, CrossEncoderProtocol)
    task = StandardLibraryQuestions()
    first = ndcg(embedder, task, tmp_path)
    second = ndcg(reranker, task.convert_to_reranking(tmp_path, top_k=DEPTH))
    embedder.close()
    reranker.close()
    print(f"\nembedding {first:.5f} (ours {ours[0]:.5f}), reranked {second:.5f} ({ours[1]:.5f})")  # noqa: T201
    # mteb rounds to five places.
    assert [first, second] == pytest.approx(ours, abs=1e-5)
    assert second > first > 0.3


def test_results_of_other_settings_are_kept_apart(tmp_path: Path) -> None:
    """The cache of mteb tells dimensions, instructions and folders of one name apart."""
    (tmp_path / "embedder").mkdir()
    variants = [
        EMBEDDER,
        replace(EMBEDDER, dimensions=64),
        replace(EMBEDDER, query_instruction="find code"),
        replace(EMBEDDER, model=str(tmp_path / "embedder")),
    ]
    metas = [open_embedder(each).mteb_model_meta for each in variants]
    names = {(meta.name, meta.revision, meta.experiment_name) for meta in metas}
    assert len(names) == len(variants)
    same = open_embedder(replace(EMBEDDER, batch_size=4)).mteb_model_meta
    assert same.experiment_name == metas[0].experiment_name
    hub = open_reranker(RerankerSettings(revision="abc")).mteb_model_meta
    assert (hub.name, hub.revision) == ("Qwen/Qwen3-Reranker-0.6B", "abc")
