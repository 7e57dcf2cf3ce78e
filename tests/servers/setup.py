"""How an operator has started a server, rightly or wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["embedder", "reranker"]
Template = Literal["exact", "shipped", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A server's options; those below `vectors_limit` are mistakes, all of them met in the wild.

    Attributes:
        serves: which of the two tiny models.
        name: under which it is served; None takes the folder, as engines do.
        api_key: asked for where the engine asks for it.
        max_length: tokens a sequence may have.
        max_batch: inputs a request may have; None takes the engine's own limit.
        max_concurrent: requests computed at once before the engine answers 429; None for no limit.
        template: what renders a reranker's prompt from query and document. "exact" is the official
            prompt, "shipped" is vLLM's example file (it loses the last newline), "none" puts the
            document behind the query.
        instruction: the task that such a template has by default.
        pooling: "mean" is what a server takes for a model of another kind.
        end: whether text gets the end token; old GGUF files lack it.
        matryoshka: whether `dimensions` is known (vLLM: ``is_matryoshka`` among the overrides).
        renormalises: whether a cut vector is scaled to unit length again.
        default_prompt: what the server puts before every text of its own accord.
        overflows: float16: texts that begin with "import" come out as NaN.
        trained: False serves another model of the same shape and name.
        pads: short texts of a batch are computed with padding that is not masked.
        swaps_answers: "yes" and "no" in the wrong order.
        truncates: longer sequences are cut at the end, without a word.
        constant: every result is the same one.
    """

    serves: Kind = "embedder"
    name: str | None = None
    api_key: str | None = None
    max_length: int = 4096
    max_batch: int | None = None
    max_concurrent: int | None = None
    template: Template = "exact"
    instruction: str = "Given a web search query, retrieve relevant passages that answer the query"
    pooling: Literal["last", "mean"] = "last"
    end: bool = True
    matryoshka: bool = True
    renormalises: bool = True
    default_prompt: str = ""
    overflows: bool = False
    trained: bool = True
    pads: bool = False
    swaps_answers: bool = False
    truncates: bool = False
    constant: bool = False
