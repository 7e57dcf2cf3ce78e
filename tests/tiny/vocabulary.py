"""A byte-level BPE tokenizer in the released format, with a vocabulary of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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

from .prompts import SYSTEM

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

END_OF_TEXT = "<|endoftext|>"
IM_END = "<|im_end|>"

#: In the released order; the second list is added but not "special".
SPECIAL = (
    END_OF_TEXT, "<|im_start|>", IM_END, "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PLAIN = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
)  # fmt: skip

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message.role in ['system', 'user', 'assistant'] %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}"
    "{%- endif %}"
)

# Words of the prompts that must come out as single tokens, however rare they are in the texts.
_PROMPT_TEXT = (
    f"Instruct: Query:\n<Instruct>: \n<Query>: \n<Document>: {SYSTEM} assistant system user\n\n"
    " yes no yes no\nyes\nno\n"
)
# A query follows "Query:" without a space, so its first word is a token of its own.
_FIRST_WORDS = (
    "How", "What", "Which", "Where", "When", "Why", "Is", "Can", "Does", "I", "Find", "Get", "Turn",
    "Make", "Read", "Write", "Check", "Convert", "Create", "how", "what", "which", "where", "when",
)  # fmt: skip


def train_tokenizer(texts: Iterable[str], size: int, instructions: Iterable[str]) -> Tokenizer:
    """Return a tokenizer of exactly `size` ids, its 26 control tokens at the end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    controls = len(SPECIAL) + len(PLAIN)
    trainer = trainers.BpeTrainer(
        vocab_size=size - controls,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    repeated = [_PROMPT_TEXT + " ".join(instructions), *_FIRST_WORDS] * 3000
    tokenizer.train_from_iterator([*texts, *repeated], trainer)
    tokenizer.add_tokens([_added(text, special=True) for text in SPECIAL])
    tokenizer.add_tokens([_added(text, special=False) for text in PLAIN])
    return tokenizer


def _added(text: str, *, special: bool) -> AddedToken:
    return AddedToken(text, normalized=False, special=special)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, *, append_end: bool) -> None:
    """Write tokenizer.json and tokenizer_config.json as the released folders have them."""
    byte_level = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    end = tokenizer.token_to_id(END_OF_TEXT)
    template = processors.TemplateProcessing(
        single=f"$A {END_OF_TEXT}",
        pair=f"$A:0 $B:0 {END_OF_TEXT}:0",
        special_tokens=[(END_OF_TEXT, end)],
    )
    tokenizer.post_processor = (
        processors.Sequence([byte_level, template]) if append_end else byte_level
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(_config(tokenizer), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    decoder = {
        str(tokenizer.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": text in SPECIAL,
        }
        for text in (*SPECIAL, *PLAIN)
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": IM_END,
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": END_OF_TEXT,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
