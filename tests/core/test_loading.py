"""Weights lie in memory once, and the first call is as fast as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plain_forward
import pytest
import torch
from loaded import computed_dtypes
from safetensors.torch import load_file, save_file
from samples import PASSAGES

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.local import widening
from qwen_retrieval.local.checkpoint import Checkpoint
from qwen_retrieval.local.half import AT_A_TIME, LOST, HalfLinear, fits_half
from qwen_retrieval.local.loading import _is_widened
from qwen_retrieval.local.widening import Forms, fastest_forms

CLOSE = 1e-5


def resident(path: Path) -> int:
    """Return the bytes of a file that are in this process's memory through a mapping."""
    blocks, mine = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            mine = line.endswith(str(path))
        elif mine and first == "Rss:":
            blocks += int(line.split()[1])
    return 1024 * blocks


class TestMemory:
    """Nothing of a 16-bit file stays in memory beside its float32 copy."""

    @pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
    def test_what_has_been_read_is_given_back(self, tmp_path: Path) -> None:
        """The file's pages leave the memory, and come back unchanged when they are read again."""
        path = tmp_path / "model.safetensors"
        save_file({"a": torch.rand(1024, 1024), "b": torch.rand(1024, 1024)}, path)
        tensors = load_file(path)
        sums = {name: float(tensor.sum()) for name, tensor in tensors.items()}
        before = resident(path)
        if before == 0:
            pytest.skip("this release of safetensors reads files instead of mapping them")
        files = widening.MappedFiles()
        files.give_back(tensors["a"])
        assert before - resident(path) > 3.9 * 2**20
        assert {name: float(tensor.sum()) for name, tensor in tensors.items()} == sums

    def test_what_is_not_mapped_stays(self) -> None:
        """Memory of the process's own would be lost, not given back."""
        tensor = torch.rand(1024, 1024)
        before = tensor.clone()
        widening.MappedFiles().give_back(tensor)
        assert torch.equal(tensor, before)

    def test_the_vocabulary_stays_as_stored(self, embedder64: Path, causal: Path) -> None:
        """Its rows are widened when a text reads them."""
        settings: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
        for handle in (
            open_embedder(EmbedderSettings(model=str(embedder64), **settings)),
            open_reranker(RerankerSettings(model=str(causal), **settings)),
        ):
            model: Any = handle.replicas()[0]._model  # type: ignore[attr-defined] # the local one
            rows = model.transformers_model.get_input_embeddings().weight
            assert rows.dtype is torch.bfloat16
            assert computed_dtypes(model) == {torch.float32}
            handle.close()

    def test_transformers_computes_with_one_dtype(self, embedder64: Path) -> None:
        """Where the own forward pass does not compute, everything is float32."""
        embedder: Any = open_embedder(
            EmbedderSettings(model=str(embedder64), dtype="float32", attention="eager")
        )
        model = embedder.replicas()[0]._model
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        embedder.close()

    def test_further_modules_keep_their_weights(self) -> None:
        """sentence-transformers would round a Dense layer to the dtype of the transformer."""
        config = {"model_type": "qwen3"}
        plain = Checkpoint("", "", config, ("Transformer", "Pooling", "Normalize"))
        dense = Checkpoint("", "", config, ("Transformer", "Pooling", "Dense", "Normalize"))
        assert _is_widened(plain, torch.float32, "cpu")
        assert not _is_widened(dense, torch.float32, "cpu")
        assert not _is_widened(plain, torch.bfloat16, "cpu")
        assert not _is_widened(plain, torch.float32, "cuda")


@pytest.mark.parametrize("forms", [Forms(), Forms(columns=True), Forms(half=True)])
def test_the_form_of_weights_does_not_change_a_result(
    embedder64: Path, causal: Path, monkeypatch: pytest.MonkeyPatch, forms: Forms
) -> None:
    """By row, by column or in 16 bits, the vectors and scores are transformers' own."""
    monkeypatch.setattr("qwen_retrieval.local.widening.fastest_forms", lambda: forms)
    embedder: Any = open_embedder(EmbedderSettings(model=str(embedder64), dtype="float32"))
    found = embedder.embed_documents(PASSAGES)
    layer = embedder.replicas()[0]._model.transformers_model.layers[0]
    assert isinstance(layer.mlp.up_proj, HalfLinear) is forms.half
    if not forms.half:
        assert layer.mlp.up_proj.weight.is_contiguous() is not forms.columns
    expected = plain_forward.PlainEmbedder(embedder64).vectors(PASSAGES)
    embedder.close()
    assert np.abs(found - expected).max() < CLOSE
    reranker = open_reranker(RerankerSettings(model=str(causal), dtype="float32"))
    pairs = [("gravity", passage) for passage in PASSAGES]
    scores = reranker.score(pairs)
    reranker.close()
    assert np.abs(scores - plain_forward.PlainReranker(causal).scores(pairs)).max() < CLOSE


def test_measuring_leaves_the_users_random_numbers_alone() -> None:
    """Opening a model changes nothing that was seeded."""
    fastest_forms.cache_clear()
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    fastest_forms()
    assert torch.equal(torch.rand(4), expected)


def test_memory_that_ends_while_loading_is_told_as_such(
    embedder64: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as a model that should be downloaded again."""

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr("sentence_transformers.SentenceTransformer.__init__", fails)
    with pytest.raises(RuntimeError, match="can't allocate memory") as caught:
        open_embedder(EmbedderSettings(model=str(embedder64))).embed_documents(["a"])
    assert type(caught.value) is RuntimeError


class TestHalf:
    """Weights lie in 16 bits only where nobody could tell."""

    @pytest.mark.parametrize(
        ("weight", "fits"),
        [
            (torch.randn(64, 64).bfloat16() / 50, True),
            (torch.randn(64, 64).half(), True),
            (torch.randn(64, 64) / 50, False),
            (torch.tensor([[70_000.0, 1.0]]), False),
            # Each row for itself: what is small beside its neighbours in a row is not missed.
            (torch.tensor([[1.0, 1e-9]]), True),
            (torch.tensor([[1.0, 0.0], [0.0, 1e-9]]), False),
            (torch.cat([torch.zeros(2 * AT_A_TIME, 2), torch.tensor([[0.0, 1e-9]])]), False),
            (torch.zeros(2, 2), True),
        ],
    )
    def test_what_float16_cannot_hold_does_not_fit(self, weight: torch.Tensor, fits: bool) -> None:  # noqa: FBT001 - parametrized
        """Matrices whose products would change by more than float32 rounds them."""
        assert fits_half(weight) is fits

    def test_it_is_as_good_as_float32(self) -> None:
        """Next to the exact product, in float64, of a bfloat16 weight with very small numbers."""
        torch.manual_seed(0)
        weight = torch.randn(96, 1024).bfloat16() / 50
        weight[:, ::100] *= 1e-5
        rows = torch.randn(3, 5, 1024)
        exact = rows.double() @ weight.double().T
        found = HalfLinear(weight)(rows)
        assert found.shape == (3, 5, 96)
        norms = rows.norm(dim=-1, keepdim=True) * weight.float().norm(dim=1)
        assert ((found - exact).abs() <= LOST * norms).all()

    def test_float32_weights_stay(self) -> None:
        """A fine-tuned model saved in float32 is computed with all of its digits."""
        model = torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False))
        biased = torch.nn.Sequential(torch.nn.Linear(8, 8))
        for each in (model, biased):
            widening.widen_layer(each, widening.MappedFiles(), Forms(half=True, columns=True))
            assert type(each[0]) is torch.nn.Linear
            assert each[0].weight.dtype is torch.float32
            assert not each[0].weight.is_contiguous()

    def test_a_machine_without_it_goes_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other builds of torch lack the operator, or it gives something else."""

        def missing(*_: object) -> None:
            raise RuntimeError("not supported by QNNPACK")

        def wrong(self: HalfLinear, rows: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(rows), 3072)

        for name, instead in (("__init__", missing), ("forward", wrong)):
            with monkeypatch.context() as patched:
                patched.setattr(HalfLinear, name, instead)
                widening.fastest_forms.cache_clear()
                assert not widening.fastest_forms().half
        widening.fastest_forms.cache_clear()
