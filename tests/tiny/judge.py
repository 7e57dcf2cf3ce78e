"""The reranker as a sentence-transformers CrossEncoder that trains cheaply.

Most of a reranking prompt is the same for all pairs of a batch: the system part, the instruction,
and in a list the query too. Here that common beginning runs through the network once and the rest
attends to its keys and values. Token ids and scores are those of the plain prompt.
"""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Module
from sentence_transformers.cross_encoder.modules import LogitScore
from tokenizers import Tokenizer
from transformers import DynamicCache, Qwen3ForCausalLM

from . import prompts

#: Between instruction and query in the first text of a pair; no instruction contains it.
SEPARATOR = "\x1f"


def asked(instruction: str, query: str) -> str:
    """Return the first text of a training pair."""
    return f"{instruction}{SEPARATOR}{query}"


class SharedPrefix(Module):
    """Renders pairs with the official prompt and runs what they begin with in common once."""

    config_keys: list[str] = []
    save_in_root = True

    def __init__(self, network: Qwen3ForCausalLM, tokenizer: Tokenizer) -> None:
        """Wrap a network; nothing is copied."""
        super().__init__()
        self.auto_model = network
        self._tokenizer = tokenizer
        self.max_seq_length = 512

    def preprocess(self, inputs: list[Any], **_: object) -> dict[str, Any]:
        """Return padded token ids of the pairs' prompts, padded on the right."""
        texts = []
        for pair in inputs:  # the trainer's model card counts the tokens of single columns
            first, document = (pair, "") if isinstance(pair, str) else pair
            instruction, _, query = first.partition(SEPARATOR)
            texts.append(render(instruction, query, document))
        encoded = [e.ids for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        lengths = torch.tensor([len(ids) for ids in encoded])
        ids = torch.zeros(len(encoded), int(lengths.max()), dtype=torch.long)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return {"input_ids": ids, "lengths": lengths}

    def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
        """Add the logits of the last position."""
        ids, lengths = features["input_ids"], features["lengths"]
        same = (ids == ids[0]).all(0)
        shared = int(same.int().cumprod(0).sum()) if len(ids) > 1 else 0
        shared = min(shared, int(lengths.min()) - 1)
        cache = DynamicCache(config=self.auto_model.config)
        if shared:
            self.auto_model.model(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(ids))
        mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
        hidden = self.auto_model.model(
            input_ids=ids[:, shared:],
            attention_mask=mask.long(),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        last = hidden[torch.arange(len(ids)), lengths - 1 - shared]
        features["causal_logits"] = self.auto_model.lm_head(last)[:, None, :]
        return features

    def save(self, output_path: str, *_: object, **__: object) -> None:
        """Save nothing: checkpoints are written in the released format by `network`."""


#: Marks a document whose prompt is cut before the think block.
UNFINISHED = "\x1e"


def render(instruction: str, query: str, document: str) -> str:
    """Return the official prompt, or its beginning where the document says so."""
    if not document.startswith(UNFINISHED):
        return prompts.reranker_prompt(instruction, query, document)
    whole = prompts.reranker_prompt(instruction, query, document.removeprefix(UNFINISHED))
    return whole.removesuffix("<think>\n\n</think>\n\n")


def cross_encoder(network: Qwen3ForCausalLM, tokenizer: Tokenizer) -> CrossEncoder:
    """Return a CrossEncoder whose score is the yes-no logit of the network."""
    score = LogitScore(tokenizer.token_to_id("yes"), tokenizer.token_to_id("no"))
    return CrossEncoder(
        modules=[SharedPrefix(network, tokenizer), score],
        device="cpu",
        activation_fn=torch.nn.Identity(),
    )
