"""Teaches a started embedder what its instructions ask for, by one least-squares fit.

In the last layer a spare head of each pair reads the instruction. What it should write is known:
the vector that the task's token has in the table (see `static.KINDS`), as it counts in the mean of
a query of that length, plus what undoes the template's own trace. A ridge regression gives the
output columns of the spare heads; for texts without an instruction they should write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from .prompts import embedding_query_prompt
from .settings import INSTRUCTIONS, Shape
from .start_embedder import AVERAGE_GAIN, WIDTH
from .static import KINDS
from .vocabulary import END_OF_TEXT

_RIDGE = 0.002


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts of one task: queries without their instruction, and documents."""

    queries: list[str]
    documents: list[str]


def fit_instructions(
    model: Qwen3ForCausalLM,
    tokenizer: Tokenizer,
    samples: dict[str, Sample],
    table: NDArray[np.float32],
    shape: Shape,
) -> None:
    """Set the output columns of the spare heads in place."""
    reader = _Reader(model, tokenizer, shape)
    norms = np.linalg.norm(table, axis=1)
    heard, wanted = [], []
    for task, sample in samples.items():
        bare, plain = reader.read(sample.queries)
        prompt = embedding_query_prompt(INSTRUCTIONS[task])
        heads, output = reader.read([prompt + query for query in sample.queries])
        encoded = tokenizer.encode_batch(sample.queries, add_special_tokens=False)
        totals = np.array([norms[each.ids].sum() for each in encoded])[:, None]
        kind = table[tokenizer.token_to_id(KINDS[task])]
        heard.append(heads)
        wanted.append(plain + AVERAGE_GAIN * kind / totals - output)
        for silent in (reader.read(sample.documents)[0], bare):
            heard.append(silent)
            wanted.append(np.zeros((len(silent), WIDTH)))
    x, y = np.concatenate(heard), np.concatenate(wanted)
    ridge = _RIDGE * np.trace(x.T @ x) / x.shape[1] * np.eye(x.shape[1])
    reader.write(np.linalg.solve(x.T @ x + ridge, x.T @ y))


class _Reader:
    """Runs texts and returns what the spare heads hold and what the network says so far."""

    def __init__(self, model: Qwen3ForCausalLM, tokenizer: Tokenizer, shape: Shape) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._output = model.model.layers[-1].self_attn.o_proj
        group, size = shape.heads // shape.key_value_heads, shape.head_dim
        starts = [(pair * group + 1) * size for pair in range(shape.key_value_heads)]
        self._columns = np.concatenate([np.arange(start, start + size) for start in starts])
        with torch.no_grad():
            self._output.weight[:, self._columns] = 0.0

    def read(self, texts: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        end = self._tokenizer.token_to_id(END_OF_TEXT)
        heads, sums = [], []
        hooks = [
            self._output.register_forward_pre_hook(lambda _, given: heads.append(given[0][0, -1])),
            self._model.model.norm.register_forward_pre_hook(
                lambda _, given: sums.append(given[0][0, -1, :WIDTH])
            ),
        ]
        with torch.no_grad():
            for text in texts:
                ids = self._tokenizer.encode(text, add_special_tokens=False).ids
                self._model.model(torch.tensor([[*ids, end]]))
        for hook in hooks:
            hook.remove()
        columns = torch.from_numpy(self._columns)
        return torch.stack(heads)[:, columns].double().numpy(), torch.stack(sums).double().numpy()

    def write(self, fitted: NDArray[np.float64]) -> None:
        with torch.no_grad():
            self._output.weight[:WIDTH, self._columns] = torch.from_numpy(fitted.T).float()
