"""A copy of the model in this process, computed by transformers alone, one sequence at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval.files import locate

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors
    from qwen_retrieval.settings import ModelSettings

Ids = Sequence[int]


class EmbedderCopy:
    """Token ids to vectors, by the pooling that is asked for."""

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model in float32."""
        from transformers import AutoModel  # noqa: PLC0415 - takes seconds

        self._model = _load(AutoModel, settings)

    def last(self, sequences: Sequence[Ids]) -> Vectors:
        """Return the last token's hidden state of each sequence."""
        return np.stack([self._states(ids)[-1] for ids in sequences])

    def mean(self, sequences: Sequence[Ids]) -> Vectors:
        """Return the mean of each sequence's hidden states."""
        return np.stack([self._states(ids).mean(axis=0) for ids in sequences])

    def first(self, sequences: Sequence[Ids]) -> Vectors:
        """Return the first token's hidden state of each sequence."""
        return np.stack([self._states(ids)[0] for ids in sequences])

    def _states(self, ids: Ids) -> Vectors:
        import torch  # noqa: PLC0415 - takes seconds

        with torch.inference_mode():
            found = self._model(input_ids=torch.tensor([list(ids)])).last_hidden_state[0]
        return np.asarray(found.float().numpy())


class RerankerCopy:
    """Token ids of whole prompts to P("yes")."""

    def __init__(self, settings: ModelSettings, yes: int, no: int) -> None:
        """Load the model in float32."""
        from transformers import AutoModelForCausalLM  # noqa: PLC0415 - takes seconds

        self._model = _load(AutoModelForCausalLM, settings)
        self._answers = [yes, no]
        self._known: dict[tuple[int, ...], float] = {}

    def probabilities(self, prompts: Sequence[Ids]) -> Vectors:
        """Return sigmoid(yes − no) after each prompt, each computed once."""
        return np.asarray([self._probability(tuple(ids)) for ids in prompts], np.float32)

    def _probability(self, ids: tuple[int, ...]) -> float:
        import torch  # noqa: PLC0415 - takes seconds

        if ids not in self._known:
            with torch.inference_mode():
                found = self._model(input_ids=torch.tensor([ids]), logits_to_keep=1)
            yes, no = found.logits[0, -1][self._answers].double().tolist()
            self._known[ids] = float(1 / (1 + np.exp(no - yes)))
        return self._known[ids]


def _load(kind: Any, settings: ModelSettings) -> Any:  # noqa: ANN401 - transformers' own classes
    import torch  # noqa: PLC0415 - takes seconds

    model = kind.from_pretrained(
        locate(settings, None),
        revision=settings.revision,
        local_files_only=settings.local_files_only,
        use_safetensors=True,
        dtype=torch.float32,
    )
    return model.eval()
