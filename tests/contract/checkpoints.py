"""Where the checkpoints are that the suite computes with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TINY = Path(__file__).resolve().parent.parent / "tiny"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Folders of an embedder and a reranker."""

    embedder: Path
    reranker: Path


def checkpoints(scratch: Path) -> Checkpoints:
    """Return the tiny trained checkpoints, or random ones where a clone has none yet."""
    return Checkpoints(_tiny_or_random(scratch, "embedder"), _tiny_or_random(scratch, "reranker"))


def _tiny_or_random(scratch: Path, kind: str) -> Path:
    tiny = TINY / kind
    return tiny if (tiny / "model.safetensors").exists() else _random(scratch, kind)


def _random(scratch: Path, kind: str) -> Path:
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    from .reference import SPLIT

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: place for place, text in enumerate([*alphabet, "ye", "yes", "no"])}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[("y", "e"), ("ye", "s"), ("n", "o")])
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<tool_call>", "</tool_call>", "<|fim_pad|>", "<think>", "</think>"])
    folder = scratch / kind
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",  # noqa: S106 - a token of text, no secret
        eos_token="<|im_end|>",  # noqa: S106 - the same
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=64, intermediate_size=128,
        max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=1e6,
        initializer_range=0.3,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    if kind == "embedder":
        names = ("Transformer", "Pooling", "Normalize")
        paths = ("", "1_Pooling", "2_Normalize")
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
            for n, (name, path) in enumerate(zip(names, paths, strict=True))
        ]
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        (folder / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"word_embedding_dimension": 128, "pooling_mode_lasttoken": True}
        pooling |= {"pooling_mode_mean_tokens": False, "include_prompt": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder
