"""A document with the query's own id is no hit, where the data or the user say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qwen_retrieval.evaluation import Collection, evaluate, read_folder, tasks
from qwen_retrieval.evaluation.compare import compare
from qwen_retrieval.evaluation.data import read_collection
from qwen_retrieval.evaluation.folders import FolderWriter
from qwen_retrieval.evaluation.search import Ranking
from qwen_retrieval.evaluation.setting import Grid
from qwen_retrieval.evaluation.stages import Stages
from qwen_retrieval.evaluation.store import Store
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings
from qwen_retrieval.testing import doubles

COUNT = 103
EMBEDDER, RERANKER = EmbedderSettings(model="double"), RerankerSettings(model="double")
TEXTS = {f"a{n}": f"argument number {n + 100} of many" for n in range(COUNT)}
QUERIES = {name: TEXTS[name] for name in ("a4", "a9", "a50")} | {"q": "argument number 107"}
JUDGED = {name: {"a7": 1} for name in QUERIES}


def arguments(**options: bool) -> Collection:
    """A hundred texts, of which three are asked for their like."""
    return Collection.of(TEXTS, QUERIES, JUDGED, name="arguments", **options)


def test_one_place_a_query_is_dropped() -> None:
    """What is behind it moves up, −1 at the end where there is no more, and −1 drops nothing."""
    scores = np.array([[3, 2, 1], [3, 2, 1], [3, -np.inf, -np.inf]], np.float32)
    found = Ranking(np.array([[5, 6, 7], [5, 6, 7], [5, -1, -1]]), scores).without([5, 9, -1])
    assert found.places.tolist() == [[6, 7, -1], [5, 6, 7], [5, -1, -1]]
    assert found.scores.tolist()[0] == [2, 1, -np.inf]
    assert found.scores.dtype == np.float32


def test_evaluate_never_finds_the_query_itself(tmp_path: Path) -> None:
    """By no stage; rankings are as long as ever, and the reranker does not see it either."""
    collection = arguments(ignore_identical_ids=True)
    with doubles():
        report = evaluate(collection, embedder=EMBEDDER, reranker=RERANKER, depth=20)
        plain = evaluate(arguments(), embedder=EMBEDDER, reranker=RERANKER, depth=20)
        stages = Stages(collection, Store(tmp_path))
        for ranking in (stages.bm25(100), stages.search(EMBEDDER, 100)):
            assert (ranking.places >= 0).sum(axis=1).tolist() == [100] * 4
    for run in report.runs:
        for name, found in zip(QUERIES, run.top, strict=True):
            assert name not in found
            assert len(found) == 10
    assert [found[0] for found in plain.runs[0].top] == ["a4", "a9", "a50", "a7"]
    assert report.digest != plain.digest


def test_compare_never_finds_it_either(tmp_path: Path) -> None:
    """In no precision, reranked or not."""
    collection = arguments(ignore_identical_ids=True)
    grid = Grid(dimensions=(32,), instructions=("none",), depths=(0, 5))
    with doubles():
        found = compare(Stages(collection, Store(tmp_path)), [EMBEDDER], [RERANKER], grid)
    own = [collection.documents.find(name) for name in QUERIES]
    assert len(found.kept) == 3 * 2
    for kept in found.kept:
        assert (kept >= 0).all()
        assert not any(place in row for place, row in zip(own, kept, strict=True))


def test_a_sample_keeps_what_belongs_to_its_queries() -> None:
    """And a collection without equal ids is what it was."""
    collection = arguments(ignore_identical_ids=True)
    assert collection.excluded == (4, 9, 50, -1)
    drawn = collection.sampled(2)
    expected = [dict(zip(QUERIES, collection.excluded, strict=True))[n] for n in drawn.query_ids]
    assert list(drawn.excluded) == expected
    assert arguments().excluded == arguments().sampled(2).excluded == ()
    other = Collection.of({"d": "x"}, {"q": "x"}, {"q": {"d": 1}}, ignore_identical_ids=True)
    assert other.excluded == ()


def test_folders_do_so_when_asked(tmp_path: Path) -> None:
    """By default not, since numbers may coincide."""
    with FolderWriter(tmp_path / "folder") as writer:
        writer.document("1", "one")
        writer.document("2", "two")
        writer.query("2", "first")
        writer.judgement("2", "1", 1)
    assert read_folder(tmp_path / "folder").excluded == ()
    found = read_collection(tmp_path / "folder", store=tmp_path, ignore_identical_ids=True)
    assert found.excluded == (1,)


@pytest.mark.parametrize("flag", [True, False])
def test_mteb_tasks_say_so_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, flag: bool
) -> None:
    """As mteb's own evaluator does for ArguAna and others; the option overrules it."""
    split = {
        "corpus": [{"id": name, "text": text} for name, text in TEXTS.items()],
        "queries": [{"id": name, "text": text} for name, text in QUERIES.items()],
        "relevant_docs": JUDGED,
    }
    task = SimpleNamespace(
        metadata=SimpleNamespace(eval_splits=["test"], dataset={"revision": "1"}),
        dataset={"default": {"test": split}},
        load_data=lambda: None,
        ignore_identical_ids=flag,
    )
    monkeypatch.setattr(tasks, "find_spec", lambda _name: object())
    monkeypatch.setattr(tasks, "_find", lambda _name: (task, None))
    assert bool(read_collection("Arguments", store=tmp_path).excluded) is flag
    overruled = read_collection("Arguments", store=tmp_path, ignore_identical_ids=not flag)
    assert bool(overruled.excluded) is not flag
