"""Which frameworks are here, and which must be; the servers' extra counts as one.

A framework that is not installed is left out with its reason printed, unless the environment
variable ``QWEN_RETRIEVAL_REQUIRE`` names it ("langchain", "llama_index,haystack", "all").
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

REQUIRE = "QWEN_RETRIEVAL_REQUIRE"


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: its own package, what needs it here, and the extra that brings it."""

    name: str
    package: str
    uses: tuple[str, ...]
    extra: str

    def is_installed(self) -> bool:
        """Say whether the framework itself is there; ours always is."""
        top = self.package.split(".", maxsplit=1)[0]
        return (
            importlib.util.find_spec(top) is not None
            and importlib.util.find_spec(self.package) is not None
        )


_OPENS = "from qwen_retrieval import *; open_{}({}Settings(server='vllm', base_url='http://a'))"

FRAMEWORKS = (
    Framework("langchain", "langchain_core", ("import langchain_qwen_retrieval",), "langchain"),
    Framework(
        "llama_index",
        "llama_index.core",
        (
            "import llama_index.embeddings.qwen_retrieval",
            "import llama_index.postprocessor.qwen_retrieval",
        ),
        "llama-index",
    ),
    Framework(
        "haystack",
        "haystack",
        (
            "import haystack_integrations.components.embedders.qwen_retrieval",
            "import haystack_integrations.components.rankers.qwen_retrieval",
        ),
        "haystack",
    ),
    Framework(
        "servers",
        "stamina",
        (
            _OPENS.format("embedder", "Embedder"),
            _OPENS.format("reranker", "Reranker"),
        ),
        "servers",
    ),
)

INSTALLED = tuple(each for each in FRAMEWORKS if each.is_installed())
MISSING = tuple(each for each in FRAMEWORKS if each not in INSTALLED)


def required() -> set[str]:
    """Return the names in the environment variable, "all" spelt out."""
    named = os.environ.get(REQUIRE, "").replace("-", "_").replace(",", " ").split()
    return {each.name for each in FRAMEWORKS} if "all" in named else set(named)
