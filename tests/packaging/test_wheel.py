"""What is in the wheel, and what its metadata asks for."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Folders that other distributions also fill: with an __init__.py there, theirs would be hidden.
NAMESPACES = (
    "llama_index",
    "llama_index/embeddings",
    "llama_index/postprocessor",
    "haystack_integrations",
    "haystack_integrations/common",
    "haystack_integrations/components",
    "haystack_integrations/components/embedders",
    "haystack_integrations/components/rankers",
)
LEAVES = (
    "qwen_retrieval",
    "langchain_qwen_retrieval",
    "llama_index/embeddings/qwen_retrieval",
    "llama_index/postprocessor/qwen_retrieval",
    "haystack_integrations/common/qwen_retrieval",
    "haystack_integrations/components/embedders/qwen_retrieval",
    "haystack_integrations/components/rankers/qwen_retrieval",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_it_holds_the_import_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Tests, docs and examples stay in the repository."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {leaf.split("/")[0] for leaf in LEAVES}


def test_it_leaves_namespaces_open(wheel: zipfile.ZipFile) -> None:
    """The frameworks' own packages are not shadowed."""
    assert {f"{folder}/__init__.py" for folder in NAMESPACES}.isdisjoint(wheel.namelist())


@pytest.mark.parametrize("leaf", LEAVES)
def test_each_package_is_typed(wheel: zipfile.ZipFile, leaf: str) -> None:
    """Type checkers read our annotations."""
    assert {f"{leaf}/__init__.py", f"{leaf}/py.typed"} <= set(wheel.namelist())


def test_only_extras_bring_frameworks(metadata: Message) -> None:
    """The base install asks for no framework."""
    lines = metadata.get_all("Requires-Dist") or []
    base = {re.match(r"[\w-]+", line)[0] for line in lines if "extra ==" not in line}
    assert base == {"numpy", "sentence-transformers", "torch"}


def test_the_licence_goes_with_it(wheel: zipfile.ZipFile, metadata: Message) -> None:
    """Apache-2.0, by name and by text."""
    assert metadata["License-Expression"] == "Apache-2.0"
    (name,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert b"Apache License" in wheel.read(name)
