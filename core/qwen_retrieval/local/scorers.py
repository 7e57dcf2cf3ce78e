"""Qwen3 rerankers in their three forms behind one face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qwen_retrieval import prompts
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.padding import padded
from qwen_retrieval.local.tokens import plain_encoder, token_id
from qwen_retrieval.local.turnstile import Turnstile

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from qwen_retrieval.contract import Pair
    from qwen_retrieval.local.batching import Result
    from qwen_retrieval.prompts import Tokenized


class RerankerReplica:
    """One copy of a Qwen3 reranker on one device, scoring finished prompts.

    sentence-transformers' own modules give the logit: yes − no from the causal head (LogitScore),
    or the single output of a sequence-classification conversion, whose one row is the difference
    of the same two rows.
    """

    def __init__(self, model: CrossEncoder, name: str) -> None:
        inner, tokenizer = model.transformers_model, model.tokenizer
        if inner is None or getattr(inner.config, "model_type", None) != "qwen3":
            raise WrongModelError(f"{name} is no Qwen3 reranker, the only kind with this prompt.")
        if type(inner).__name__.endswith("ForSequenceClassification") and (
            inner.config.num_labels != 1
        ):
            raise WrongModelError(
                f"{name} has {inner.config.num_labels} classes; a converted Qwen3 reranker has one,"
                " yes − no."
            )
        self.name = name
        self.turnstile = Turnstile()
        self.context: int | None = getattr(inner.config, "max_position_embeddings", None)
        self._model = model
        self._causal = type(inner).__name__.endswith("ForCausalLM")
        if self._causal:
            for answer in ("yes", "no"):
                token_id(tokenizer, answer, name)
        self._encode = plain_encoder(tokenizer)
        self._prefix = tokenizer.encode(prompts.RERANKER_PREFIX, add_special_tokens=False)
        self._suffix = tokenizer.encode(prompts.RERANKER_SUFFIX, add_special_tokens=False)
        eos = token_id(tokenizer, prompts.EMBEDDER_EOS, name)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos
        if not self._causal and inner.config.pad_token_id is None:
            # Without it transformers cannot find the last token of a padded batch.
            inner.config.pad_token_id = self._pad

    def prepare(self, pairs: Sequence[Pair], instruction: str | None, limit: int) -> Tokenized:
        """Return the ids of the whole prompt of each pair."""
        return prompts.reranker_ids(
            pairs, instruction, self._encode, self._prefix, self._suffix, limit
        )

    def compute(self, items: Sequence[Any]) -> Result:
        """Return the logits yes − no of token-id sequences, shape (n,)."""
        import torch  # noqa: PLC0415 - loaded with the first model

        device = self._model.device
        # The causal head is read at the last place, so every sequence has to end there.
        batch = padded(items, self._pad, side="left")
        features: dict[str, Any] = {name: value.to(device) for name, value in batch.items()}
        if self._causal:
            features["logits_to_keep"] = 1
        with torch.inference_mode():
            scores: Result = self._model(features)["scores"].float().squeeze(-1).cpu().numpy()
        return scores
