"""The tiny models as a serving engine computes with them: from token ids, one sequence at a time.

Nothing here comes from `qwen_retrieval`. Text is tokenised as a server does it, by the folder's own
tokenizer, in which control tokens act.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

TINY = Path(__file__).resolve().parent.parent / "tiny"
EMBEDDER = TINY / "embedder"
RERANKER = TINY / "reranker"
END = "<|endoftext|>"

LOADING = Lock()
"""Transformers must not load in two threads at once: tied weights were then found missing."""

Ids = tuple[int, ...]
Vector = NDArray[np.float64]


class _Network:
    """A model and its tokenizer; results are kept, since tests ask for the same ones often."""

    def __init__(self, folder: Path, *, trained: bool = True) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.end: int = self.tokenizer.token_to_id(END)
        self.model = self._load(folder, trained=trained)
        self._lock = Lock()  # servers have a thread for each connection, the machine two cores
        self._kept = lru_cache(maxsize=20_000)(self._alone)

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """Return ids; `special` adds what the tokenizer's own post-processor adds."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def __call__(self, ids: Ids) -> Vector:
        """Return what the model makes of one sequence."""
        with self._lock:
            return self._kept(ids)

    def _load(self, folder: Path, *, trained: bool) -> torch.nn.Module:
        raise NotImplementedError

    def _alone(self, ids: Ids) -> Vector:
        raise NotImplementedError


class EmbedderNetwork(_Network):
    """Hidden states, as rows of (tokens, width)."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.model.config.hidden_size)

    def _load(self, folder: Path, *, trained: bool) -> torch.nn.Module:
        return _load(AutoModel, folder, trained=trained)

    def _alone(self, ids: Ids) -> Vector:
        with torch.inference_mode():
            hidden = self.model(torch.tensor([ids])).last_hidden_state[0]
        return hidden.double().numpy()


class RerankerNetwork(_Network):
    """Logits of every token at the last position."""

    def __init__(self, folder: Path, *, trained: bool = True) -> None:
        super().__init__(folder, trained=trained)
        self.no: int = self.tokenizer.token_to_id("no")
        self.yes: int = self.tokenizer.token_to_id("yes")

    def _load(self, folder: Path, *, trained: bool) -> torch.nn.Module:
        return _load(AutoModelForCausalLM, folder, trained=trained)

    def _alone(self, ids: Ids) -> Vector:
        with torch.inference_mode():
            logits = self.model(torch.tensor([ids])).logits[0, -1]
        return logits.double().numpy()


def embedder(*, trained: bool = True) -> EmbedderNetwork:
    """Return the tiny embedder; untrained, another model of the same shape."""
    with LOADING:
        return _embedder(trained)


def reranker(*, trained: bool = True) -> RerankerNetwork:
    """Return the tiny reranker; untrained, another model of the same shape."""
    with LOADING:
        return _reranker(trained)


@cache
def _embedder(trained: bool) -> EmbedderNetwork:  # noqa: FBT001 - what is kept is found by it
    return EmbedderNetwork(EMBEDDER, trained=trained)


@cache
def _reranker(trained: bool) -> RerankerNetwork:  # noqa: FBT001 - the same
    return RerankerNetwork(RERANKER, trained=trained)


def _load(kind: type, folder: Path, *, trained: bool) -> torch.nn.Module:
    if trained:
        return kind.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[attr-defined]
    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(folder)
    return kind.from_config(config, dtype=torch.float32).eval()  # type: ignore[attr-defined]
