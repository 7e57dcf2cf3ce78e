"""Beginnings that sequences share are computed once, and every answer stays the plain forward's."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_forward import PlainEmbedder, PlainReranker, get_detailed_instruct
from samples import PASSAGES, long_text
from sentence_transformers import SentenceTransformer
from torch.nn.functional import pad

import checkpoints
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.local import attention, network, prefix, shared
from qwen_retrieval.local.network import Qwen3Network
from qwen_retrieval.local.prefix import Branch, Trunks, branches, waves

TASKS = ("Given a claim, find text that refutes it", "Find the code", "Find the code of a function")
QUERIES = ("capital of China", "capital of China?", "gravity", ":", "")
CLOSE = 1e-5
LIMIT = 512


def pairs() -> list[tuple[str, str]]:
    """Pairs of many queries: some with every passage, some with a single one."""
    many = [(query, passage) for query in QUERIES[:3] for passage in PASSAGES]
    return [*many, (QUERIES[3], PASSAGES[0]), ("gravity", long_text(3, 200)), ("", ""), ("", "a")]


@pytest.fixture
def reranker(causal64: Path) -> Iterator[Any]:
    """A reranker in small batches, so that beginnings are met again."""
    settings = RerankerSettings(
        model=str(causal64), dtype="float32", device="cpu", batch_size=5, batch_tokens=400
    )
    opened = open_reranker(settings)
    yield opened
    opened.close()


@pytest.fixture
def embedder(embedder64: Path) -> Iterator[Any]:
    """An embedder in small batches."""
    settings = EmbedderSettings(
        model=str(embedder64), dtype="float32", device="cpu", batch_size=3, max_length=LIMIT
    )
    opened = open_embedder(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plain(causal64: Path) -> PlainReranker:
    """The model card's code over the same weights."""
    return PlainReranker(causal64)


@pytest.fixture(scope="module")
def plain_embedder(embedder64: Path) -> PlainEmbedder:
    """The model card's code over the same weights."""
    return PlainEmbedder(embedder64)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass through the network has computed."""
    counts: list[int] = []
    original = Qwen3Network._pack

    def counting(self: Qwen3Network, groups: Any) -> Any:
        pack = original(self, groups)
        counts.append(len(pack.ids))
        return pack

    monkeypatch.setattr(Qwen3Network, "_pack", counting)
    return counts


def reranking_error(reranker: Any, plain: PlainReranker) -> float:
    """Return the largest difference to the plain forward, over changing instructions."""
    error = 0.0
    for task in (None, *TASKS, None):
        found = reranker.score(pairs(), instruction=task)
        error = max(error, float(np.abs(found - plain.scores(pairs(), task)).max()))
    return error


def embedding_error(embedder: Any, plain: PlainEmbedder) -> float:
    """Return the largest difference to the plain forward, over changing instructions."""
    error = 0.0
    texts = [*PASSAGES, *QUERIES, long_text(5, 300)]
    for task in (*TASKS, TASKS[0]):
        found = embedder.embed_queries(texts, instruction=task)
        expected = plain.vectors([get_detailed_instruct(task, text) for text in texts], LIMIT)
        error = max(error, float(np.abs(found - expected).max()))
    return error


def attend_as(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have attention computed by sequence in small blocks, or padded, or the longer ones padded."""
    monkeypatch.setattr(attention, "blocks_are_faster", lambda: kind != "padded")
    monkeypatch.setattr(attention, "BLOCK", 16)
    if kind == "mixed":
        monkeypatch.setattr(attention, "LONGEST", 20)


@pytest.fixture(params=["blocked", "padded", "mixed"])
def span(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way in which attention is computed."""
    attend_as(request.param, monkeypatch)
    return str(request.param)


class TestAnswers:
    """They do not change."""

    @pytest.mark.usefixtures("span")
    def test_scores_are_the_plain_forwards(self, reranker: Any, plain: PlainReranker) -> None:
        """Many queries, ragged documents, changing instructions, and everything again."""
        assert reranking_error(reranker, plain) < CLOSE

    @pytest.mark.usefixtures("span")
    def test_vectors_are_the_plain_forwards(
        self, embedder: Any, plain_embedder: PlainEmbedder
    ) -> None:
        """Queries behind changing instructions, texts that may merge with the prompt's end."""
        assert embedding_error(embedder, plain_embedder) < CLOSE

    def test_long_sequences_take_a_causal_pass(
        self,
        reranker: Any,
        plain: PlainReranker,
        embedder: Any,
        plain_embedder: PlainEmbedder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Behind a stem, with queries for its places that nobody reads."""
        led: list[int] = []

        def noting(rows: torch.Tensor, by: tuple[int, ...]) -> torch.Tensor:
            led.append(by[2])
            return pad(rows, by)

        monkeypatch.setattr(attention, "pad", noting)
        attend_as("padded", monkeypatch)
        assert reranking_error(reranker, plain) < CLOSE
        assert not led
        monkeypatch.setattr(attention, "LED", 1)
        assert reranking_error(reranker, plain) < CLOSE
        assert embedding_error(embedder, plain_embedder) < CLOSE
        assert len(set(led)) > 3

    def test_a_small_cache_changes_nothing(
        self, reranker: Any, plain: PlainReranker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stems that are forgotten between two batches are computed again."""
        monkeypatch.setattr(shared, "CAPACITY_BYTES", 1)
        monkeypatch.setattr(prefix, "CAPACITY_BYTES", 1)
        assert reranking_error(reranker, plain) < CLOSE

    def test_the_widest_layers_take_a_long_batch_in_parts(
        self, reranker: Any, plain: PlainReranker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They need the most memory; the parts are put together in their order."""
        most: list[int] = []
        original = network._fed_forward

        def noting(mlp: Any, normed: Any) -> Any:
            most.append(len(normed))
            return original(mlp, normed)

        monkeypatch.setattr(network, "ROWS", 7)
        monkeypatch.setattr(network, "_fed_forward", noting)
        assert reranking_error(reranker, plain) < CLOSE
        assert max(most) == 7

    def test_in_bfloat16_scores_stay_as_close_as_transformers(
        self, causal64: Path, plain: PlainReranker
    ) -> None:
        """The lower precision costs no more here than in the plain path."""
        errors = []
        for chosen in (None, "eager"):
            opened = open_reranker(
                RerankerSettings(
                    model=str(causal64), dtype="bfloat16", device="cpu", attention=chosen
                )
            )
            errors.append(np.abs(opened.score(pairs()) - plain.scores(pairs())).mean())
            opened.close()
        assert errors[0] < 1.5 * errors[1]


class TestFaults:
    """Each way of getting it wrong shows as an error far above what parity allows."""

    @pytest.fixture(
        params=[
            *[f"{fault}, {span}" for fault in ("positions", "another query's", "mask", "stale",
                                               "order") for span in ("blocked", "padded")],
            "causal, padded",
        ]
    )  # fmt: skip
    def fault(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """One of them, in place, in either kind of attention."""
        name, _, span = request.param.partition(", ")
        pack, stems, additive = Qwen3Network._pack, Trunks.stems, attention._additive
        first: dict[int, Any] = {}

        def positions(self: Qwen3Network, groups: Any) -> Any:
            made = pack(self, groups)
            return dataclasses.replace(made, cos=made.cos.roll(1, 0), sin=made.sin.roll(1, 0))

        def another(self: Trunks, paths: Iterable[Any]) -> Any:
            found = stems(self, paths)
            deep = [path for path in found if len(path) == 2]
            return {p: found[deep[0]] if p in deep else s for p, s in found.items()}

        def mask(seen: torch.Tensor, *others: Any) -> torch.Tensor:
            return additive(seen | seen.roll(1, -1), *others)

        def causal(rows: torch.Tensor, by: tuple[int, ...]) -> torch.Tensor:
            return pad(rows, (*by[:2], by[2] - 1, 1))

        attend_as(span, monkeypatch)
        if name == "causal":
            monkeypatch.setattr(attention, "LED", 1)

        def stale(self: Trunks, paths: Iterable[Any]) -> Any:
            return {
                path: tuple(
                    first.setdefault(n, stem) if n == 0 else stem for n, stem in enumerate(s)
                )
                for path, s in stems(self, paths).items()
            }

        def order(self: Any, items: Any) -> torch.Tensor:
            return last(self, items).flip(0)

        last = shared.SharedForward.last_hidden
        place: dict[str, tuple[Any, str, Callable[..., Any]]] = {
            "positions": (Qwen3Network, "_pack", positions),
            "another query's": (Trunks, "stems", another),
            "mask": (attention, "_additive", mask),
            "causal": (attention, "pad", causal),
            "stale": (Trunks, "stems", stale),
            "order": (shared.SharedForward, "last_hidden", order),
        }
        monkeypatch.setattr(*place[name])
        return name

    def test_a_fault_in_reranking_shows(
        self, reranker: Any, plain: PlainReranker, fault: str
    ) -> None:
        """Wrong positions, another query's stem, a mask off by one, an instruction's old stem."""
        assert reranking_error(reranker, plain) > 10 * CLOSE, fault

    def test_a_fault_in_embedding_shows(
        self, embedder: Any, plain_embedder: PlainEmbedder, fault: str
    ) -> None:
        """The same for queries, which have one stem only."""
        if fault == "another query's":
            return  # there is none to mistake
        assert embedding_error(embedder, plain_embedder) > 10 * CLOSE, fault


class TestCost:
    """Only tokens that differ are computed."""

    def test_a_querys_documents_cost_their_own_tokens(
        self, reranker: Any, computed: list[int]
    ) -> None:
        """Twice as many documents cost as much more as they are long."""
        reranker.score([])  # loads, and computes the prompt
        assert computed[0] > 50
        computed.clear()
        reranker.rerank("gravity", [f"{n} apples" for n in range(10, 20)])
        few = sum(computed)
        reranker.rerank("gravity", [f"{n} apples" for n in range(20, 30)])
        assert sum(computed) == 2 * few
        before = len(computed)
        reranker.rerank("gravity", ["a", "b"])
        assert sum(computed[before:]) < 60  # the query, two documents and the prompt's end

    def test_an_instruction_is_computed_once(self, embedder: Any, computed: list[int]) -> None:
        """A second query costs its own tokens and EOS."""
        embedder.embed_queries(["a"])
        assert sum(computed) > 15
        computed.clear()
        embedder.embed_queries(["b"])
        assert computed == [3]  # the ":" that may merge, the letter, EOS

    def test_a_long_query_counts_in_a_batch(self) -> None:
        """Its keys and values are copied for each document, which takes memory too."""
        assert Branch(((1,), tuple(range(8_000))), [1, 2]).cost == 2 + 8_001 // 8

    def test_the_cache_is_bounded(self, causal64: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many queries come, what is kept stays below its limit."""
        monkeypatch.setattr(prefix, "CAPACITY_BYTES", 400_000)
        opened: Any = open_reranker(RerankerSettings(model=str(causal64), dtype="float32"))
        for number in range(30):
            opened.rerank(f"question {number}", ["a", "b", "c"])
        kept = opened._held[0]._own[0]._trunks._kept.values()
        opened.close()
        tensors = [tensor for stem in kept for layer in stem.layers for tensor in layer]
        assert 0 < sum(tensor.nbytes for tensor in tensors) <= 400_000

    def test_memory_that_ends_forgets_the_stems(
        self, reranker: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They give their memory back before the batch is tried again in halves."""
        expected = reranker.score(pairs())
        original = Qwen3Network.last_hidden
        tries: list[int] = []

        def short(self: Qwen3Network, groups: Any) -> torch.Tensor:
            tries.append(len(reranker._held[0]._own[0]._trunks._kept))
            if len(tries) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return original(self, groups)

        monkeypatch.setattr(Qwen3Network, "last_hidden", short)
        with pytest.warns(match="memory ran out"):
            found = reranker.score(pairs())
        assert np.abs(found - expected).max() < CLOSE
        assert tries[1] < tries[0]
        tries.clear()  # a single pair is tried again without stems, and nothing is said
        assert reranker.score(pairs()[:1]) == pytest.approx(expected[:1], abs=CLOSE)
        assert len(tries) == 2


class TestFallingBack:
    """What the network does not know is left to sentence-transformers, and the log says so."""

    @pytest.mark.parametrize(
        ("changes", "attention", "reason"),
        [
            ({}, "eager", "attention 'eager'"),
            (
                {
                    "use_sliding_window": True,
                    "sliding_window": 64,
                    "layer_types": ["full_attention", *["sliding_attention"] * 2],
                },
                None,
                "sliding-window attention",
            ),
            (
                {
                    "rope_scaling": {
                        "rope_type": "yarn",
                        "factor": 4.0,
                        "original_max_position_embeddings": 512,
                    }
                },
                None,
                "rope scaling 'yarn'",
            ),
        ],
    )
    def test_it_falls_back(  # noqa: PLR0913 - cases and fixtures
        self,
        causal64: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        changes: dict[str, Any],
        attention: str | None,
        reason: str,
    ) -> None:
        """One line names the model and the reason; the scores are transformers'."""
        folder = tmp_path / "model"
        shutil.copytree(causal64, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        opened = open_reranker(
            RerankerSettings(model=str(folder), dtype="float32", device="cpu", attention=attention)
        )
        with caplog.at_level(logging.INFO, logger="qwen_retrieval"):
            found = opened.score(pairs()[:5])
        opened.close()
        assert sum(reason in record.getMessage() for record in caplog.records) == 1
        assert np.abs(found - PlainReranker(folder).scores(pairs()[:5])).max() < CLOSE


@pytest.mark.parametrize("without", [0, 1])
@pytest.mark.parametrize("stage", ["embedding", "reranking"])
def test_devices_may_differ_in_what_they_know(
    embedder64: Path, causal64: Path, monkeypatch: pytest.MonkeyPatch, stage: str, without: int
) -> None:
    """One computes by the own pass and another by transformers, whoever prepared the tokens."""
    made: list[int] = []
    right = shared.SharedForward.of

    def unknown(*operands: Any, unusual: str | None, **others: Any) -> Any:
        made.append(len(made))
        found = "another device" if made[-1] == without else unusual
        return right(*operands, unusual=found, **others)

    monkeypatch.setattr(shared.SharedForward, "of", unknown)
    common: dict[str, Any] = {"dtype": "float32", "device": ("cpu", "cpu:0"), "batch_size": 2}
    if stage == "embedding":
        embedder: Any = open_embedder(EmbedderSettings(model=str(embedder64), **common))
        found = embedder.embed_queries(PASSAGES, instruction=TASKS[0])
        expected = PlainEmbedder(embedder64).vectors(
            [get_detailed_instruct(TASKS[0], text) for text in PASSAGES], LIMIT
        )
        opened = embedder
    else:
        reranker: Any = open_reranker(RerankerSettings(model=str(causal64), **common))
        found = reranker.score(pairs())
        expected = PlainReranker(causal64).scores(pairs())
        opened = reranker
    knowing = [
        getattr(each, "_shared", None) or getattr(each, "_own", None) for each in opened._held
    ]
    opened.close()
    assert [each is None for each in knowing] == [without == 0, without == 1]
    assert np.abs(found - expected).max() < CLOSE


def test_a_pooling_that_leaves_the_prompt_out(embedder64: Path, tmp_path: Path) -> None:
    """Vectors are those of sentence-transformers, which drops the instruction's tokens."""
    folder = checkpoints.write_mean_pooling(tmp_path / "model", embedder64, include_prompt=False)
    peer = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    opened = open_embedder(EmbedderSettings(model=str(folder), dtype="float32", device="cpu"))
    queries = opened.embed_queries(PASSAGES, instruction=TASKS[0])
    documents = opened.embed_documents(PASSAGES)
    opened.close()
    prompt = get_detailed_instruct(TASKS[0], "")
    expected = peer.encode(PASSAGES, prompt=prompt, normalize_embeddings=True)
    assert np.abs(queries - expected).max() < CLOSE
    assert np.abs(documents - peer.encode(PASSAGES, normalize_embeddings=True)).max() < CLOSE
    whole = peer.encode([prompt + text for text in PASSAGES], normalize_embeddings=True)
    assert np.abs(queries - whole).max() > 0.001


@pytest.mark.parametrize("slow", ["BlockedSpan", "PaddedSpan"])
def test_the_faster_kind_of_attention_is_taken(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """Whichever it is on this machine."""
    kind = getattr(attention, slow)
    attend = kind.attend

    def slowly(*operands: Any) -> torch.Tensor:
        time.sleep(0.2)
        return attend(*operands)

    monkeypatch.setattr(kind, "attend", slowly)
    attention.blocks_are_faster.cache_clear()
    span = attention.span_of(attention.Group((), [range(5)]), 0, torch.device("cpu"), torch.float32)
    attention.blocks_are_faster.cache_clear()
    assert type(span).__name__ != slow


class TestSplitting:
    """Which tokens are shared."""

    def test_only_identical_ids_are_shared(self) -> None:
        """A sequence that does not begin as the others shares nothing."""
        found = branches([[1, 2, 3, 4], [1, 2, 3, 5], [9, 2, 3, 4]], [1, 2], "aaa")
        assert found == [
            Branch(((1,), (2, 3)), [4]),
            Branch(((1,), (2, 3)), [5]),
            Branch((), [9, 2, 3, 4]),
        ]

    def test_each_keeps_a_token_of_its_own(self) -> None:
        """Also where one sequence is the beginning of another."""
        found = branches([[1, 2, 3], [1, 2, 3, 4]], [1, 5], "aa")
        assert [branch.own for branch in found] == [[3], [3, 4]]

    def test_the_trunks_last_token_is_not_shared(self) -> None:
        """It may have merged with what follows."""
        assert branches([[1, 2, 7]], [1, 2], "a") == [Branch(((1,),), [2, 7])]

    def test_a_long_query_is_shared_by_its_documents(self) -> None:
        """However long each of them is."""
        query = list(range(100, 3_100))
        own = [[1] * 50, [2] * 60, [3] * 20_000]
        found = branches([[7, 8, *query, *each] for each in own], [7, 8], "aaa")
        assert [branch.path for branch in found] == [((7,), (8, *query))] * 3
        assert [branch.own for branch in found] == own

    def test_a_wave_holds_what_fits(self) -> None:
        """Every place is in one wave, all of a family in the same."""
        items = [Branch(((0,), (n % 7,) * 10), [1]) for n in range(70)]
        parts = waves(items, 30)
        assert sorted(place for part in parts for place in part) == list(range(70))
        assert [len({items[place].path for place in part}) for part in parts] == [3, 3, 1]

    def test_no_item_makes_no_batch(self) -> None:
        """Nothing in, nothing out."""
        assert [place for part in waves([], 10) for place in part] == []
        assert prefix.branches([], [1, 2], []) == []
