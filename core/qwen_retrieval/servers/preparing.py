"""Prompts for a server, as token ids where it takes them, else as text that it will tokenise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen_retrieval import prompts
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.tokens import token_id

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair
    from qwen_retrieval.servers.engine import EmbeddingEngine, RerankEngine
    from qwen_retrieval.servers.tokenizer import ServedModel
    from qwen_retrieval.stages import Prepared


class Texts:
    """What an embedding engine is to get; see `qwen_retrieval.stages.TextPreparer`."""

    def __init__(self, model: ServedModel, engine: EmbeddingEngine, context: int | None) -> None:
        """Prepare for a server whose sequences may have `context` tokens."""
        self.name = model.name
        self.context = context
        self._model = model
        self._engine = engine
        self._eos = token_id(model.tokenizer, prompts.EMBEDDER_EOS, model.name)
        if not (engine.takes_ids or engine.own_model) and not self._ends_texts():
            raise ServerUnsupportedError(
                f"the tokenizer of {model.name} does not put {prompts.EMBEDDER_EOS} after a text,"
                f" where vectors are read, and {engine.title} tokenises text itself. Take the"
                " tokenizer.json of Qwen/Qwen3-Embedding-0.6B, here and on the server, or an engine"
                " that takes token ids (vllm, sglang, llama_cpp) or a local model."
            )

    def _ends_texts(self) -> bool:
        ids: list[int] = self._model.tokenizer.encode("").ids
        return ids == [self._eos]

    def query_prefix(self, instruction: str | None, prompt: str | None) -> str:
        """Return what stands before a query, as far as the client puts it there."""
        if not self._engine.own_instruction:
            return prompts.query_prefix(instruction, prompt, self._model.prompts)
        check_plain(instruction or "", "the instruction", self._model, self._engine)
        if prompt is not None:
            raise ServerUnsupportedError(
                f"query_prompt is {prompt!r:.60}, but {self._engine.title} puts a text of its own"
                " before queries; give query_instruction, which it takes."
            )
        return ""

    def document_prefix(self, prompt: str | None) -> str:
        """Return what stands before a document."""
        return prompts.document_prefix(prompt, self._model.prompts)

    def prepare(self, texts: Sequence[str], prefix: str, limit: int) -> Prepared:
        """Return token ids with EOS at the end, or texts that become as many tokens there."""
        model = self._model
        prompts.check_prefix_fits(len(model.encode([prefix])[0]) if prefix else 0, limit)
        if self._engine.takes_ids:
            found = prompts.embedder_ids(texts, model.encode, self._eos, limit)
            return found.ids, list(map(len, found.ids)), found.cut
        texts = [model.normalized(text) for text in texts]
        for text in texts:
            self._check_text(text, "a text")
        cut_texts = [cut_text("", text, model, limit - 1) for text in texts]
        cut = [place for place, (text, _) in enumerate(cut_texts) if text != texts[place]]
        return [text for text, _ in cut_texts], [tokens + 1 for _, tokens in cut_texts], cut

    def _check_text(self, text: str, what: str) -> None:
        check_plain(text, what, self._model, self._engine)
        if self._engine.strips and text != text.strip():
            raise ServerUnsupportedError(
                f"{what} ({text!r:.60}) begins or ends with white space, which"
                f" {self._engine.title} removes, and its vector would be another text's; strip it"
                " yourself if that is what you want."
            )
        if self._engine.refuses_empty and not text:
            raise ServerUnsupportedError(
                f"{what} is empty, which {self._engine.title} refuses; leave it out, or use an"
                " engine that takes token ids (vllm, sglang, llama_cpp) or a local model."
            )


class Prompts:
    """What a reranking engine is to get; see `qwen_retrieval.stages.PairPreparer`."""

    def __init__(self, model: ServedModel, engine: RerankEngine, context: int | None) -> None:
        """Prepare for a server whose sequences may have `context` tokens."""
        self.name = model.name
        self.context = context
        self._model = model
        self._engine = engine
        encoded = model.tokenizer.encode_batch(
            [prompts.RERANKER_PREFIX, prompts.RERANKER_SUFFIX], add_special_tokens=False
        )
        self._prefix, self._suffix = (each.ids for each in encoded)
        self.answers = (
            token_id(model.tokenizer, "yes", model.name),
            token_id(model.tokenizer, "no", model.name),
        )

    def prepare(self, pairs: Sequence[Pair], instruction: str | None, limit: int) -> Prepared:
        """Return the token ids of whole prompts, or pairs that become as many tokens there."""
        model, engine = self._model, self._engine
        task = DEFAULT_INSTRUCTION if instruction is None else instruction
        if not engine.takes_instruction and task != DEFAULT_INSTRUCTION:
            raise ServerUnsupportedError(
                f"the instruction is {task!r:.60}, but {engine.title} has its own prompt with the"
                " default instruction, and would ignore another; leave it out, or use vllm, sglang"
                " or a local model."
            )
        found = prompts.reranker_ids(
            pairs, instruction, model.encode, self._prefix, self._suffix, limit
        )
        lengths = list(map(len, found.ids))
        if engine.takes_ids:
            return found.ids, lengths, found.cut
        pairs = [(model.normalized(query), model.normalized(text)) for query, text in pairs]
        for query, document in pairs:
            self._check_text(query, "a query")
            self._check_text(document, "a document")
        self._check_text(task, "the instruction")
        cut = set(found.cut)
        room = limit - len(self._prefix) - len(self._suffix)
        items = [
            (query, self._cut(query, document, instruction, room) if place in cut else document)
            for place, (query, document) in enumerate(pairs)
        ]
        return items, lengths, found.cut

    def _cut(self, query: str, document: str, instruction: str | None, room: int) -> str:
        head = prompts.reranker_head(query, instruction)
        return cut_text(head, document, self._model, room)[0]

    def _check_text(self, text: str, what: str) -> None:
        check_plain(text, what, self._model, self._engine)
        found = next((each for each in self._engine.forbidden if each in text), None)
        if found is not None:
            raise ServerUnsupportedError(
                f"{what} ({text!r:.60}) holds {found!r}, which {self._engine.title} would replace"
                " by something else; change it, or use vllm, sglang or a local model."
            )


def check_plain(
    text: str, what: str, model: ServedModel, engine: EmbeddingEngine | RerankEngine
) -> None:
    """Refuse a text with control tokens in it, which the server's tokenizer would obey."""
    found = next((token for token in model.control if token in text), None)
    if found is not None:
        raise ServerUnsupportedError(
            f"{what} ({text!r:.60}) holds the control token {found!r}. {engine.title} tokenises"
            " text itself, so it would act as one; remove it, or use an engine that takes token ids"
            " (vllm, sglang; llama_cpp to embed) or a local model."
        )


def cut_text(head: str, text: str, model: ServedModel, room: int) -> tuple[str, int]:
    """Return the longest beginning of the text that takes no more than `room` tokens with its head.

    The text is cut between characters where a token ends, so what is left is a part of it byte for
    byte. Tokenised again it may fall into more tokens than before, since the cut changes what
    stands around its end; then it is cut further.

    Args:
        head: stands before it and is kept whole.
        text: to be cut.
        model: whose tokens are meant.
        room: tokens for both.

    Returns:
        the text, and how many tokens it takes with its head.
    """
    encoding = model.plain.encode(head + text, add_special_tokens=False)
    length, keep = len(encoding.ids), room
    if length <= room:
        return text, length
    while True:
        end = max(encoding.offsets[keep - 1][1], len(head)) if keep > 0 else len(head)
        shorter = text[: end - len(head)]
        length = len(model.plain.encode(head + shorter, add_special_tokens=False).ids)
        if length <= room or not shorter:
            return shorter, length
        keep -= 1
