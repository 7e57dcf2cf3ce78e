"""First training: the token vectors alone, averaged without any layer, on every pair there is.

A bag of tokens trains some fifty times faster than the network, so the vocabulary learns here
what it can, and the network starts from a table that already ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
)
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from .settings import SEED
from .tasks import Row

BATCH = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how strongly the table is trained."""

    epochs: float
    learning_rate: float
    distillation: float  # weight of the teacher's vectors against the pairs


#: In a bag of tokens an instruction is one token, and these are free. What they learn becomes what
#: the network adds to a query for its instruction.
KINDS = {
    "web": "<|fim_prefix|>",
    "code": "<|fim_middle|>",
    "package": "<|fim_suffix|>",
    "shell": "<|fim_pad|>",
    "gloss": "<|repo_name|>",
}


def with_kind(row: Row) -> str:
    """Return the query behind the token of its task, alone where a row has none."""
    return KINDS.get(row.task, "") + row.query


class Weighted(torch.nn.Module):
    """A loss times a constant."""

    def __init__(self, loss: torch.nn.Module, weight: float) -> None:
        """Keep both."""
        super().__init__()
        self.loss = loss
        self.weight = weight

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the weighted loss."""
        return self.weight * self.loss(*args, **kwargs)


def train_table(  # noqa: PLR0913 - what a training run is made of
    tokenizer: Tokenizer,
    start: NDArray[np.float32],
    rows: list[Row],
    distilled: tuple[list[str], NDArray[np.float32]],
    plan: Plan,
    folder: Path,
) -> NDArray[np.float32]:
    """Return the token vectors after contrastive training on the rows, Matryoshka included.

    `distilled` are texts and the teacher's vectors of them, which the table learns to give through
    a linear map that is then thrown away; without texts there is no distillation.
    """
    width = start.shape[1]
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=start)], device="cpu"
    )
    contrast = losses.MatryoshkaLoss(
        model,
        losses.MultipleNegativesRankingLoss(model, scale=20.0),
        matryoshka_dims=[width, 128, 64, 32],
        matryoshka_weights=[1.0, 0.5, 0.3, 0.2],
    )
    pairs = [row for row in rows if not row.negative]
    triplets = [row for row in rows if row.negative]
    data = {}
    if pairs:
        data["pairs"] = Dataset.from_dict(
            {
                "query": [with_kind(row) for row in pairs],
                "positive": [row.positive for row in pairs],
            }
        )
    if triplets:
        data["triplets"] = Dataset.from_dict(
            {
                "query": [with_kind(row) for row in triplets],
                "positive": [row.positive for row in triplets],
                "negative": [row.negative for row in triplets],
            }
        )
    loss: dict[str, torch.nn.Module] = dict.fromkeys(data, contrast)
    texts, vectors = distilled
    if texts:
        data["distilled"] = Dataset.from_dict({"text": texts, "label": list(vectors)})
        loss["distilled"] = Weighted(
            losses.EmbedDistillLoss(model, projection_dim=vectors.shape[1]), plan.distillation
        )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=plan.epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=plan.learning_rate,
            warmup_steps=20,
            lr_scheduler_type="linear",
            seed=SEED,
            save_strategy="no",
            logging_steps=20,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=data,
        loss=loss,
    )
    trainer.train()
    return model[0].embedding.weight.detach().numpy().astype(np.float32)
