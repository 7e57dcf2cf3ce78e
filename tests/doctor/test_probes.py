"""What the doctor asks is what it means to ask, whatever the server's limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.doctor.embedding import long
from qwen_retrieval.doctor.subject import EmbedderSubject
from qwen_retrieval.errors import ServerRefusedError
from qwen_retrieval.servers.engine import Served

from .conftest import TINY, settings_for


class Right(EmbedderSubject):
    """A server that reads texts to their ends, and refuses those beyond its context."""

    def __init__(self, context: int) -> None:
        settings = settings_for("embedder", "vllm", "http://h")
        assert isinstance(settings, EmbedderSettings)
        super().__init__(settings)
        self.served = Served(str(TINY / "embedder"), context=context)

    def text_vectors(
        self, texts: Sequence[str], dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """Return a vector of each text's tokens, or refuse it."""
        counts = [np.bincount(self.ids(text), minlength=32_768) for text in texts]
        if any(count.sum() + 1 > self.served.context for count in counts):
            raise ServerRefusedError("too long")
        return np.stack(counts).astype(np.float32)


@pytest.mark.parametrize("limit", [512, 513, 1000, 4096, *range(8192, 40_961, 4096)])
def test_a_server_that_refuses_what_is_too_long_passes(limit: int) -> None:
    """The long text fits, and the one that is to be refused does not, at every context."""
    found = long(Right(limit))
    assert (found.status, found.mend) == ("pass", None), found
    assert f"more than {limit} refused" in found.measured
