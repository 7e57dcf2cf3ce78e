"""Qwen3 rerankers in their three forms behind one face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qwen_retrieval import prompts
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.padding import padded
from qwen_retrieval.local.prefix import Branch
from qwen_retrieval.local.shared import SharedForward
from qwen_retrieval.local.turnstile import Turnstile
from qwen_retrieval.tokens import plain_encoder, token_id

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from torch import Tensor

    from qwen_retrieval.contract import Pair
    from qwen_retrieval.local.batching import Result
    from qwen_retrieval.stages import Prepared


class RerankerReplica:
    """One copy of a Qwen3 reranker on one device, scoring finished prompts.

    The logit is yes − no from the causal head (sentence-transformers' LogitScore), or the single
    output of a sequence-classification conversion, whose one row is the difference of the same two
    rows.
    """

    def __init__(self, model: CrossEncoder, name: str, *, changing: bool = False) -> None:
        inner, tokenizer = model.transformers_model, model.tokenizer
        if inner is None or getattr(inner.config, "model_type", None) != "qwen3":
            raise WrongModelError(f"{name} is no Qwen3 reranker, the only kind with this prompt.")
        if type(inner).__name__.endswith("ForSequenceClassification") and (
            inner.config.num_labels != 1
        ):
            raise WrongModelError(
                f"{name} has {inner.config.num_labels} classes; a converted Qwen3 reranker has one,"
                " yes − no."
            )
        self.name = name
        self.turnstile = Turnstile()
        self.context: int | None = getattr(inner.config, "max_position_embeddings", None)
        self.on_cpu = model.device.type == "cpu"
        self._model = model
        self._changing = changing
        self._causal = type(inner).__name__.endswith("ForCausalLM")
        if self._causal:
            for answer in ("yes", "no"):
                token_id(tokenizer.backend_tokenizer, answer, name)
        self._encode = plain_encoder(tokenizer.backend_tokenizer)
        self._prefix = tokenizer.encode(prompts.RERANKER_PREFIX, add_special_tokens=False)
        self._suffix = tokenizer.encode(prompts.RERANKER_SUFFIX, add_special_tokens=False)
        eos = token_id(tokenizer.backend_tokenizer, prompts.EMBEDDER_EOS, name)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos
        if not self._causal and inner.config.pad_token_id is None:
            # Without it transformers cannot find the last token of a padded batch.
            inner.config.pad_token_id = self._pad
        self._own: tuple[SharedForward, Callable[[], Tensor]] | None = None
        self._renew(told=False)

    def _renew(self, *, told: bool) -> None:
        """Find out whether the own forward pass, and what gives its answer, fit the model now."""
        answer = _answer_row(self._model)
        shared = SharedForward.of(
            self._model.transformers_model,
            self.name,
            changing=self._changing,
            unusual="an unusual head" if answer is None else None,
            told=told,
        )
        self._own = None if shared is None or answer is None else (shared, answer)

    def count(self, pairs: Sequence[Pair], instruction: str | None, limit: int) -> list[int]:
        """Return how many tokens the whole prompt of each pair has."""
        return [len(ids) for ids in self._tokenized(pairs, instruction, limit).ids]

    def prepare(self, pairs: Sequence[Pair], instruction: str | None, limit: int) -> Prepared:
        """Return the whole prompt of each pair, ready to compute."""
        tokenized = self._tokenized(pairs, instruction, limit)
        if self._changing:
            self._renew(told=self._own is None)
        own = self._own  # once: another thread's call may renew it
        if own is None:
            items = [Branch((), ids) for ids in tokenized.ids]
        else:
            trunk = [*self._prefix, *self._encode([prompts.reranker_task(instruction)])[0]]
            items = own[0].branches(tokenized.ids, trunk, [query for query, _ in pairs])
        return items, [item.cost for item in items], tokenized.cut

    def waves(self, items: Sequence[Any]) -> list[list[int]]:
        """Return the items' places in parts, in the order in which to compute them."""
        own = self._own
        return [list(range(len(items)))] if own is None else own[0].waves(items)

    def compute(self, items: Sequence[Any]) -> Result:
        """Return the logits yes − no of prepared prompts, shape (n,)."""
        import torch  # noqa: PLC0415 - loaded with the first model

        if self._changing:
            self._model.eval()  # as sentence-transformers' own `predict` does: without dropout
        own = self._own
        if own is None:
            return self._padded([item.ids for item in items])
        shared, answer = own
        with torch.inference_mode():
            hidden = shared.last_hidden(items)
            # In float32 whatever the weights are: the difference is all that counts.
            rows = torch.nn.functional.linear(hidden.float(), answer().float())
            logits = rows[:, 0] - rows[:, 1] if rows.shape[1] > 1 else rows[:, 0]
            result: Result = logits.cpu().numpy()
        return result

    def _tokenized(
        self, pairs: Sequence[Pair], instruction: str | None, limit: int
    ) -> prompts.Tokenized:
        return prompts.reranker_ids(
            pairs, instruction, self._encode, self._prefix, self._suffix, limit
        )

    def _padded(self, sequences: Sequence[Sequence[int]]) -> Result:
        """Return what sentence-transformers' modules make of token-id sequences."""
        import torch  # noqa: PLC0415 - loaded with the first model

        device = self._model.device
        # The causal head is read at the last place, so every sequence has to end there.
        batch = padded(sequences, self._pad, side="left")
        features: dict[str, Any] = {name: value.to(device) for name, value in batch.items()}
        if self._causal:
            features["logits_to_keep"] = 1
        with torch.inference_mode():
            scores: Result = self._model(features)["scores"].float().squeeze(-1).cpu().numpy()
        return scores


def _answer_row(model: CrossEncoder) -> Callable[[], Tensor] | None:
    """Return what gives the rows of the answers, (2, width) or (1, width), or None if unknown.

    A causal head has a row for every token of the vocabulary, of which two decide.
    """
    from sentence_transformers.cross_encoder.modules import LogitScore  # noqa: PLC0415

    inner: Any = model.transformers_model
    match list(model)[1:]:
        case [LogitScore() as answer] if _is_plain(getattr(inner, "lm_head", None)):
            both = [answer.true_token_id, answer.false_token_id]
            return None if None in both else lambda: inner.lm_head.weight[both]
        case [] if _is_plain(getattr(inner, "score", None)):
            return lambda: inner.score.weight
        case _:
            return None


def _is_plain(head: object) -> bool:
    """Say whether a head is its weights and nothing more: no adapter, no quantised layer."""
    import torch  # noqa: PLC0415 - loaded with the first model

    return type(head) is torch.nn.Linear and head.bias is None
