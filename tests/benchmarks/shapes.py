"""Full-size checkpoints with random weights: what the released models cost, without their files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from checkpoints import CHAT_TEMPLATE

Role = Literal["embedding", "reranker"]

_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SHAPES = {
    name: dict(zip(_NAMES, sizes, strict=True))
    for name, sizes in {
        "0.6B": (1024, 3072, 28, 16),
        "4B": (2560, 9728, 36, 32),
        "8B": (4096, 12288, 36, 32),
    }.items()
}
"""The published config.json files; 8 key-value heads of 128 in each."""

HERE = Path(__file__).resolve().parent
TINY = HERE.parent / "tiny"


def work_folder() -> Path:
    """Return where checkpoints and results are kept: QWEN_RETRIEVAL_BENCH, else a cache folder."""
    default = Path.home() / ".cache" / "qwen-retrieval-bench"
    return Path(os.environ.get("QWEN_RETRIEVAL_BENCH", str(default)))


def tokenizer_folder(role: Role) -> Path:
    """Return the released tokenizer where the material is at hand, else the tiny model's."""
    material = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    if material:
        return Path(material) / "qwen3" / "tokenizer" / role
    return TINY / ("embedder" if role == "embedding" else "reranker")


def checkpoint(shape: str, role: Role) -> Path:
    """Return a folder in the released format, weights in bfloat16; written at the first call."""
    tokens = tokenizer_folder(role)
    folder = work_folder() / f"{shape}-{role}-{'released' if tokens.parent != TINY else 'tiny'}"
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(str(tokens))
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        dtype=torch.bfloat16,
        **SHAPES[shape],
    )
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    (model.model if role == "embedding" else model).save_pretrained(folder)
    if role == "embedding":
        tokenizer.save_pretrained(folder)
        _add_modules(folder, config.hidden_size)
    else:
        tokenizer.chat_template = CHAT_TEMPLATE  # sentence-transformers' way to the prompt
        tokenizer.save_pretrained(folder)
    return folder


def _add_modules(folder: Path, width: int) -> None:
    for name in ("modules.json", "config_sentence_transformers.json"):
        shutil.copy(TINY / "embedder" / name, folder)
    pooling = json.loads((TINY / "embedder" / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(pooling | {"word_embedding_dimension": width})
    )


def linear_parameters(shape: str) -> int:
    """Return how many weights one token is multiplied with, the embedding table left out."""
    s = SHAPES[shape]
    attention = 2 * s["num_attention_heads"] * 128 + 2 * 8 * 128
    return s["num_hidden_layers"] * s["hidden_size"] * (attention + 3 * s["intermediate_size"])
