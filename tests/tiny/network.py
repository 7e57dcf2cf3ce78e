"""Empty Qwen3 networks of the tiny shapes, and reading and writing them in the released format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen3Config, Qwen3ForCausalLM

from .settings import INSTRUCTIONS, Shape
from .vocabulary import END_OF_TEXT, IM_END, save_tokenizer

ROPE_THETA = 1_000_000


def new_network(shape: Shape, vocabulary: int, seed: int) -> Qwen3ForCausalLM:
    """Return a network whose layers start as near nothing: small weights, silent outputs."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": float(ROPE_THETA)},
    )
    return Qwen3ForCausalLM(config)


def _config(model: Qwen3ForCausalLM, tokenizer: Tokenizer, *, reranker: bool) -> dict[str, object]:
    config = model.config
    end = tokenizer.token_to_id(END_OF_TEXT)
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": end,
        "eos_token_id": tokenizer.token_to_id(IM_END) if reranker else end,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "max_window_layers": config.num_hidden_layers,
        "model_type": "qwen3",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": ROPE_THETA,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": config.vocab_size,
    }


def save_network(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, folder: Path, *, reranker: bool
) -> None:
    """Write a folder in the released format, weights in bfloat16.

    The embedder's weight names carry no "model." prefix and the reranker's do, as released; the
    tied output matrix is written for neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = "model." if reranker else ""
    weights = {
        f"{prefix}{name}": tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(model, tokenizer, reranker=reranker))
    save_tokenizer(tokenizer, folder, append_end=not reranker)
    if not reranker:
        _save_modules(folder, model.config.hidden_size)


def _save_modules(folder: Path, width: int) -> None:
    names = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(names)
    ]
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": True,
        "include_prompt": True,
    }
    prompts = {
        "prompts": {"query": f"Instruct: {INSTRUCTIONS['web']}\nQuery:", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "config_sentence_transformers.json", prompts)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_network(folder: Path) -> Qwen3ForCausalLM:
    """Return the network of a folder in float32, whatever it is stored in."""
    model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = load_file(folder / "model.safetensors")
    if len(weights) != len(model.model.state_dict()):
        message = f"{folder} holds {len(weights)} tensors, {len(model.model.state_dict())} expected"
        raise ValueError(message)
    return model
