"""Formats are chosen by measuring; bars show when asked for; nothing is computed twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaded import computed_dtypes
from safetensors import safe_open
from samples import PASSAGES

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.local import loading, precision
from qwen_retrieval.local.embedder import LocalEmbedder
from qwen_retrieval.local.reranker import LocalReranker

FAST, SLOW = 1.0, 2.0


@pytest.fixture(autouse=True)
def measured_anew() -> Any:
    """Measurements of one test do not decide for another."""
    precision.fastest_dtype.cache_clear()
    yield
    precision.fastest_dtype.cache_clear()


class TestChoice:
    """Which dtype weights are loaded in."""

    @pytest.mark.parametrize(
        ("device", "bf16", "ratio", "chosen"),
        [
            ("cpu", True, 0.5, torch.float32),
            ("cpu", True, 1.0, torch.float32),
            ("cpu", True, 1.29, torch.float32),
            ("cpu", True, 1.31, torch.bfloat16),
            ("cuda", True, 4.0, torch.bfloat16),
            ("cuda:1", False, 4.0, torch.float32),
            ("mps", True, 2.0, torch.float32),
        ],
    )
    def test_float32_stays_unless_another_is_clearly_faster(
        self,
        monkeypatch: pytest.MonkeyPatch,
        device: str,
        bf16: bool,  # noqa: FBT001 - parametrized
        ratio: float,
        chosen: torch.dtype,
    ) -> None:
        """bfloat16 is taken from a ratio of 1.3 on, where a GPU does not only emulate it."""
        times = lambda _, dtype: 1.0 if dtype is torch.float32 else 1.0 / ratio  # noqa: E731 - one line
        monkeypatch.setattr(precision, "_seconds", times)
        monkeypatch.setattr(precision, "_has_bfloat16", lambda _: bf16)
        assert precision.fastest_dtype(device) is chosen

    def test_devices_that_differ_get_one_dtype(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A result must not depend on which of them was free."""
        fast = {"cuda:0": torch.bfloat16, "cuda:1": torch.bfloat16, "cpu": torch.float32}
        monkeypatch.setattr(loading, "fastest_dtype", fast.__getitem__)
        settings = EmbedderSettings(device=("cuda:0", "cpu"))
        assert loading.chosen_dtype(settings) is torch.float32
        settings = EmbedderSettings(device=("cuda:0", "cuda:1"))
        assert loading.chosen_dtype(settings) is torch.bfloat16

    def test_is_measured_once_and_logged(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The second model does not measure again; the log names the setting that overrides."""
        measured: list[torch.dtype] = []
        monkeypatch.setattr(precision, "_seconds", lambda _, dtype: measured.append(dtype) or 1.0)
        with caplog.at_level(logging.INFO, logger="qwen_retrieval"):
            precision.fastest_dtype("cpu")
            precision.fastest_dtype("cpu")
        assert measured == [torch.float32, torch.bfloat16]
        assert len(caplog.records) == 1
        assert "dtype= overrides" in caplog.text

    def test_really_measures(self) -> None:
        """A product takes some time."""
        assert 0 < precision._seconds("cpu", torch.float32, repeats=1) < 60

    def test_a_bfloat16_checkpoint_is_computed_as_measured(
        self, embedder64: Path, causal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the file stores does not decide; what the machine does fast does."""
        with safe_open(embedder64 / "model.safetensors", "pt") as file:
            assert file.get_tensor("norm.weight").dtype is torch.bfloat16
        assert json.loads((causal / "config.json").read_text())["dtype"] == "bfloat16"
        for faster, wanted in ((torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)):
            precision.fastest_dtype.cache_clear()
            monkeypatch.setattr(
                precision,
                "_seconds",
                lambda _, dtype, faster=faster: FAST if dtype is faster else SLOW,
            )
            for handle in (
                LocalEmbedder(EmbedderSettings(model=str(embedder64), device="cpu")),
                LocalReranker(RerankerSettings(model=str(causal), device="cpu")),
            ):
                model = handle.replicas()[0]._model
                assert computed_dtypes(model) == {wanted}
                handle.close()

    def test_bfloat16_still_gives_float32_unit_vectors(self, embedder64: Path) -> None:
        """The contract's type does not depend on the computing type."""
        half = open_embedder(EmbedderSettings(model=str(embedder64), dtype="bfloat16"))
        full = open_embedder(EmbedderSettings(model=str(embedder64), dtype="float32"))
        found, expected = half.embed_documents(PASSAGES), full.embed_documents(PASSAGES)
        half.close()
        full.close()
        assert found.dtype == np.float32
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
        assert (found * expected).sum(axis=1).min() > 0.98
        assert np.abs(found - expected).max() > 1e-4, "it did compute in bfloat16"


class TestBars:
    """Progress."""

    def test_a_bar_is_shown_when_asked_for(
        self, embedder64: Path, causal: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Over the sequences of the call, to its end."""
        embedder = open_embedder(
            EmbedderSettings(model=str(embedder64), dtype="float32", progress_bar=True)
        )
        embedder.embed_documents(PASSAGES)
        embedder.close()
        assert "8/8" in capsys.readouterr().err
        reranker = open_reranker(
            RerankerSettings(model=str(causal), dtype="float32", progress_bar=True)
        )
        reranker.rerank("query", PASSAGES[:3])
        reranker.close()
        assert "3/3" in capsys.readouterr().err

    def test_nothing_is_written_otherwise(
        self, embedder64: Path, causal: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither loading nor computing writes a byte."""
        embedder = open_embedder(EmbedderSettings(model=str(embedder64), dtype="float32"))
        reranker = open_reranker(RerankerSettings(model=str(causal), dtype="float32"))
        embedder.embed_documents(PASSAGES)
        reranker.rerank("query", PASSAGES[:3])
        embedder.close()
        reranker.close()
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")


class TestWork:
    """How much is computed."""

    def test_duplicates_are_computed_once(
        self, embedder64: Path, causal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And come back as often as they were given."""
        counted: list[int] = []

        def count(handle: Any) -> None:
            replica = handle.replicas()[0]
            compute = replica.compute
            monkeypatch.setattr(
                replica, "compute", lambda items: counted.append(len(items)) or compute(items)
            )

        embedder = open_embedder(EmbedderSettings(model=str(embedder64), dtype="float32"))
        count(embedder)
        found = embedder.embed_documents(["a", "b", "a", "a", "c", "b"])
        assert counted == [3]
        assert found.shape == (6, 64)
        assert np.array_equal(found[0], found[3])
        assert not np.array_equal(found[0], found[1])
        embedder.embed_queries(["a", "a"])
        assert counted == [3, 1]
        embedder.close()
        counted.clear()
        reranker = open_reranker(RerankerSettings(model=str(causal), dtype="float32"))
        count(reranker)
        scores = reranker.score([("q", "a"), ("q", "b"), ("q", "a"), ("a", "q")])
        assert counted == [3]
        assert scores[0] == scores[2] != scores[1]
        reranker.close()

    def test_a_rerank_for_no_result_computes_nothing(
        self, causal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`top_n=0` gives nothing, at no cost."""
        reranker = open_reranker(RerankerSettings(model=str(causal), dtype="float32"))
        computed: list[Any] = []
        monkeypatch.setattr(reranker.replicas()[0], "compute", computed.append)  # type: ignore[attr-defined] # the local one
        assert reranker.rerank("q", ["a", "b"], top_n=0) == []
        reranker.close()
        assert computed == []

    def test_inputs_are_not_changed(self, embedder64: Path, causal: Path) -> None:
        """Lists are only read, and any sequence or generator will do."""
        texts, before = list(PASSAGES), list(PASSAGES)
        embedder = open_embedder(EmbedderSettings(model=str(embedder64), dtype="float32"))
        first = embedder.embed_documents(texts)
        embedder.embed_queries(texts)
        assert np.array_equal(embedder.embed_documents(tuple(texts)), first)
        assert np.array_equal(embedder.embed_documents(t for t in texts), first)  # type: ignore[arg-type] # on purpose
        embedder.close()
        pairs = [("q", text) for text in texts]
        reranker = open_reranker(RerankerSettings(model=str(causal), dtype="float32"))
        reranker.rerank("q", texts)
        reranker.score(pairs)
        reranker.close()
        assert texts == before
        assert pairs == [("q", text) for text in before]
