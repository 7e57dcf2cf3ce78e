"""From ragged token ids to the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal


def padded(
    sequences: Sequence[Sequence[int]], pad: int, *, side: Literal["left", "right"]
) -> dict[str, Any]:
    """Return `input_ids` and `attention_mask` of shape (n, longest), padded on one side."""
    import torch  # noqa: PLC0415 - loaded with the first model

    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        here = slice(longest - len(sequence), None) if side == "left" else slice(len(sequence))
        ids[row, here] = torch.tensor(sequence)
        mask[row, here] = 1
    return {"input_ids": ids, "attention_mask": mask}
