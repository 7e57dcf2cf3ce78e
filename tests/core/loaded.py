"""What can be seen of loaded weights."""

from __future__ import annotations

from typing import Any

import torch


def computed_dtypes(model: Any) -> set[torch.dtype]:
    """Return the dtypes of what is multiplied; rows of the vocabulary are widened when read."""
    looked_up = ("embed_tokens.", "lm_head.", "score.")
    return {
        weight.dtype
        for name, weight in model.named_parameters()
        if not any(part in name for part in looked_up)
    }
