"""What the models answer, by transformers alone: one text at a time, no padding, float32.

Written from the model cards of Qwen3-Embedding and Qwen3-Reranker and independent of the library:
it shares no code with it and knows neither its prompts nor its batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

TASK = "Given a web search query, retrieve relevant passages that answer the query"


def get_detailed_instruct(task_description: str, query: str) -> str:
    """Return the card's query text."""
    return f"Instruct: {task_description}\nQuery:{query}"


class PlainEmbedder:
    """The embedding card's transformers code for a batch of one."""

    def __init__(self, folder: Path | str, model: Any = None) -> None:
        """Load the folder, or take a loaded model and the folder's tokenizer."""
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), padding_side="left")
        loaded = model or AutoModel.from_pretrained(str(folder), dtype=torch.float32)
        self.model = loaded.eval()

    def vector(
        self, text: str, max_length: int = 8192, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """Return the unit vector of a finished text."""
        batch = self.tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            hidden = self.model(**batch).last_hidden_state[0, -1, :dimensions]
        return torch.nn.functional.normalize(hidden, p=2, dim=0).numpy()

    def vectors(
        self, texts: list[str], max_length: int = 8192, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """Return the unit vectors of finished texts, each computed alone."""
        return np.stack([self.vector(text, max_length, dimensions) for text in texts])


def format_instruction(instruction: str | None, query: str, doc: str) -> str:
    """Return the card's user turn."""
    if instruction is None:
        instruction = TASK
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {doc}"


PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def process_inputs(tokenizer: Any, pairs: list[str], max_length: int) -> list[list[int]]:
    """Return the ids of user turns as the card's `process_inputs` makes them."""
    prefix_tokens = tokenizer.encode(PREFIX, add_special_tokens=False)
    suffix_tokens = tokenizer.encode(SUFFIX, add_special_tokens=False)
    inputs = tokenizer(
        pairs,
        padding=False,
        truncation="longest_first",
        return_attention_mask=False,
        max_length=max_length - len(prefix_tokens) - len(suffix_tokens),
    )
    return [prefix_tokens + ids + suffix_tokens for ids in inputs["input_ids"]]


class PlainReranker:
    """The reranking card's transformers code for a batch of one."""

    def __init__(self, folder: Path | str, model: Any = None) -> None:
        """Load the folder, or take a loaded model and the folder's tokenizer."""
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), padding_side="left")
        loaded = model or AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
        self.model = loaded.eval()
        self.yes = self.tokenizer.convert_tokens_to_ids("yes")
        self.no = self.tokenizer.convert_tokens_to_ids("no")

    def score(
        self, query: str, doc: str, instruction: str | None = None, max_length: int = 8192
    ) -> float:
        """Return P(yes) of one pair."""
        text = format_instruction(instruction, query, doc)
        ids = torch.tensor(process_inputs(self.tokenizer, [text], max_length))
        with torch.no_grad():
            last = self.model(input_ids=ids).logits[0, -1, :]
        both = torch.stack([last[self.no], last[self.yes]])
        return float(torch.nn.functional.log_softmax(both, dim=0)[1].exp())

    def scores(
        self, pairs: list[tuple[str, str]], instruction: str | None = None, max_length: int = 8192
    ) -> NDArray[np.float64]:
        """Return P(yes) of each pair, each computed alone."""
        return np.array([self.score(q, d, instruction, max_length) for q, d in pairs])
