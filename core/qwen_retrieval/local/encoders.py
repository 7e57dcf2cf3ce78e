"""Embedding models behind one face: Qwen3 by its own prompts, any other by its own ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.local.padding import padded
from qwen_retrieval.local.prefix import Branch
from qwen_retrieval.local.shared import SharedForward
from qwen_retrieval.local.turnstile import Turnstile
from qwen_retrieval.stages import TextPreparer
from qwen_retrieval.tokens import plain_encoder, token_id

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from qwen_retrieval.local.batching import Result
    from qwen_retrieval.stages import Prepared


class EmbedderReplica(TextPreparer, Protocol):
    """One copy of an embedding model on one device."""

    on_cpu: bool
    width: int
    is_qwen3: bool
    turnstile: Turnstile

    def count(self, texts: Sequence[str], prefix: str, limit: int) -> list[int]:
        """Return how many tokens each finished text has."""

    def compute(self, items: Sequence[Any]) -> Result:
        """Return full-width vectors, not yet normalised."""


def embedder_replica(
    model: SentenceTransformer, name: str, *, changing: bool = False
) -> EmbedderReplica:
    """Return the replica that fits a loaded sentence-transformers model.

    Args:
        model: the whole of it.
        name: for messages.
        changing: whether its owner may train or adapt it between calls.
    """
    inner = model.transformers_model
    if inner is not None and getattr(inner.config, "model_type", None) == "qwen3":
        return Qwen3Embedder(model, name, changing=changing)
    return AnyEmbedder(model, name, changing=changing)


class _SentenceTransformerReplica:
    """What both kinds share: the model's vectors before its own normalising."""

    def __init__(self, model: SentenceTransformer, name: str, *, changing: bool) -> None:
        from sentence_transformers.base.modules import Normalize  # noqa: PLC0415 - loads torch

        self.name = name
        self.turnstile = Turnstile()
        self.context = model.max_seq_length
        self.on_cpu = model.device.type == "cpu"
        self._model = model
        self._changing = changing
        # Cutting comes before normalising, so the model's own last step is left out.
        modules = list(model)
        self._modules = modules[:-1] if isinstance(modules[-1], Normalize) else modules
        self.width = _width(model, name)

    def document_prefix(self, prompt: str | None) -> str:
        """Return the document prompt: the one asked for, else the model's own."""
        return prompts.document_prefix(prompt, self._model.prompts)

    def _as_in_use(self) -> None:
        """Leave training mode, as sentence-transformers' own `encode` does: without dropout."""
        if self._changing:
            self._model.eval()

    def _vectors(self, features: dict[str, Any]) -> Result:
        import torch  # noqa: PLC0415 - loaded with the first model

        self._as_in_use()
        device = self._model.device
        features = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        with torch.inference_mode():
            if len(self._modules) == len(self._model):
                features = self._model(features)
            else:
                for module in self._modules:
                    features = module(features)
            rows: Result = features["sentence_embedding"].float().cpu().numpy()
        return rows


class Qwen3Embedder(_SentenceTransformerReplica):
    """A Qwen3 embedding model: last-token pooling over ids that always end in EOS."""

    is_qwen3 = True

    def __init__(self, model: SentenceTransformer, name: str, *, changing: bool = False) -> None:
        super().__init__(model, name, changing=changing)
        tokenizer = model.tokenizer
        self._encode = plain_encoder(tokenizer.backend_tokenizer)
        self._eos = token_id(tokenizer.backend_tokenizer, prompts.EMBEDDER_EOS, name)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._eos
        # Some models leave the prompt's tokens out of their pooling.
        self._skips_prompt = not all(getattr(m, "include_prompt", True) for m in self._modules)
        self._shared: SharedForward | None = None
        self._renew(told=False)

    def _renew(self, *, told: bool) -> None:
        self._shared = SharedForward.of(
            self._model.transformers_model,
            self.name,
            changing=self._changing,
            unusual=_unusual(self._modules),
            told=told,
        )

    def query_prefix(self, instruction: str | None, prompt: str | None) -> str:
        r"""Return ``Instruct: {task}\nQuery:``; the model's saved query prompt by default."""
        return prompts.query_prefix(instruction, prompt, self._model.prompts)

    def prepare(self, texts: Sequence[str], prefix: str, limit: int) -> Prepared:
        """Return the ids of each text, EOS at the end."""
        tokenized = prompts.embedder_ids(texts, self._encode, self._eos, limit)
        prompt = self._encode([prefix])[0] if prefix else []
        prompts.check_prefix_fits(len(prompt), limit)
        if self._changing:
            self._renew(told=self._shared is None)
        shared = self._shared  # once: another thread's call may renew it
        if shared is not None:
            items = shared.branches(tokenized.ids, prompt, range(len(texts)))
            return items, [item.cost for item in items], tokenized.cut
        left_out = len(prompt) if self._skips_prompt else 0
        items = [
            Branch((tuple(ids[:left_out]),) if left_out else (), ids[left_out:])
            for ids in tokenized.ids
        ]
        return items, list(map(len, tokenized.ids)), tokenized.cut

    def count(self, texts: Sequence[str], prefix: str, limit: int) -> list[int]:  # noqa: ARG002
        """Return how many tokens each finished text has, EOS counted."""
        return [len(ids) for ids in prompts.embedder_ids(texts, self._encode, self._eos, limit).ids]

    def compute(self, items: Sequence[Any]) -> Result:
        """Return full-width vectors of prepared texts."""
        shared = self._shared
        if shared is None:
            features = padded([item.ids for item in items], self._pad, side="right")
            if self._skips_prompt and items[0].path:
                features["prompt_length"] = len(items[0].path[0])
            return self._vectors(features)
        import torch  # noqa: PLC0415 - loaded with the first model

        self._as_in_use()
        with torch.inference_mode():
            rows: Result = shared.last_hidden(items).float().cpu().numpy()
        return rows


def _unusual(modules: Sequence[Any]) -> str | None:
    """Return what else than last-token pooling stands behind the transformer."""
    from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: PLC0415

    match modules[1:]:
        case [Pooling(pooling_mode="lasttoken", include_prompt=True)]:
            return None
        case rest:
            return f"the modules {', '.join(type(module).__name__ for module in rest)}"


class AnyEmbedder(_SentenceTransformerReplica):
    """Any other sentence-transformers model, with its own tokenising, pooling and prompts."""

    is_qwen3 = False

    def __init__(self, model: SentenceTransformer, name: str, *, changing: bool = False) -> None:
        super().__init__(model, name, changing=changing)
        self._counter = _token_counter(model)

    def query_prefix(self, instruction: str | None, prompt: str | None) -> str:
        """Return the query prompt: the one asked for, else the model's own."""
        if instruction:
            raise SettingsError(
                f"{self.name} has no instruction template (it is no Qwen3 model), and the"
                f" instruction {instruction!r:.60} would be ignored; give query_prompt, the exact"
                " text to put before queries."
            )
        if prompt is not None:
            return prompt
        return "" if instruction == "" else self._model.prompts.get("query") or ""

    def prepare(self, texts: Sequence[str], prefix: str, limit: int) -> Prepared:
        """Return the texts with their lengths; the model's own tokenizer cuts them at the limit."""
        if self._counter is None:
            return [(text, prefix, limit) for text in texts], [len(text) for text in texts], []
        counted = [len(each.ids) for each in self._counter.encode_batch_fast(list(texts))]
        cut = [place for place, length in enumerate(counted) if length > limit]
        items = [(text, prefix, limit) for text in texts]
        return items, [min(length, limit) for length in counted], cut

    def count(self, texts: Sequence[str], prefix: str, limit: int) -> list[int]:
        """Return how many tokens each finished text has; characters where nothing can count."""
        return self.prepare(texts, prefix, limit)[1]

    def compute(self, items: Sequence[Any]) -> Result:
        """Return full-width vectors of prepared texts."""
        texts = [text for text, _, _ in items]
        _, prefix, limit = items[0]
        # Handed over as a prompt, since some models leave its tokens out of their pooling.
        prompted = prefix and all(text.startswith(prefix) for text in texts)
        features = self._model.preprocess(
            [text.removeprefix(prefix) for text in texts] if prompted else texts,
            prompt=prefix if prompted else None,
            processing_kwargs={
                # Control tokens of the model inside a text are data here too.
                "text": {"max_length": limit, "truncation": True, "split_special_tokens": True}
            },
        )
        return self._vectors(features)


def _token_counter(model: SentenceTransformer) -> Any:  # noqa: ANN401 - tokenizers is untyped
    """Return a tokenizer without limits of its own, or None for models without a fast one."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    counter = type(backend).from_str(backend.to_str())
    counter.no_truncation()
    counter.no_padding()
    counter.encode_special_tokens = True
    return counter


def _width(model: SentenceTransformer, name: str) -> int:
    width = model.get_embedding_dimension()
    if width is None:
        raise SettingsError(f"{name} does not say how wide its vectors are, so it cannot be used.")
    return int(np.int64(width))
