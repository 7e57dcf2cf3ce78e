"""The models' prompts, byte for byte, and the pure way from texts to token ids.

Source: the model cards of Qwen3-Embedding and Qwen3-Reranker (their transformers code). Text from
users is encoded by an encoder without control tokens, so nothing inside it can act as one; the
control tokens stand only where these functions put them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.contract import Pair
from qwen_retrieval.errors import PrefixedQueryError, SettingsError, TooLongError

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts to token ids; adds no special token and knows no control token."""

QUERY_TEMPLATE = "Instruct: {instruction}\nQuery:{query}"

RERANKER_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".'
)
RERANKER_PREFIX = f"<|im_start|>system\n{RERANKER_SYSTEM}<|im_end|>\n<|im_start|>user\n"
RERANKER_HEAD = "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: "
RERANKER_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

EMBEDDER_EOS = "<|endoftext|>"
"""What the embedders' vector is read from; not the tokenizer's own `eos_token`."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Token ids of each sequence, and the places of those whose document was cut."""

    ids: list[list[int]]
    cut: list[int]


def query_text(query: str, instruction: str) -> str:
    """Return the query as the embedder is to see it; an empty instruction adds nothing."""
    # Not str.format over the whole: braces in a query are data.
    if not instruction:
        return query
    return f"Instruct: {instruction}\nQuery:{query}"


def query_prefix(
    instruction: str | None, prompt: str | None, saved: Mapping[str, str | None]
) -> str:
    r"""Return what stands before a Qwen3 embedder's queries, ``Instruct: {task}\nQuery:``.

    Args:
        instruction: None takes the model's own; "" none.
        prompt: stands there verbatim instead.
        saved: the prompts that lie beside the model.
    """
    if prompt is not None:
        return prompt
    if instruction is not None:
        return query_text("", instruction)
    return saved.get("query") or query_text("", DEFAULT_INSTRUCTION)


def document_prefix(prompt: str | None, saved: Mapping[str, str | None]) -> str:
    """Return what stands before documents: the prompt asked for, else the model's own."""
    if prompt is not None:
        return prompt
    return saved.get("document") or saved.get("passage") or saved.get("corpus") or ""


def check_prefix_fits(tokens: int, max_length: int) -> None:
    """Refuse a prompt that leaves no room for a text beside it and EOS."""
    if tokens + 1 >= max_length:
        raise SettingsError(
            f"max_length is {max_length}, but the prompt and EOS alone take {tokens + 1} tokens;"
            " raise it or shorten the instruction."
        )


def is_prefixed(query: str) -> bool:
    """Say whether a query already begins with an instruction."""
    return query.startswith("Instruct: ") and "\nQuery:" in query


def check_not_prefixed(queries: Sequence[str]) -> None:
    """Raise `PrefixedQueryError` naming the first query that already carries an instruction."""
    for place, query in enumerate(queries):
        if is_prefixed(query):
            raise PrefixedQueryError(
                f"query {place} already begins with an instruction ({query!r:.60}), which would be"
                " doubled; give the bare query, or set prefixed_query='as_is'."
            )


def embedder_ids(texts: Sequence[str], encode: Encode, eos: int, max_length: int) -> Tokenized:
    """Return the ids of finished texts, each closed by EOS, which a cut never takes away."""
    room = max_length - 1
    encoded = encode(texts)
    cut = [place for place, ids in enumerate(encoded) if len(ids) > room]
    return Tokenized([[*ids[:room], eos] for ids in encoded], cut)


def reranker_task(instruction: str | None) -> str:
    """Return what stands before the query in the user's turn."""
    task = DEFAULT_INSTRUCTION if instruction is None else instruction
    return f"<Instruct>: {task}\n<Query>:"


def reranker_head(query: str, instruction: str | None) -> str:
    """Return what stands before the document in the user's turn."""
    return f"{reranker_task(instruction)} {query}\n<Document>: "


def reranker_ids(  # noqa: PLR0913 - what a prompt is made of
    pairs: Sequence[Pair],
    instruction: str | None,
    encode: Encode,
    prefix: Sequence[int],
    suffix: Sequence[int],
    max_length: int,
) -> Tokenized:
    """Return the ids of the whole prompt for each (query, document); a cut takes document only.

    Args:
        pairs: queries and documents.
        instruction: None takes the default sentence.
        encode: for everything that comes from the user.
        prefix: ids of `RERANKER_PREFIX`, control tokens included.
        suffix: ids of `RERANKER_SUFFIX`.
        max_length: tokens of the whole prompt.

    Raises:
        TooLongError: a query (with its instruction) leaves no room for a document.
    """
    room = max_length - len(prefix) - len(suffix)
    heads = {query: reranker_head(query, instruction) for query, _ in pairs}
    encoded = encode([heads[query] + document for query, document in pairs])
    cut = [place for place, ids in enumerate(encoded) if len(ids) > room]
    if cut:
        _check_room(pairs, heads, cut, encode, room, max_length)
    return Tokenized([[*prefix, *ids[:room], *suffix] for ids in encoded], cut)


def _check_room(  # noqa: PLR0913 - one caller, all of it its own state
    pairs: Sequence[Pair],
    heads: dict[str, str],
    cut: list[int],
    encode: Encode,
    room: int,
    max_length: int,
) -> None:
    # The head's last space may merge with the document's first word, so it is not counted.
    encoded = encode([heads[pairs[place][0]][:-1] for place in cut])
    # The longest: a limit that suits it suits all.
    longest, place = max((len(ids), place) for place, ids in zip(cut, encoded, strict=True))
    if longest >= room:
        raise TooLongError(
            f"the query {pairs[place][0]!r:.60} takes {longest} tokens with its instruction, and"
            f" only {room} of max_length={max_length} are left beside the template, so there is no"
            " room for a document; shorten the query or raise max_length above"
            f" {longest + max_length - room}."
        )
