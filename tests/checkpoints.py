"""Small Qwen3 checkpoints with random weights, in every form that the library loads.

Everything is made in memory from seeds: the released split regex, normaliser and control tokens,
the released layout of files, weights stored as bfloat16 as the released ones are. Their quality is
nil; they show whether numbers agree, not whether a prompt is right (see tests/tiny for that).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModelForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)

CONTEXT = 512
"""Tokens that a random checkpoint takes."""

TASK = "Given a web search query, retrieve relevant passages that answer the query"

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
ADDED = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip
CONTROL_TOKENS = (*SPECIAL, *ADDED)
"""The released ones in their order; the second part is not flagged "special"."""

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The way of sentence-transformers to a pair's prompt; renders what the model card has.
CHAT_TEMPLATE = (
    "{%- set task = messages | selectattr('role', 'eq', 'system') | map(attribute='content')"
    " | first | default('" + TASK + "') -%}"
    "{{- '<|im_start|>system\\nJudge whether the Document meets the requirements based on the Query"
    ' and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\\n'
    "<|im_start|>user\\n<Instruct>: ' + task + '\\n<Query>: '"
    " + (messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first)"
    " + '\\n<Document>: '"
    " + (messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first)"
    " + '<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' -}}"
)

_LEARNT = (
    "What is the capital of China? The capital of China is Beijing. Explain gravity. Gravity is a"
    " force that attracts two bodies towards each other. It gives weight to physical objects.\n\n"
    "Die Hauptstadt von Frankreich ist Paris; schöne Grüße. ¿Cuál es la capital de España?\n"
    "def add(a, b):\n    return a + b\n\n北京是中国的首都。भारत की राजधानी नई दिल्ली है।\n"
    f"Instruct: {TASK}\nQuery:<Instruct>: <Query>: <Document>: system user assistant\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no". yes no\nyes\nno\nyes no'
)


def write_tokenizer(folder: Path, *, append_end: bool, chat_template: str | None = None) -> None:
    """Write a small byte-level BPE in the released format; an embedder's appends the end token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_LEARNT] * 2 + ["yes", "no"] * 40, trainer)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in ADDED])
    bytes_only = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    end = processors.TemplateProcessing(
        single="$A <|endoftext|>",
        pair="$A:0 $B:0 <|endoftext|>:0",
        special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
    )
    tokenizer.post_processor = processors.Sequence([bytes_only, end]) if append_end else bytes_only
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        }
        | ({} if chat_template is None else {"chat_template": chat_template}),
    )


def write_embedder(folder: Path, *, head_dim: int = 64, seed: int = 0, width: int = 64) -> Path:
    """Write an embedding model laid out as the released ones; return the folder."""
    write_tokenizer(folder, append_end=True)
    torch.manual_seed(seed)
    Qwen3Model(_config(folder, head_dim, width)).to(torch.bfloat16).save_pretrained(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    _write(
        folder / "modules.json",
        [
            {
                "idx": place,
                "name": str(place),
                "path": "" if place == 0 else f"{place}_{kind}",
                "type": f"sentence_transformers.models.{kind}",
            }
            for place, kind in enumerate(kinds)
        ],
    )
    (folder / "1_Pooling").mkdir()
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": width,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
    )
    _write(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": f"Instruct: {TASK}\nQuery:", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )
    return folder


def write_causal_reranker(folder: Path, *, head_dim: int = 128, seed: int = 1) -> Path:
    """Write a reranker as released: a language model, nothing else; return the folder."""
    write_tokenizer(folder, append_end=False, chat_template=CHAT_TEMPLATE)
    torch.manual_seed(seed)
    Qwen3ForCausalLM(_config(folder, head_dim, 64)).to(torch.bfloat16).save_pretrained(folder)
    return folder


def write_sentence_transformers_reranker(folder: Path, causal: Path) -> Path:
    """Write the same weights in sentence-transformers' format (LogitScore); return the folder."""
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(causal), device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def write_sequence_classification(
    folder: Path, causal: Path, *, pad_in_config: bool = True, labels: int = 1
) -> Path:
    """Write the same weights with one output, lm_head[yes] − lm_head[no]; return the folder."""
    write_tokenizer(folder, append_end=False, chat_template=CHAT_TEMPLATE)
    tokenizer = Tokenizer.from_file(str(causal / "tokenizer.json"))
    language_model = AutoModelForCausalLM.from_pretrained(causal, dtype=torch.float32)
    config = Qwen3Config.from_pretrained(causal)
    config.num_labels = labels
    config.pad_token_id = tokenizer.token_to_id("<|endoftext|>") if pad_in_config else None
    converted = Qwen3ForSequenceClassification(config)
    converted.model.load_state_dict(language_model.model.state_dict())
    head = language_model.lm_head.weight.data
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    converted.score.weight.data[:] = head[yes] - head[no]
    # Not rounded to bfloat16: the difference of two rows is not exact in it.
    converted.save_pretrained(folder)
    return folder


def write_lora(folder: Path, base: Path, *, causal: bool, seed: int = 2) -> Path:
    """Write a LoRA adapter with random weights over a base folder, by PEFT; return the folder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    kind: Any = AutoModelForCausalLM if causal else AutoModel
    torch.manual_seed(seed)
    adapted = get_peft_model(
        kind.from_pretrained(str(base), dtype=torch.float32),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    adapted.save_pretrained(str(folder))
    return folder


def _config(folder: Path, head_dim: int, width: int) -> Qwen3Config:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        intermediate_size=2 * width,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_theta=1e6,
        # Ten times the usual, so that attention and answers differ from text to text.
        initializer_range=0.2,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def write_mean_pooling(folder: Path, embedder: Path, **pooling: Any) -> Path:
    """Write an embedder's copy that takes the mean of its tokens, with other options of pooling."""
    shutil.copytree(embedder, folder)
    path = folder / "1_Pooling" / "config.json"
    config = json.loads(path.read_text())
    modes = {name: name == "pooling_mode_mean_tokens" for name in config if "pooling_mode_" in name}
    path.write_text(json.dumps(config | modes | pooling))
    return folder
