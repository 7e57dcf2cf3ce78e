"""Which promise of the contract holds through which engine, and how; from the engines themselves.

A promise is *kept* by the client, or what would break it is *refused* by name before anything is
sent, or it *rests* on how the server was set up, which ``qwen-retrieval doctor`` checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qwen_retrieval.servers.engines import EMBEDDING, RERANK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_retrieval.servers.engine import EmbeddingEngine, RerankEngine

Holds = Literal["kept", "refused", "rests"]


@dataclass(frozen=True, slots=True)
class Capability:
    """How one promise holds through one engine.

    Attributes:
        holds: "kept", "refused" or "rests".
        how: in a few words.
    """

    holds: Holds
    how: str

    def __str__(self) -> str:
        return f"**{self.holds}**, {self.how}"


def embedding_capabilities(engine: EmbeddingEngine) -> dict[str, Capability]:
    """Return how each promise about embeddings holds through an engine."""
    ids, own = engine.takes_ids, engine.own_model
    return {
        "text byte for byte": Capability("kept", "sent as token ids")
        if ids
        else Capability("refused", "text with white space at its ends, which is stripped there")
        if engine.strips
        else Capability("kept", "sent as text"),
        "empty text": Capability("refused", "the server does")
        if engine.refuses_empty
        else Capability("kept", "EOS alone" if ids else "as any other text"),
        "control tokens are data": Capability("kept", "as the ids of their characters")
        if ids
        else Capability("refused", "text that holds one"),
        "EOS at the end": Capability("kept", "by the client")
        if ids
        else Capability("rests", "on the server's tokenizer"),
        "instruction before queries": Capability(
            "rests", "on the service; a query_prompt is refused"
        )
        if engine.own_instruction
        else Capability("kept", "any, by the client"),
        "cut of long text": Capability("kept", "by tokens, before it is sent"),
        "dimensions": Capability("rests", "on the service's own model")
        if own
        else Capability("kept", "cut by the client, then scaled to unit length"),
        "normalize=False": Capability("refused", "servers scale what they hand out"),
        "one result for each text, in order": Capability("kept", "checked in every answer"),
        "the same vectors as locally": Capability("rests", "not the same model")
        if own
        else Capability("kept", "up to the engine's arithmetic")
        if ids
        else Capability("rests", "on the server's tokenizer, pooling and prompts"),
    }


def rerank_capabilities(engine: RerankEngine) -> dict[str, Capability]:
    """Return how each promise about reranking holds through an engine."""
    ids, any_task = engine.takes_ids, engine.takes_instruction
    literal = " or ".join(f"`{each}`" for each in engine.forbidden)
    return {
        "the official prompt": Capability("kept", "rendered by the client, sent as token ids")
        if ids
        else Capability("rests", "on the server's template"),
        "text byte for byte": Capability("refused", f"text that holds {literal}")
        if literal
        else Capability("kept", "sent as token ids" if ids else "sent as text"),
        "control tokens are data": Capability("kept", "as the ids of their characters")
        if ids
        else Capability("refused", "text that holds one"),
        "instruction": Capability("kept", "any")
        if ids
        else Capability("rests", "on the service, which gets it with each request")
        if any_task
        else Capability("refused", "any but the default one"),
        "cut of long documents": Capability("kept", "by tokens, before they are sent"),
        'score_type="logit"': Capability("kept", "yes − no")
        if engine.gives_logits
        else Capability("refused", "the server rounds to probabilities"),
        "one score for each document, in order": Capability("kept", "checked in every answer"),
        "the same scores as locally": Capability("kept", "up to the engine's arithmetic")
        if ids
        else Capability("rests", "on the server's template and model"),
    }


def table() -> str:
    """Return the tables of the documentation, in Markdown: for each promise, which engines how."""
    embeds = {engine.title: embedding_capabilities(engine) for engine in EMBEDDING.values()}
    reranks = {engine.title: rerank_capabilities(engine) for engine in RERANK.values()}
    return f"### Embedding\n\n{_table(embeds)}\n\n### Reranking\n\n{_table(reranks)}\n"


def _table(engines: Mapping[str, Mapping[str, Capability]]) -> str:
    promises = list(next(iter(engines.values())))
    rows = [f"| {promise} | {_cell(engines, promise)} |" for promise in promises]
    return "\n".join(["| promise | through which engine, and how |", "|---|---|", *rows])


def _cell(engines: Mapping[str, Mapping[str, Capability]], promise: str) -> str:
    """Return the engines of each answer, the most common first."""
    answers: dict[Capability, list[str]] = {}
    for title, each in engines.items():
        answers.setdefault(each[promise], []).append(title)
    ordered = sorted(answers, key=lambda answer: -len(answers[answer]))
    if len(ordered) == 1:
        return f"all: {ordered[0]}"
    return "<br>".join(f"{', '.join(answers[answer])}: {answer}" for answer in ordered)


if __name__ == "__main__":
    import sys

    sys.stdout.write(table())
