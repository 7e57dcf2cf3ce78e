"""The numbers are those of transformers' plain forward and of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plain_forward import PlainEmbedder, PlainReranker, get_detailed_instruct
from samples import PASSAGES, ragged
from sentence_transformers import CrossEncoder, SentenceTransformer

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

TASK = "Given a web search query, retrieve relevant passages that answer the query"
OTHER = "Given a claim, find text that refutes it"
LIMIT = 256
CLOSE = 1e-5
PEFT_LAGS = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
"""PEFT still asks transformers for it."""
LENGTHS = [*range(20), *range(23, 250, 11), 254, 255]
"""Tokens of the texts without EOS: from nothing to what just fits into LIMIT."""


def embedder_settings(folder: Path, **others: object) -> EmbedderSettings:
    """Return float32 settings for a folder."""
    return EmbedderSettings.from_dict(
        {"model": str(folder), "dtype": "float32", "device": "cpu", "max_length": LIMIT, **others}
    )


def reranker_settings(folder: Path, **others: object) -> RerankerSettings:
    """Return float32 settings for a folder."""
    return RerankerSettings.from_dict(
        {"model": str(folder), "dtype": "float32", "device": "cpu", **others}
    )


def distance(left: object, right: object) -> float:
    """Return the largest difference of two arrays."""
    return float(np.abs(np.asarray(left, np.float64) - np.asarray(right, np.float64)).max())


@pytest.fixture(scope="module")
def documents(plain_embedder: PlainEmbedder) -> list[str]:
    """Documents of many lengths, the longest exactly what max_length leaves room for."""
    texts = ragged(plain_embedder.tokenizer, LENGTHS)
    lengths = {len(plain_embedder.tokenizer(text)["input_ids"]) for text in texts}
    assert min(lengths) == 1
    assert max(lengths) == LIMIT
    assert len(lengths) > 35
    return texts


class TestEmbedder:
    """Vectors."""

    def test_documents_in_ragged_batches(
        self, any_embedder: Path, plain_embedder: PlainEmbedder, documents: list[str]
    ) -> None:
        """Each document's vector is the one it gets alone."""
        expected = plain_embedder.vectors(documents, LIMIT)
        for batch_size, batch_tokens in ((32, 16_384), (7, 700), (1, 1)):
            settings = embedder_settings(
                any_embedder, batch_size=batch_size, batch_tokens=batch_tokens
            )
            embedder = open_embedder(settings)
            found = embedder.embed_documents(documents)
            embedder.close()
            assert found.dtype == np.float32
            assert found.shape == expected.shape
            assert distance(found, expected) < CLOSE

    @pytest.mark.parametrize("task", [None, OTHER])
    def test_queries_carry_the_instruction(
        self, any_embedder: Path, plain_embedder: PlainEmbedder, task: str | None
    ) -> None:
        r"""Queries are seen as `Instruct: {task}\nQuery:{query}`, byte for byte."""
        queries = [*PASSAGES, "", " ", "\n", "trailing newline\n", " leading space"]
        finished = [get_detailed_instruct(TASK if task is None else task, q) for q in queries]
        expected = plain_embedder.vectors(finished, LIMIT)
        embedder = open_embedder(embedder_settings(any_embedder))
        per_call = embedder.embed_queries(queries, instruction=task)
        other = open_embedder(embedder_settings(any_embedder, query_instruction=task))
        from_settings = other.embed_queries(queries)
        embedder.close()
        other.close()
        assert distance(per_call, expected) < CLOSE
        assert np.array_equal(per_call, from_settings)

    def test_cut_documents_keep_their_end_token(
        self, any_embedder: Path, plain_embedder: PlainEmbedder
    ) -> None:
        """What the card's truncation sees is what is seen here: the head of the text, then EOS."""
        texts = [passage * 40 for passage in PASSAGES]
        expected = plain_embedder.vectors(texts, 64)
        embedder = open_embedder(embedder_settings(any_embedder, max_length=64))
        with pytest.warns(match="8 of 8 texts"):
            found = embedder.embed_documents(texts)
        embedder.close()
        assert distance(found, expected) < CLOSE

    @pytest.mark.parametrize("dimensions", [32, 40, 64])
    def test_cut_comes_before_normalising(
        self, any_embedder: Path, plain_embedder: PlainEmbedder, dimensions: int
    ) -> None:
        """Shorter vectors are cut from the hidden state and then have unit length."""
        embedder = open_embedder(embedder_settings(any_embedder, dimensions=dimensions))
        found = embedder.embed_documents(PASSAGES)
        embedder.close()
        assert found.shape == (len(PASSAGES), dimensions)
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
        expected = plain_embedder.vectors(list(PASSAGES), LIMIT, dimensions)
        assert distance(found, expected) < CLOSE

    def test_without_normalising_the_hidden_state_comes_back(
        self, any_embedder: Path, plain_embedder: PlainEmbedder
    ) -> None:
        """`normalize=False` leaves the length alone; scaled, it is the usual vector."""
        embedder = open_embedder(embedder_settings(any_embedder, normalize=False))
        raw = embedder.embed_documents(PASSAGES)
        embedder.close()
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        assert np.abs(norms - 1).min() > 0.1
        assert distance(raw / norms, plain_embedder.vectors(list(PASSAGES), LIMIT)) < CLOSE

    def test_equals_sentence_transformers(self, any_embedder: Path, documents: list[str]) -> None:
        """`encode_query` and `encode_document` give the same vectors."""
        peer = SentenceTransformer(
            str(any_embedder), device="cpu", model_kwargs={"dtype": torch.float32}
        )
        peer.max_seq_length = LIMIT
        embedder = open_embedder(embedder_settings(any_embedder))
        # A byte is a token at most, so that none of these is cut after the instruction.
        short = [text for text in documents if len(text.encode()) < 150]
        assert len(short) > 20
        queries = embedder.embed_queries(short)
        found = embedder.embed_documents(documents)
        embedder.close()
        assert distance(queries, peer.encode_query(short, normalize_embeddings=True)) < CLOSE
        assert distance(found, peer.encode_document(documents, normalize_embeddings=True)) < CLOSE

    @PEFT_LAGS
    def test_lora_folder_equals_the_merged_model(
        self, embedder64: Path, embedder_lora: Path
    ) -> None:
        """An adapter's folder gives the vectors of PEFT's merged model, not of the base."""
        from peft import PeftModel
        from transformers import AutoModel

        base = AutoModel.from_pretrained(str(embedder64), dtype=torch.float32)
        merged = PeftModel.from_pretrained(base, str(embedder_lora)).merge_and_unload()
        expected = PlainEmbedder(embedder64, merged).vectors(list(PASSAGES), LIMIT)
        embedder = open_embedder(embedder_settings(embedder_lora))
        found = embedder.embed_documents(PASSAGES)
        embedder.close()
        assert distance(found, expected) < CLOSE
        unadapted = PlainEmbedder(embedder64).vectors(list(PASSAGES), LIMIT)
        assert distance(found, unadapted) > 0.01

    @PEFT_LAGS
    def test_adapter_saved_by_sentence_transformers(
        self, embedder64: Path, embedder_lora: Path, tmp_path: Path
    ) -> None:
        """The folder that `SentenceTransformer.save_pretrained` writes for an adapter works too."""
        peer = SentenceTransformer(
            str(embedder64), device="cpu", model_kwargs={"dtype": torch.float32}
        )
        peer.load_adapter(str(embedder_lora))
        expected = peer.encode(list(PASSAGES), normalize_embeddings=True)
        peer.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        embedder = open_embedder(embedder_settings(tmp_path / "saved"))
        found = embedder.embed_documents(PASSAGES)
        queries = embedder.embed_queries(PASSAGES)
        embedder.close()
        assert distance(found, expected) < CLOSE
        assert (
            distance(queries, peer.encode_query(list(PASSAGES), normalize_embeddings=True)) < CLOSE
        )

    def test_an_already_loaded_model(self, embedder64: Path, embedder128: Path) -> None:
        """A model that the caller loaded is used instead of `settings.model`."""
        peer = SentenceTransformer(
            str(embedder128), device="cpu", model_kwargs={"dtype": torch.float32}
        )
        embedder = open_embedder(EmbedderSettings(), loaded=peer)
        found = embedder.embed_documents(PASSAGES)
        assert embedder.dimensions == 64
        embedder.close()
        assert distance(found, PlainEmbedder(embedder128).vectors(list(PASSAGES))) < CLOSE

    def test_eager_attention_passes_through(
        self, any_embedder: Path, plain_embedder: PlainEmbedder, documents: list[str]
    ) -> None:
        """`attention` reaches transformers, and the vectors stay the same."""
        embedder = open_embedder(embedder_settings(any_embedder, attention="eager"))
        found = embedder.embed_documents(documents)
        replica = embedder.replicas()[0]  # type: ignore[attr-defined] # the local one
        assert replica._model.transformers_model.config._attn_implementation == "eager"
        embedder.close()
        assert distance(found, plain_embedder.vectors(documents, LIMIT)) < CLOSE


@pytest.fixture(scope="module")
def pairs(plain_reranker: PlainReranker) -> list[tuple[str, str]]:
    """Pairs of many lengths, short and long, with several queries."""
    texts = ragged(plain_reranker.tokenizer, [*range(20), *range(23, 250, 17)])
    return [(PASSAGES[n % len(PASSAGES)], text) for n, text in enumerate(texts)]


class TestReranker:
    """Probabilities."""

    @pytest.mark.parametrize("task", [None, OTHER, ""])
    def test_pairs_in_ragged_batches(
        self,
        any_reranker: Path,
        plain_reranker: PlainReranker,
        pairs: list[tuple[str, str]],
        task: str | None,
    ) -> None:
        """Each pair's score is the one it gets alone, from the card's prompt."""
        expected = plain_reranker.scores(pairs, task)
        reranker = open_reranker(reranker_settings(any_reranker, batch_size=9))
        found = reranker.score(pairs, instruction=task)
        reranker.close()
        assert found.dtype == np.float32
        assert distance(found, expected) < CLOSE
        assert np.ptp(expected) > 0.1, "the scores must differ for this to show anything"

    def test_ranking_is_the_order_of_the_scores(
        self, any_reranker: Path, plain_reranker: PlainReranker
    ) -> None:
        """`rerank` returns places and the same scores, best first."""
        query = "Explain gravity"
        reranker = open_reranker(reranker_settings(any_reranker))
        ranked = reranker.rerank(query, PASSAGES)
        reranker.close()
        expected = plain_reranker.scores([(query, passage) for passage in PASSAGES])
        assert [each.index for each in ranked] == list(np.argsort(-expected, kind="stable"))
        assert distance([each.score for each in ranked], np.sort(expected)[::-1]) < CLOSE

    def test_cut_documents_keep_the_closing(
        self, any_reranker: Path, plain_reranker: PlainReranker
    ) -> None:
        """A document too long is cut as the card cuts it, and the prompt closes all the same."""
        pairs = [("Explain gravity", passage * 60) for passage in PASSAGES]
        expected = plain_reranker.scores(pairs, None, 400)
        reranker = open_reranker(reranker_settings(any_reranker, max_length=400))
        with pytest.warns(match="8 of 8 texts"):
            found = reranker.score(pairs)
        reranker.close()
        assert distance(found, expected) < CLOSE

    def test_logits_belong_to_the_probabilities(
        self, any_reranker: Path, pairs: list[tuple[str, str]]
    ) -> None:
        """`score_type="logit"` is yes − no, whose sigmoid is the probability."""
        probability = open_reranker(reranker_settings(any_reranker))
        logit = open_reranker(reranker_settings(any_reranker, score_type="logit"))
        logits = logit.score(pairs).astype(np.float64)
        probabilities = probability.score(pairs)
        logit.close()
        probability.close()
        assert (logits < 0).any() or (logits > 1).any()
        assert distance(1 / (1 + np.exp(-logits)), probabilities) < 1e-6

    def test_equals_cross_encoder(self, any_reranker: Path, pairs: list[tuple[str, str]]) -> None:
        """sentence-transformers' CrossEncoder gives the same scores for the rendered prompt."""
        import checkpoints

        peer = CrossEncoder(str(any_reranker), device="cpu", model_kwargs={"dtype": torch.float32})
        assert peer.tokenizer is not None
        peer.tokenizer.chat_template = checkpoints.CHAT_TEMPLATE
        # A template's rendering is one string, in which a chat template's own caller would strip.
        expected = peer.predict(pairs, prompt=OTHER)
        reranker = open_reranker(reranker_settings(any_reranker))
        found = reranker.score(pairs, instruction=OTHER)
        reranker.close()
        assert distance(found, expected) < CLOSE

    def test_the_three_forms_agree(
        self,
        causal: Path,
        logit_score: Path,
        converted: Path,
        converted_without_pad: Path,
        request: pytest.FixtureRequest,
    ) -> None:
        """Causal, LogitScore and sequence classification score the same weights the same."""
        plain = PlainReranker(causal)
        texts = ragged(plain.tokenizer, [*range(12), *range(23, 250, 37)])
        pairs = [(PASSAGES[n % len(PASSAGES)], text) for n, text in enumerate(texts)]
        expected = plain.scores(pairs)
        for folder in (causal, logit_score, converted, converted_without_pad):
            reranker = open_reranker(reranker_settings(folder, batch_size=5))
            found = reranker.score(pairs)
            reranker.close()
            assert distance(found, expected) < CLOSE, folder.name

    @PEFT_LAGS
    def test_lora_folder_equals_the_merged_model(self, causal: Path, reranker_lora: Path) -> None:
        """An adapter's folder gives the scores of PEFT's merged model, not of the base."""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(str(causal), dtype=torch.float32)
        merged = PeftModel.from_pretrained(base, str(reranker_lora)).merge_and_unload()
        pairs = [("Explain gravity", passage) for passage in PASSAGES]
        expected = PlainReranker(causal, merged).scores(pairs)
        reranker = open_reranker(reranker_settings(reranker_lora))
        found = reranker.score(pairs)
        reranker.close()
        assert distance(found, expected) < CLOSE
        assert distance(found, PlainReranker(causal).scores(pairs)) > 0.01

    @PEFT_LAGS
    def test_adapter_saved_by_sentence_transformers(
        self, causal: Path, reranker_lora: Path, tmp_path: Path
    ) -> None:
        """The folder that `CrossEncoder.save_pretrained` writes for an adapter works too."""
        peer = CrossEncoder(str(causal), device="cpu", model_kwargs={"dtype": torch.float32})
        peer.load_adapter(str(reranker_lora))
        pairs = [("Explain gravity", passage) for passage in PASSAGES]
        expected = peer.predict(pairs)
        peer.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        reranker = open_reranker(reranker_settings(tmp_path / "saved"))
        found = reranker.score(pairs)
        reranker.close()
        assert distance(found, expected) < CLOSE

    @pytest.mark.parametrize("form", ["causal", "logit_score", "converted_without_pad"])
    def test_an_already_loaded_model(
        self, causal: Path, form: str, request: pytest.FixtureRequest
    ) -> None:
        """A CrossEncoder that the caller loaded is used instead of `settings.model`."""
        peer = CrossEncoder(
            str(request.getfixturevalue(form)),
            device="cpu",
            model_kwargs={"dtype": torch.float32},
        )
        pairs = [("Explain gravity", passage) for passage in PASSAGES]
        reranker = open_reranker(RerankerSettings(), loaded=peer)
        found = reranker.score(pairs)
        reranker.close()
        assert distance(found, PlainReranker(causal).scores(pairs)) < CLOSE

    def test_eager_attention_passes_through(
        self, any_reranker: Path, plain_reranker: PlainReranker, pairs: list[tuple[str, str]]
    ) -> None:
        """`attention` reaches transformers, and the scores stay the same."""
        reranker = open_reranker(reranker_settings(any_reranker, attention="eager"))
        found = reranker.score(pairs)
        replica = reranker.replicas()[0]  # type: ignore[attr-defined] # the local one
        assert replica._model.transformers_model.config._attn_implementation == "eager"
        reranker.close()
        assert distance(found, plain_reranker.scores(pairs)) < CLOSE
