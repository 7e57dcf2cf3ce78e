"""Converts a model for llama.cpp by llama.cpp's own converter.

``python tests/engines/to_gguf.py SOURCE MODEL OUT [TYPE]``: the folder of llama.cpp's sources, that
of the model, the file to write, and how weights are stored there (f32).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert."""
    source, model, out = map(Path, sys.argv[1:4])
    (stored,) = sys.argv[4:] or ["f32"]
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    import convert_hf_to_gguf
    from conversion import base

    # The converter knows tokenizers by a hash of what they make of one text. The tiny ones have
    # Qwen's split, but a vocabulary of their own, so their hash is unknown to it.
    for kind in vars(base).values():
        if isinstance(kind, type) and "get_vocab_base_pre" in vars(kind):
            kind.get_vocab_base_pre = _split  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        # It tells a reranker by the name of its folder.
        role = "reranker" if "reranker" in model.name else "embedder"
        named = Path(folder) / f"qwen3-{role}"
        named.symlink_to(model.resolve(), target_is_directory=True)
        sys.argv = ["convert", str(named), "--outfile", str(out), "--outtype", stored]
        convert_hf_to_gguf.main()


def _split(self: Any, tokenizer: Any) -> str:
    return "qwen2"


if __name__ == "__main__":
    main()
