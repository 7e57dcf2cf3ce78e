"""The models' plain forward, written a second time from their model cards.

Nothing here comes from `qwen_retrieval`: one text at a time, no padding, no batch; the tokenizer's
vocabulary and merges with the released split pattern spelt out again and no control token known.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from .texts import DEFAULT_TASK

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

Vector = NDArray[np.float64]


class Encoder:
    """From text to ids, of text alone and of the templates' control tokens."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's tokenizer."""
        state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in state["merges"]]
        self._plain = Tokenizer(models.BPE(vocab=state["vocab"], merges=merges))
        self._plain.normalizer = normalizers.NFC()
        self._plain.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self.released = AutoTokenizer.from_pretrained(folder)

    def text(self, text: str) -> list[int]:
        """Return ids in which nothing acts as a control token."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def template(self, text: str) -> list[int]:
        """Return ids in which control tokens act."""
        ids: list[int] = self.released.encode(text, add_special_tokens=False)
        return ids


class ReferenceEmbedder:
    """Last-token pooling by hand."""

    def __init__(self, folder: Path) -> None:
        """Load in float32."""
        self.encoder = Encoder(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.width = int(self._model.config.hidden_size)
        self._raw = cache(self._forward)

    def query(self, query: str, task: str = DEFAULT_TASK, **how: int | bool | None) -> Vector:
        """Return the vector of a query under a task."""
        return self.vector(f"Instruct: {task}\nQuery:{query}", **how)

    def vector(
        self,
        text: str,
        *,
        dimensions: int | None = None,
        normalize: bool = True,
        max_length: int | None = None,
    ) -> Vector:
        """Return the vector of a finished text: cut first, then normalised."""
        raw = self._raw(text, max_length)[:dimensions]
        return raw / np.linalg.norm(raw) if normalize else raw

    def _forward(self, text: str, max_length: int | None) -> Vector:
        ids = self.encoder.text(text)
        if max_length is not None:
            ids = ids[: max_length - 1]
        ids = [*ids, *self.encoder.template("<|endoftext|>")]
        with torch.inference_mode():
            hidden = self._model(torch.tensor([ids])).last_hidden_state
        return hidden[0, -1].double().numpy()


class ReferenceReranker:
    """yes − no at the last position of the official prompt."""

    def __init__(self, folder: Path) -> None:
        """Load in float32."""
        self.encoder = Encoder(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._answers = self.encoder.released.convert_tokens_to_ids(["no", "yes"])
        self._both = cache(self._forward)

    def probability(
        self, query: str, document: str, task: str = DEFAULT_TASK, max_length: int | None = None
    ) -> float:
        """Return the share of "yes" among "yes" and "no"."""
        both = self._both(query, document, task, max_length)
        return float(np.exp(both[1]) / np.exp(both).sum())

    def logit(
        self, query: str, document: str, task: str = DEFAULT_TASK, max_length: int | None = None
    ) -> float:
        """Return yes − no."""
        both = self._both(query, document, task, max_length)
        return float(both[1] - both[0])

    def _forward(self, query: str, document: str, task: str, max_length: int | None) -> Vector:
        prefix, suffix = self.encoder.template(PREFIX), self.encoder.template(SUFFIX)
        user = f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}"
        ids = self.encoder.text(user)
        if max_length is not None:
            ids = ids[: max_length - len(prefix) - len(suffix)]
        with torch.inference_mode():
            logits = self._model(torch.tensor([[*prefix, *ids, *suffix]])).logits[0, -1]
        both = logits[self._answers].double().numpy()
        return both - both.max()
