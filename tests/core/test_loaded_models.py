"""Models that their owner holds too, and may train or adapt between calls."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import PASSAGES
from sentence_transformers import CrossEncoder, SentenceTransformer

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import ClosedError, SettingsError

PAIRS = [(query, passage) for query in ("capital of China", "gravity") for passage in PASSAGES]
CLOSE = 1e-5
PEFT_LAGS = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
"""PEFT still asks transformers for it."""
TIED = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
FLOAT32 = {"device": "cpu", "model_kwargs": {"dtype": torch.float32}}


def logits_of(model: CrossEncoder) -> np.ndarray:
    """Return what sentence-transformers itself gives."""
    return np.asarray(model.predict(PAIRS, activation_fn=torch.nn.Identity()))


class TestAdapted:
    """What the library takes from a model is looked up at each call."""

    @PEFT_LAGS
    @TIED
    @pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["lm_head"], ["embed_tokens"]])
    def test_an_adapter_added_between_calls_counts(
        self, causal64: Path, targets: list[str]
    ) -> None:
        """In the layers, in the head, whose two rows are then not the whole of it, and before."""
        from peft import LoraConfig

        loaded = CrossEncoder(str(causal64), **FLOAT32)
        opened = open_reranker(RerankerSettings(model="mine", score_type="logit"), loaded=loaded)
        before = opened.score(PAIRS)
        loaded.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
        found = opened.score(PAIRS)
        opened.close()
        assert np.abs(found - logits_of(loaded)).max() < 10 * CLOSE
        assert np.abs(found - before).max() > 0.001

    def test_trained_weights_count(self, embedder64: Path) -> None:
        """Beginnings that were computed with other weights are forgotten."""
        loaded = SentenceTransformer(str(embedder64), **FLOAT32)
        opened = open_embedder(EmbedderSettings(model="mine"), loaded=loaded)
        before = opened.embed_queries(PASSAGES)
        with torch.no_grad():
            for weight in loaded.parameters():
                weight.mul_(1 + 0.2 * torch.rand_like(weight))
        found = opened.embed_queries(PASSAGES)
        opened.close()
        fresh = open_embedder(EmbedderSettings(model="mine"), loaded=loaded)
        assert np.abs(found - fresh.embed_queries(PASSAGES)).max() < CLOSE
        assert np.abs(found - before).max() > 0.001
        fresh.close()

    def test_attention_in_both_directions(self, causal64: Path) -> None:
        """A model whose configuration ceases to be causal is left to transformers."""
        loaded = CrossEncoder(str(causal64), **FLOAT32)
        opened: Any = open_reranker(RerankerSettings(model="mine"), loaded=loaded)
        opened.score(PAIRS[:2])
        assert opened._held[0]._own is not None
        loaded.transformers_model.config.is_causal = False
        opened.score(PAIRS[:2])
        assert opened._held[0]._own is None
        opened.close()


class TestTraining:
    """A model that comes from its training loop answers without dropout, as its own ways do."""

    def test_any_other_embedder(self, minilm: Path) -> None:
        """Its vectors are those of `encode`."""
        loaded = SentenceTransformer(str(minilm), **FLOAT32)
        opened = open_embedder(EmbedderSettings(model="mine"), loaded=loaded)
        for _ in range(2):
            loaded.train()
            found = opened.embed_documents(PASSAGES)
            expected = loaded.encode(PASSAGES, normalize_embeddings=True)
            assert np.abs(found - expected).max() < CLOSE
        opened.close()

    @PEFT_LAGS
    @pytest.mark.parametrize("kind", ["embedder", "reranker"])
    def test_dropout_in_an_adapter(self, embedder64: Path, causal64: Path, kind: str) -> None:
        """LoRA brings it into a Qwen3 model, whose layers have none."""
        from peft import LoraConfig

        adapter = LoraConfig(
            r=4, target_modules=["q_proj"], lora_dropout=0.9, init_lora_weights=False
        )
        if kind == "embedder":
            model = SentenceTransformer(str(embedder64), **FLOAT32)
            model.add_adapter(adapter)
            model.train()
            embedder = open_embedder(EmbedderSettings(model="mine"), loaded=model)
            found = embedder.embed_documents(PASSAGES)
            expected = model.encode_document(PASSAGES, normalize_embeddings=True)
            embedder.close()
        else:
            cross = CrossEncoder(str(causal64), **FLOAT32)
            cross.add_adapter(adapter)
            cross.train()
            settings = RerankerSettings(model="mine", score_type="logit")
            reranker = open_reranker(settings, loaded=cross)
            found = reranker.score(PAIRS)
            expected = logits_of(cross)
            reranker.close()
        assert np.abs(found - expected).max() < 10 * CLOSE


def test_a_closed_one_is_not_taken_for_another(embedder64: Path) -> None:
    """Neither its width nor its pickle become those of the model that the settings name."""
    loaded = SentenceTransformer(str(embedder64), device="cpu")
    opened = open_embedder(EmbedderSettings(), loaded=loaded)
    opened.close()
    with pytest.raises(ClosedError):
        _ = opened.dimensions
    with pytest.raises(SettingsError, match="cannot be pickled"):
        pickle.dumps(opened)
