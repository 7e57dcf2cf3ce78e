"""The two tiny checkpoints are what serving engines and the library expect of a released folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent
EMBEDDER = HERE / "embedder"
RERANKER = HERE / "reranker"
BOTH = pytest.mark.parametrize("folder", [EMBEDDER, RERANKER], ids=["embedder", "reranker"])

LIMIT_BYTES = 12_000_000
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL, ADDED = 14, 26


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@BOTH
def test_a_folder_stays_within_its_limit(folder: Path) -> None:
    """Each checkpoint takes at most 12 MB, its card included."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= LIMIT_BYTES


@BOTH
def test_a_card_names_the_training_data(folder: Path) -> None:
    """The demo prints what a model was trained on, which the card's header and table both say."""
    card = ModelCard.load(folder / "README.md")
    names = card.data.get("datasets")
    assert len(names) >= 7
    for name in names:
        assert f"| {name}" in card.text


@BOTH
def test_weights_are_stored_as_released(folder: Path) -> None:
    """Tensors are bfloat16; only the reranker's names begin with "model."."""
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert {weights.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    assert {name.startswith("model.") for name in names} == {folder == RERANKER}


@BOTH
def test_config_is_that_of_a_qwen3_model(folder: Path) -> None:
    """Engines find the fields of the released config.json."""
    config = _read(folder / "config.json")
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["model_type"] == "qwen3"
    assert config["tie_word_embeddings"] is True
    assert config["rope_theta"] == 1_000_000
    assert config["head_dim"] == 64
    assert config["torch_dtype"] == "bfloat16"


@BOTH
@pytest.mark.parametrize("loader", [AutoModel, AutoModelForCausalLM])
def test_every_weight_is_found(folder: Path, loader: Any) -> None:
    """Neither loader misses a tensor or finds one too many."""
    model, info = loader.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_sentence_transformers_loads_the_embedder_folder() -> None:
    """Its own loader gives unit vectors of the full width and knows the query prompt."""
    model = SentenceTransformer(str(EMBEDDER), device="cpu", model_kwargs={"dtype": torch.float32})
    vector = model.encode("Return a sorted list.")
    assert vector.shape == (256,)
    assert float((vector**2).sum()) == pytest.approx(1.0, abs=1e-5)
    assert model.prompts["query"].endswith("\nQuery:")
    assert model.prompts["document"] == ""


@BOTH
def test_answers_are_single_tokens(folder: Path) -> None:
    """`yes` and `no` are one token each, looked up and never the same."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    yes, no = (tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no"))
    assert len(yes) == len(no) == 1
    assert yes != no


@BOTH
def test_tokenizer_has_the_released_pieces(folder: Path) -> None:
    """Normaliser, split pattern and the 26 control tokens are the released ones."""
    tokenizer = _read(folder / "tokenizer.json")
    assert tokenizer["normalizer"] == {"type": "NFC"}
    split, byte_level = tokenizer["pre_tokenizer"]["pretokenizers"]
    assert split["pattern"] == {"Regex": SPLIT}
    assert byte_level["use_regex"] is False
    added = tokenizer["added_tokens"]
    assert len(added) == ADDED
    assert [token["special"] for token in added] == [True] * SPECIAL + [False] * (ADDED - SPECIAL)
    size = _read(folder / "config.json")["vocab_size"]
    assert [token["id"] for token in added] == list(range(size - ADDED, size))


def test_only_the_embedder_appends_the_end_of_text() -> None:
    """The embedder's tokenizer ends a text with <|endoftext|>; the reranker's adds nothing."""
    embedder = AutoTokenizer.from_pretrained(EMBEDDER)
    reranker = AutoTokenizer.from_pretrained(RERANKER)
    bare = reranker.encode("Return a list.")
    assert embedder.encode("Return a list.") == [
        *bare,
        embedder.convert_tokens_to_ids("<|endoftext|>"),
    ]
    assert embedder.eos_token == reranker.eos_token == "<|im_end|>"  # noqa: S105 - a token
    assert embedder.pad_token == reranker.pad_token == "<|endoftext|>"  # noqa: S105


def test_chat_template_renders_the_three_roles() -> None:
    """The reranker's template writes system and user turns as the official prompt has them."""
    tokenizer = AutoTokenizer.from_pretrained(RERANKER)
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == "<|im_start|>system\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n"
