"""First training: the token vectors alone, averaged without any layer, on every pair there is.

A bag of tokens trains some fifty times faster than the network, so the vocabulary learns here
what it can, and the network starts from a table that already ranks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
LEARNING_RATE = 2e-2


def train_table(
    tokenizer: Tokenizer, start: NDArray[np.float32], rows: list[Row], epochs: float, folder: Path
) -> NDArray[np.float32]:
    """Return the token vectors after contrastive training on the rows, Matryoshka included."""
    width = start.shape[1]
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=start)], device="cpu"
    )
    loss = losses.MatryoshkaLoss(
        model,
        losses.MultipleNegativesRankingLoss(model, scale=20.0),
        matryoshka_dims=[width, 128, 64, 32],
        matryoshka_weights=[1.0, 0.5, 0.3, 0.2],
    )
    data = Dataset.from_dict(
        {"query": [row.query for row in rows], "positive": [row.positive for row in rows]}
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
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
