"""Encoders of user text in which nothing acts as a control token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen_retrieval.errors import ModelFilesError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qwen_retrieval.prompts import Encode


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that knows none of the tokenizer's added tokens and appends nothing.

    For every text without such strings the ids are the tokenizer's own; ``<|im_end|>`` in a text
    becomes the ids of its characters. `split_special_tokens=True` is not enough: ``<think>`` and
    its like are added tokens that are not "special" and would stay whole. It keeps no state, so
    threads can share it.
    """
    # A new one around the same parts: without the added tokens, and nothing put around a text.
    plain = type(tokenizer)(tokenizer.model)
    plain.normalizer, plain.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    plain.decoder = tokenizer.decoder
    return plain


def plain_encoder(tokenizer: Tokenizer) -> Encode:
    """Return what encodes texts as `plain_tokenizer` does."""
    plain = plain_tokenizer(tokenizer)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encoded = plain.encode_batch_fast(list(texts), add_special_tokens=False)
        return [each.ids for each in encoded]

    return encode


def token_id(tokenizer: Tokenizer, token: str, model: str) -> int:
    """Return the id of a token that the model must know.

    Raises:
        ModelFilesError: the tokenizer has no such token.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelFilesError(
            f"the tokenizer of {model} has no token {token!r}, which Qwen3 models need; is this the"
            " model's own tokenizer.json?"
        )
    return int(found)
