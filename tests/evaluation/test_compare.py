"""Sweeps over settings, with doubles that count what they are asked."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation import Collection, evaluate
from qwen_retrieval.evaluation.compare import compare
from qwen_retrieval.evaluation.comparison import Comparison
from qwen_retrieval.evaluation.comparison_text import advice, to_dict, to_markdown
from qwen_retrieval.evaluation.measures import MEASURES
from qwen_retrieval.evaluation.search import Ranking, reordered, union, with_rest
from qwen_retrieval.evaluation.setting import Costs, Grid
from qwen_retrieval.evaluation.stages import Stages
from qwen_retrieval.evaluation.store import Store
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings
from qwen_retrieval.testing import FakeEmbedder, FakeReranker, doubles

EMBEDDER = EmbedderSettings(model="one")
RERANKER = RerankerSettings(model="judge")
GRID = Grid(dimensions=(32, 64), depths=(0, 3, 10))
SEEN: Counter[tuple[object, ...]] = Counter()


class CountingEmbedder(FakeEmbedder):
    """Notes which texts it embeds, and how; counts words as tokens."""

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """Count, and embed."""
        SEEN.update(("document", self.settings.model, text) for text in texts)
        return super().embed_documents(texts)

    def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> np.ndarray:
        """Count, and embed."""
        asked = self.settings.query_instruction
        SEEN.update(("query", self.settings.model, asked, text) for text in texts)
        return super().embed_queries(texts, instruction=instruction)

    def count_tokens(self, texts: Sequence[str], kind: str) -> list[int]:
        """Return how many words there are, five more for an instruction."""
        extra = 5 if kind == "query" and self.settings.query_instruction != "" else 0
        return [len(text.split()) + extra for text in texts]

    def takes_instructions(self) -> bool:
        """Return whether the name says so."""
        return self.settings.model != "without template"


class CountingReranker(FakeReranker):
    """Notes which pairs it scores; counts words as tokens."""

    def score(self, pairs: Sequence[tuple[str, str]], **options: str | None) -> np.ndarray:
        """Count, and score."""
        SEEN.update(("pair", self.settings.instruction, *pair) for pair in pairs)
        return super().score(pairs, **options)

    def count_tokens(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Return ten for each."""
        return [10] * len(pairs)


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    """Whatever is opened counts."""
    SEEN.clear()
    with (
        doubles(),
        patch("qwen_retrieval.local.embedder.LocalEmbedder", CountingEmbedder),
        patch("qwen_retrieval.local.reranker.LocalReranker", CountingReranker),
    ):
        yield


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Thirty short texts, twenty questions that share words with their answers."""
    words = ["red", "blue", "round", "sweet", "sour", "large", "small", "old", "new", "warm"]
    texts = {f"d{n}": f"{words[n % 10]} {words[(n * 7 + 3) % 10]} thing {n}" for n in range(30)}
    queries = {f"q{n}": f"{words[n % 10]} {words[(n * 3 + n // 10) % 10]} ones" for n in range(20)}
    judged = {f"q{n}": {f"d{n}": 2, f"d{(n * 3) % 30}": 1} for n in range(20)}
    return Collection.of(texts, queries, judged, name="things")


def swept(collection: Collection, store: Path, **options: object) -> Comparison:
    """A comparison by one embedder and one reranker."""
    chosen = {"embedders": [EMBEDDER], "rerankers": [RERANKER], "grid": GRID} | options
    return compare(Stages(collection, Store(store)), resamples=500, **chosen)


def test_nothing_is_computed_twice(collection: Collection, tmp_path: Path) -> None:
    """Each document once a model, each query once an instruction, each pair once: 36 settings."""
    found = swept(collection, tmp_path)
    assert len(found.settings) == 2 * 2 * 3 * 3
    assert set(SEEN.values()) == {1}
    kinds = Counter(key[0] for key in SEEN)
    assert (kinds["document"], kinds["query"]) == (30, 2 * 20)
    work = {(each.what, each.instruction): each for each in found.work}
    assert work["documents", None].settings == 36
    assert work["queries", "none"].settings == 18
    pairs = work["pairs", "default and none"]
    assert pairs.settings == 24
    assert pairs.texts == pairs.computed_now == kinds["pair"] <= 20 * 30


def test_second_run_computes_nothing(collection: Collection, tmp_path: Path) -> None:
    """All is read from the store, and the result is the same, timings included."""
    first = swept(collection, tmp_path)
    SEEN.clear()
    again = swept(collection, tmp_path)
    assert not SEEN
    assert all(each.computed_now == 0 for each in again.work)
    plain = [to_dict(each, each.recommend()) for each in (first, again)]
    for each in plain:
        del each["work"]
    assert json.dumps(plain[0]) == json.dumps(plain[1])


def test_same_figures_as_evaluate(collection: Collection, tmp_path: Path) -> None:
    """A setting of the sweep is worth what the plain flow says of it, in every measure."""
    found = swept(collection, tmp_path)
    report = evaluate(
        collection, embedder=EMBEDDER, reranker=RERANKER, dimensions=[32, 64], depth=10, bm25=False
    )
    by_name = {(s.dimensions, s.depth): place for place, s in enumerate(found.settings)
               if (s.precision, s.instruction) == ("float32", "default")}  # fmt: skip
    expected = {(32, 0): report.runs[0], (64, 0): report.runs[1], (32, 10): report.runs[2]}
    for key, run in expected.items():
        for name in MEASURES:
            values = found.values[name][:, by_name[key]]
            assert values == pytest.approx(run.per_query[name], abs=1e-12), (key, name)


def test_whole_rankings_are_not_held(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is let go once it is measured; only its first places stay."""
    made: list[weakref.ref[np.ndarray]] = []
    alive = []

    def reordering(*arguments: object) -> Ranking:
        alive.append(sum(each() is not None for each in made))
        found = reordered(*arguments)
        made.append(weakref.ref(found.places))
        return found

    monkeypatch.setattr("qwen_retrieval.evaluation.compare.reordered", reordering)
    swept(collection, tmp_path)
    assert len(alive) == 24
    assert max(alive) <= 1


def test_instruction_reaches_both_stages(collection: Collection, tmp_path: Path) -> None:
    """A preset's words go to queries and pairs; the reranker keeps its own where there is none."""
    grid = Grid(dimensions=(64,), precisions=("float32",), depths=(3,),
                instructions=("none", "scifact"))  # fmt: skip
    found = swept(collection, tmp_path, grid=grid)
    sentence = "Given a scientific claim, retrieve documents that support or refute the claim"
    assert {key[2] for key in SEEN if key[0] == "query"} == {"", sentence}
    assert {key[1] for key in SEEN if key[0] == "pair"} == {None, sentence}
    assert len(found.settings) == 2


def test_model_without_template_is_asked_in_its_own_way(
    collection: Collection, tmp_path: Path
) -> None:
    """It takes part with "default" alone, beside one that has every instruction."""
    embedders = [EMBEDDER, EmbedderSettings(model="without template")]
    found = swept(collection, tmp_path, embedders=embedders, rerankers=[],
                  grid=Grid(dimensions=(64,), depths=(0,)))  # fmt: skip
    asked = Counter((each.model, each.instruction) for each in found.settings)
    assert asked == {("one", "default"): 3, ("one", "none"): 3, ("without template", "default"): 3}


def test_costs(collection: Collection, tmp_path: Path) -> None:
    """Tokens of the query with its instruction, and of as many pairs as are reranked."""
    found = swept(collection, tmp_path)
    costs = {(s.instruction, s.depth, s.dimensions, s.precision): cost
             for s, cost in zip(found.settings, found.costs, strict=True)}  # fmt: skip
    assert costs["none", 0, 64, "float32"].tokens_per_query == 3
    assert costs["default", 0, 64, "float32"].tokens_per_query == 8
    assert costs["default", 10, 64, "float32"].tokens_per_query == 108
    assert costs["default", 10, 64, "int8"].bytes_per_document == 64
    assert costs["default", 10, 32, "binary"].bytes_per_document == 4
    deeper, plain = costs["none", 10, 64, "int8"], costs["none", 0, 64, "int8"]
    assert deeper.seconds_per_query is not None
    assert plain.seconds_per_query is not None
    assert deeper.seconds_per_query > plain.seconds_per_query > 0


def test_recommendation_is_reproducible(collection: Collection, tmp_path: Path) -> None:
    """Two runs with stores of their own recommend one setting with one probability."""
    budget = Costs(bytes_per_document=32)
    found = [swept(collection, tmp_path / name).recommend(budget) for name in "ab"]
    assert found[0].best == found[1].best
    assert found[0].probability_best == found[1].probability_best
    assert found[0].affordable == 4 * 2 * 3 - 6


def test_advice_names_setting_budget_and_certainty(collection: Collection, tmp_path: Path) -> None:
    """What is printed says what to take, for which budget, and how sure that is."""
    found = swept(collection, tmp_path)
    said = advice(found, found.recommend(Costs(bytes_per_document=32)))
    assert said[0].startswith("Take one, ")
    assert "keep to the budget (bytes per document ≤ 32)" in said[1]
    assert "samples drawn from the 20 queries" in said[2]
    text = to_markdown(found, found.recommend())
    assert text.count("\n| ") >= 36
    assert "The Pareto front" in text


def test_advice_on_the_only_affordable_setting(collection: Collection, tmp_path: Path) -> None:
    """It is not called a sure choice, since there was none."""
    found = swept(collection, tmp_path, grid=Grid(dimensions=(32, 64), instructions=("none",),
                  precisions=("float32",), depths=(0,)), rerankers=[])  # fmt: skip
    said = advice(found, found.recommend(Costs(bytes_per_document=128)))
    assert said[2].startswith("It is the only one that keeps to the budget")
    assert not any("sure" in sentence for sentence in said)


def test_rest_of_a_ranking_stays_behind_what_is_reranked() -> None:
    """The depth best go by score, ties as they were; what is behind keeps its order."""
    ranking = Ranking(np.array([[4, 7, 2, 9]]), np.array([[4.0, 3.0, 2.0, 1.0]], np.float32))
    scores = [{4: 0.1, 7: 0.8, 2: 0.8, 9: 1.0}]
    assert reordered(ranking, scores, 3).places.tolist() == [[7, 2, 4, 9]]
    assert ranking.places.tolist() == [[4, 7, 2, 9]]


def test_what_was_not_reranked_stays_behind() -> None:
    """A head of a ranking in another order is followed by the rest of it."""
    ranking = Ranking(np.array([[4, 7, 2, 9]]), np.array([[4.0, 3.0, 2.0, 1.0]], np.float32))
    head = Ranking(np.array([[7, 4]]), np.array([[0.9, 0.1]], np.float32))
    assert with_rest(head, ranking).places.tolist() == [[7, 4, 2, 9]]
    assert with_rest(ranking, ranking).places.tolist() == ranking.places.tolist()


def test_union_names_each_place_once() -> None:
    """Rows of different lengths are filled with −1."""
    rankings = [Ranking(np.array([[1, 2], [3, -1]]), np.zeros((2, 2), np.float32)),
                Ranking(np.array([[2, 5], [3, -1]]), np.zeros((2, 2), np.float32))]  # fmt: skip
    assert union(rankings).places.tolist() == [[1, 2, 5], [3, -1, -1]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"embedders": []}, "no embedder"),
        ({"embedders": [EMBEDDER, EMBEDDER]}, "embedder one is given twice"),
        ({"rerankers": []}, "there is no reranker"),
        ({"grid": Grid(depths=(0,))}, "depths are 0 alone"),
        ({"main_measure": "accuracy"}, "measure is 'accuracy'"),
        ({"grid": Grid(depths=(0, 3), instructions=("scifacts",))}, "no preset 'scifacts'"),
    ],
)
def test_what_cannot_be_swept(
    collection: Collection, tmp_path: Path, options: dict[str, object], match: str
) -> None:
    """It is refused by name before anything is computed."""
    with pytest.raises(SettingsError, match=match):
        swept(collection, tmp_path, **options)
    assert not SEEN
