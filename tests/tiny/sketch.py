"""The started reranker as a formula, small enough to train on hundreds of pairs a second.

`start_reranker` builds a network that computes: which document tokens have their like in the query,
the weighted means of query and document, and a bilinear form of the two. Here the same is computed
directly from the token table, so the table, the weights and the form are trained before the network
is built from them. It is a sentence-transformers module and trains with the CrossEncoder trainer.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import Module
from tokenizers import Tokenizer

from .judge import SEPARATOR
from .start_reranker import (
    FLAG_SHARE,
    MATCH_SHARPNESS,
    POOLED,
    SCORE_STEP,
    WIDTH,
    match_projections,
)

_LONGEST_QUERY, _LONGEST_DOCUMENT = 28, 64
_OWN = 1.1  # squared length of the last position's residual before anything is pooled


class Sketch(Module):
    """Scores pairs as the started network will; its parameters are what the network is built from."""

    config_keys: list[str] = []

    def __init__(self, tokenizer: Tokenizer, table: NDArray[Any], seed: int) -> None:
        """Start from a token table whose row lengths are the tokens' weights."""
        super().__init__()
        rows = torch.from_numpy(table).float()
        norms = rows.norm(dim=1, keepdim=True).clamp_min(1e-6)
        logs = norms.squeeze(1).log()
        self.directions = torch.nn.Parameter((rows / norms)[:, :WIDTH].clone())
        self.log_weights = torch.nn.Parameter((logs - logs.median())[:, None].clone())
        self.form = torch.nn.Parameter(torch.eye(sum(POOLED)))
        self.match_pull = torch.nn.Parameter(torch.tensor(1.0))
        self.score_gain = torch.nn.Parameter(torch.tensor(8.0))
        self.match_gain = torch.nn.Parameter(torch.tensor(0.25))
        self.shift = torch.nn.Parameter(torch.tensor(2.0))
        self.projections = [part.clone() for part in match_projections(seed)]
        self._tokenizer = tokenizer
        self.max_seq_length = 128

    def preprocess(self, inputs: list[Any], **_: object) -> dict[str, Any]:
        """Return padded ids of queries and documents."""
        pairs = [(pair, "") if isinstance(pair, str) else pair for pair in inputs]
        queries = [first.partition(SEPARATOR)[2] for first, _ in pairs]
        return {
            "queries": self._ids(queries, _LONGEST_QUERY),
            "documents": self._ids([document for _, document in pairs], _LONGEST_DOCUMENT),
        }

    def _ids(self, texts: list[str], longest: int) -> torch.Tensor:
        spaced = [f" {text}" for text in texts]
        encoded = self._tokenizer.encode_batch(spaced, add_special_tokens=False)
        width = min(longest, max(len(each.ids) for each in encoded))
        ids = torch.full((len(texts), width), -1)
        for row, each in enumerate(encoded):
            kept = each.ids[:width]
            ids[row, : len(kept)] = torch.tensor(kept, dtype=torch.long)
        return ids

    def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
        """Add the scores, one a pair."""
        q_ids, d_ids = features["queries"], features["documents"]
        q_real, d_real = q_ids >= 0, d_ids >= 0
        unit = torch.nn.functional.normalize
        q = unit(torch.nn.functional.embedding(q_ids.clamp_min(0), self.directions), dim=-1)
        d = unit(torch.nn.functional.embedding(d_ids.clamp_min(0), self.directions), dim=-1)
        matched = self._matched(q, d, q_real, d_real)
        q_logits = self.log_weights[q_ids.clamp_min(0), 0].clamp(-6, 4)
        d_logits = self.log_weights[d_ids.clamp_min(0), 0].clamp(-6, 4) + self.match_pull * matched
        q_share = q_logits.masked_fill(~q_real, -1e9).softmax(1)
        d_share = d_logits.masked_fill(~d_real, -1e9).softmax(1)
        pooled = sum(POOLED)
        q_mean = (q_share[:, :, None] * q[:, :, :pooled]).sum(1)
        d_mean = (d_share[:, :, None] * d[:, :, :pooled]).sum(1)
        match = 4.0 * (d_share * 0.3 * matched).sum(1)
        length = _OWN + 16 * (q_mean.square().sum(1) + d_mean.square().sum(1)) + match.square()
        product = ((q_mean @ self.form) * d_mean).sum(1)
        score = SCORE_STEP * 256 * 16 * product / length
        top = self.score_gain * score + 2 * self.match_gain * match - self.shift
        features["scores"] = (16 * top / (length + score.square()).sqrt())[:, None]
        return features

    def _matched(
        self, q: torch.Tensor, d: torch.Tensor, q_real: torch.Tensor, d_real: torch.Tensor
    ) -> torch.Tensor:
        """Return, for each document token, the share of its attention that the query gets."""
        total = torch.zeros(d.shape[:2])
        causal = torch.ones(d.shape[1], d.shape[1]).tril().bool()
        for projection in self.projections:
            q_part, d_part = q @ projection.T, d @ projection.T
            flag = FLAG_SHARE * d_part.norm(dim=-1).mean().detach()
            asking = _with(d_part, flag)
            to_query = asking @ _with(q_part, flag).transpose(1, 2)
            to_document = asking @ _with(d_part, flag * 0).transpose(1, 2)
            to_query = to_query.masked_fill(~q_real[:, None, :], -2)
            to_document = to_document.masked_fill(~(d_real[:, None, :] & causal), -2)
            shares = (MATCH_SHARPNESS * torch.cat([to_query, to_document], 2)).softmax(2)
            total = total + shares[:, :, : q.shape[1]].sum(2)
        return total / len(self.projections)

    def save(self, output_path: str, *_: object, **__: object) -> None:
        """Save nothing: the network is built from the parameters."""


def _with(vectors: torch.Tensor, flag: torch.Tensor) -> torch.Tensor:
    column = flag.expand(*vectors.shape[:-1], 1)
    return torch.nn.functional.normalize(torch.cat([vectors, column], dim=-1), dim=-1)
