"""Who computes: each opens a folder and answers a workload with vectors or logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import plain_forward
import torch
from served import served
from workloads import LIMIT, Workload

Answer = Callable[[], np.ndarray]
BATCH = 32


def ours(folder: Path, work: Workload, *, device: str = "cpu", **settings: Any) -> Answer:
    """The library as it stands, with the given settings."""
    from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

    common = {"model": str(folder), "device": device, "max_length": work.max_length, **settings}
    if work.is_reranking:
        reranker = open_reranker(RerankerSettings(score_type="logit", **common))
        reranker.score([])  # loads
        return lambda: reranker.score(work.pairs)
    embedder = open_embedder(EmbedderSettings(**common))
    embedder.embed_documents([])  # loads
    if work.queries:
        return lambda: embedder.embed_queries(work.queries)
    return lambda: embedder.embed_documents(work.documents)


def sentence_transformers(
    folder: Path, work: Workload, *, device: str = "cpu", **kwargs: str
) -> Answer:
    """sentence-transformers as its documentation shows it; the checkpoint's dtype by default."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    if work.is_reranking:
        cross = CrossEncoder(
            str(folder), device=device, model_kwargs=kwargs, max_length=work.max_length
        )
        return lambda: cross.predict(work.pairs, activation_fn=torch.nn.Identity())
    model = SentenceTransformer(str(folder), device=device, model_kwargs=kwargs)
    model.max_seq_length = work.max_length
    if work.queries:
        return lambda: model.encode_query(work.queries, normalize_embeddings=True)
    return lambda: model.encode_document(work.documents, normalize_embeddings=True)


def model_card(folder: Path, work: Workload) -> Answer:
    """The transformers code of the model cards, in float32, 32 texts at a time."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), padding_side="left")
    kind: Any = AutoModelForCausalLM if work.is_reranking else AutoModel
    model = kind.from_pretrained(str(folder), dtype=torch.float32).eval()
    if work.is_reranking:
        return lambda: np.concatenate(
            [_card_logits(model, tokenizer, part, work.max_length) for part in _parts(work.texts)]
        )
    return lambda: np.concatenate(
        [_card_vectors(model, tokenizer, part, work.max_length) for part in _parts(work.texts)]
    )


def _parts(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


@torch.no_grad()
def _card_logits(model: Any, tokenizer: Any, texts: list[str], limit: int) -> np.ndarray:
    ids = plain_forward.process_inputs(tokenizer, texts, limit)
    batch = tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
    last = model(**batch).logits[:, -1, :]
    yes, no = (tokenizer.convert_tokens_to_ids(answer) for answer in ("yes", "no"))
    return (last[:, yes] - last[:, no]).numpy()


@torch.no_grad()
def _card_vectors(model: Any, tokenizer: Any, texts: list[str], limit: int) -> np.ndarray:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    last = model(**batch).last_hidden_state[:, -1]
    return torch.nn.functional.normalize(last, p=2, dim=1).numpy()


OURS = "ours, float32"
REFERENCE = "sentence-transformers, float32"


def engines(device: str) -> dict[str, Callable[[Path, Workload], Answer]]:
    """Return who is compared on a device, by name."""
    if device == "cpu":
        return {
            OURS: partial(ours, dtype="float32"),
            "ours, int8": partial(ours, precision="int8"),
            REFERENCE: partial(sentence_transformers, dtype="float32"),
            "sentence-transformers, default": sentence_transformers,
            "model card, float32": model_card,
            **served(),
        }
    found: dict[str, Callable[[Path, Workload], Answer]] = {
        "ours, bfloat16": partial(ours, device=device, dtype="bfloat16"),
        "sentence-transformers, default": partial(sentence_transformers, device=device),
    }
    if find_spec("flash_attn"):
        found["sentence-transformers, flash attention"] = partial(
            sentence_transformers,
            device=device,
            dtype="bfloat16",
            attn_implementation="flash_attention_2",
        )
    found[OURS] = partial(ours, device=device, dtype="float32")
    found[REFERENCE] = partial(sentence_transformers, device=device, dtype="float32")
    return found


LONG = {OURS, "ours, int8", "ours, bfloat16", REFERENCE}
"""Who is asked for a long document; the others would take most of the run."""


def is_asked(engine: str, work: Workload) -> bool:
    """Return whether this one takes part in this workload."""
    if work.name == "L":
        return engine in LONG
    # llama-server cuts no document where the prompt's limit asks for it.
    return not (engine.startswith("llama-server") and work.is_reranking and work.max_length < LIMIT)
