"""Wiring faults, each as a patch of the library that makes it wrong in one way.

They are the mistakes that today's integrations make (or that we could make tomorrow). `table.py`
shows what each costs and which test catches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch

from qwen_retrieval import prompts, stages
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.contract import Ranked
from qwen_retrieval.local import attention, embedder, encoders, prefix, reranker, scorers
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.prompts import Tokenized

Stage = Literal["embedder", "reranker"]


@dataclass(frozen=True)
class Fault:
    """One way to be wrong.

    Attributes:
        name: short, for the command line.
        what: in words, for the table.
        stage: whose results it spoils.
        shows: as a fall in nDCG@10 of at least 0.03, or at least as a parity error.
        caught_by: file and name of the contract's test that has to fail under it.
        patches: makers of the context managers that bring it about.
    """

    name: str
    what: str
    stage: Stage
    shows: Literal["nDCG@10", "parity"]
    caught_by: str
    patches: tuple[Callable[[], Any], ...]

    @property
    def test(self) -> str:
        """The test that fails under it, as pytest names it."""
        file, function = self.caught_by.split("::")
        return f"tests/contract/{file}.py::{function}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make the library wrong within the block.

        Models are loaded anew there: those that others hold were made by the right code.
        """
        with ExitStack() as stack:
            for kind in (embedder.LocalEmbedder, reranker.LocalReranker):
                stack.enter_context(patch.object(kind, "shelf", Shelf()))
            for make in self.patches:
                stack.enter_context(make())
            yield


def _no_instruction(*_: object) -> str:
    return ""


def _instruction_on_documents(*_: object) -> str:
    return prompts.query_text("", DEFAULT_INSTRUCTION)


_embedder_ids = prompts.embedder_ids
_reranker_ids = prompts.reranker_ids
_replica_init = encoders._SentenceTransformerReplica.__init__
_padded = attention.PaddedSpan.__init__
_blocked = attention.BlockedSpan.__init__
_stems = prefix.Trunks.stems
_compute = scorers.RerankerReplica.compute


def _newlines_replaced(texts: Sequence[str], *rest: Any) -> Tokenized:
    return _embedder_ids([text.replace("\n", " ") for text in texts], *rest)


def _eos_lost(texts: Sequence[str], encode: Any, eos: int, max_length: int) -> Tokenized:
    found = _embedder_ids(texts, encode, eos, max_length)
    return Tokenized([ids[:-1] or [eos] for ids in found.ids], found.cut)


def _mean_pooling(self: Any, *args: Any, **options: Any) -> None:
    _replica_init(self, *args, **options)
    self._modules[1].pooling_mode = "mean"


def _padding_seen(self: Any, *args: Any) -> None:
    _padded(self, *args)
    self._end_mask = None


def _later_seen(self: Any, *args: Any) -> None:
    _blocked(self, *args)
    self._later = torch.zeros_like(self._later)


def _padded_attention() -> Any:
    return patch.object(attention, "blocks_are_faster", lambda: False)


def _blocked_attention() -> Any:
    return patch.object(attention, "blocks_are_faster", lambda: True)


def _other_side(self: Any, group: Any, start: int, *args: Any) -> None:
    """Read each sequence's end in the last column, where padding on the left would put it."""
    _padded(self, group, start, *args)
    lengths = torch.tensor([len(sequence) for sequence in group.sequences])
    columns = start + lengths.cumsum(0) - lengths + lengths.max() - 1
    self.ends = columns.clamp(max=start + int(lengths.sum()) - 1)


def _anothers_prefix(self: Any, paths: Any) -> Any:
    found = _stems(self, paths)
    one = next((path for path in found if len(path) > 1), None)
    return {path: found[one] if len(path) > 1 else stems for path, stems in found.items()}


def _cut_after_normalizing(vectors: Any, dimensions: int, *, normalize: bool) -> Any:
    full = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors
    return np.ascontiguousarray(full[:, :dimensions], np.float32)


def _bare_pair(pairs: Any, _: Any, encode: Any, *rest: Any) -> Tokenized:
    found = encode([f"{query} {document}" for query, document in pairs])
    return Tokenized([ids[: rest[-1]] for ids in found], [])


def _closing_cut(  # noqa: PLR0913 - as many as the right one
    pairs: Any, instruction: Any, encode: Any, prefix: Any, suffix: Any, max_length: int
) -> Tokenized:
    found = _reranker_ids(pairs, instruction, encode, prefix, suffix, 10**9)
    return Tokenized([ids[:max_length] for ids in found.ids], [])


def _default_instruction(pairs: Any, _: Any, *rest: Any) -> Tokenized:
    return _reranker_ids(pairs, None, *rest)


def _pair_turned(pairs: Any, *rest: Any) -> Tokenized:
    # Only the head of a document, since a query is never cut and has to leave room.
    return _reranker_ids([(document[:200], query) for query, document in pairs], *rest)


def _input_order(scores: Any, top_n: int | None, threshold: float | None) -> list[Ranked]:
    return [Ranked(place, float(score)) for place, score in enumerate(scores)][:top_n]


def _yes_no_swapped(self: Any, items: Any) -> Any:
    return -_compute(self, items)


def _longest_first(self: Any, replicas: Any, work: Any, stop: Any) -> Any:
    """Results in the order of computing, as when sorting by length is not undone."""
    rows = _run(self, replicas, work, stop)
    return [rows[place] for place in sorted(range(len(rows)), key=lambda p: -work.lengths[p])]


_run = embedder.LocalEmbedder._run

FAULTS = (
    Fault("no-instruction", "query instruction lost", "embedder", "nDCG@10",
          "test_3_instruction::test_queries_carry_the_instruction_of_the_settings",
          (lambda: patch.object(encoders.Qwen3Embedder, "query_prefix", _no_instruction),)),
    Fault("instruction-on-documents", "instruction put on documents too", "embedder", "parity",
          "test_3_instruction::test_documents_carry_no_instruction",
          (lambda: patch.object(encoders.Qwen3Embedder, "document_prefix",
                                _instruction_on_documents),)),
    Fault("newline-replaced", "newlines replaced by spaces", "embedder", "parity",
          "test_2_text::test_awkward_texts_have_the_vectors_of_the_plain_forward",
          (lambda: patch.object(prompts, "embedder_ids", _newlines_replaced),)),
    Fault("eos-lost", "EOS not appended", "embedder", "nDCG@10",
          "test_4_scores::test_a_cut_text_keeps_its_end_token",
          (lambda: patch.object(prompts, "embedder_ids", _eos_lost),)),
    Fault("mean-pooling", "mean instead of last-token pooling", "embedder", "nDCG@10",
          "test_1_vectors::test_cut_vectors_equal_the_plain_forward",
          (lambda: patch.object(encoders._SentenceTransformerReplica, "__init__",
                                _mean_pooling),)),
    Fault("mask-ignored", "padding read as text", "embedder", "parity",
          "test_5_neighbours::test_a_vector_does_not_depend_on_its_neighbours",
          (_padded_attention,
           lambda: patch.object(attention.PaddedSpan, "__init__", _padding_seen))),
    Fault("later-seen", "tokens see those after them", "embedder", "parity",
          "test_1_vectors::test_cut_vectors_equal_the_plain_forward",
          (_blocked_attention,
           lambda: patch.object(attention.BlockedSpan, "__init__", _later_seen))),
    Fault("cut-after-normalizing", "no normalising after the Matryoshka cut", "embedder", "parity",
          "test_1_vectors::test_vectors_are_cut_and_then_normalised",
          (lambda: patch.object(stages, "cut_and_normalize", _cut_after_normalizing),)),
    Fault("vectors-out-of-order", "sorting by length not undone", "embedder", "nDCG@10",
          "test_5_neighbours::test_a_vector_does_not_depend_on_its_neighbours",
          (lambda: patch.object(embedder.LocalEmbedder, "_run", _longest_first),)),
    Fault("no-template", "bare pair instead of the template", "reranker", "nDCG@10",
          "test_4_scores::test_the_score_is_the_share_of_yes_at_the_end_of_the_official_prompt",
          (lambda: patch.object(prompts, "reranker_ids", _bare_pair),)),
    Fault("no-think-block", "empty think block missing", "reranker", "nDCG@10",
          "test_4_scores::test_the_score_is_the_share_of_yes_at_the_end_of_the_official_prompt",
          (lambda: patch.object(prompts, "RERANKER_SUFFIX",
                                "<|im_end|>\n<|im_start|>assistant\n"),)),
    Fault("yes-no-swapped", "yes and no swapped", "reranker", "nDCG@10",
          "test_4_scores::test_the_logit_is_yes_minus_no",
          (lambda: patch.object(scorers.RerankerReplica, "compute", _yes_no_swapped),)),
    Fault("padding-side", "left and right padding mistaken", "reranker", "parity",
          "test_5_neighbours::test_a_score_does_not_depend_on_its_neighbours",
          (_padded_attention,
           lambda: patch.object(attention.PaddedSpan, "__init__", _other_side))),
    Fault("anothers-prefix", "another query's beginning reused", "reranker", "parity",
          "test_4_scores::test_pairs_of_many_queries_are_scored_in_the_order_given",
          (lambda: patch.object(prefix.Trunks, "stems", _anothers_prefix),)),
    Fault("order-lost", "results in input order", "reranker", "nDCG@10",
          "test_4_scores::test_the_best_comes_first",
          (lambda: patch.object(reranker, "rank", _input_order),)),
    Fault("pair-turned", "query and document swapped", "reranker", "parity",
          "test_2_text::test_awkward_queries_have_the_scores_of_the_plain_forward",
          (lambda: patch.object(prompts, "reranker_ids", _pair_turned),)),
    Fault("reranker-instruction-lost", "own instruction replaced by the default", "reranker",
          "parity",
          "test_3_instruction::test_the_reranking_prompt_carries_the_instruction_of_the_settings",
          (lambda: patch.object(prompts, "reranker_ids", _default_instruction),)),
    Fault("closing-cut", "truncation cuts the closing of the prompt", "reranker", "parity",
          "test_4_scores::test_only_the_document_is_cut",
          (lambda: patch.object(prompts, "reranker_ids", _closing_cut),)),
)  # fmt: skip
"""All of them; the first column of the table."""


def by_name(name: str) -> Fault:
    """Return the fault of that name."""
    return next(fault for fault in FAULTS if fault.name == name)
