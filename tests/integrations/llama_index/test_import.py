"""What importing and constructing the two classes costs and needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llama_index.embeddings.qwen_retrieval as embeddings
import llama_index.postprocessor.qwen_retrieval as postprocessor

PACKAGES = ("llama_index.embeddings.qwen_retrieval", "llama_index.postprocessor.qwen_retrieval")
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_without_llama_index_the_import_says_what_to_install(package: str) -> None:
    """The error names the pip command."""
    done = python(HIDE.format(hidden="llama_index.core") + f"import {package}")
    assert "pip install 'qwen-retrieval[llama-index]'" in done.stderr
    assert "ImportError" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("package", PACKAGES)
def test_another_missing_module_is_named_as_it_is(package: str) -> None:
    """A broken installation of LlamaIndex must not look like a missing one."""
    done = python(HIDE.format(hidden="llama_index.core.schema") + f"import {package}")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'llama_index.core.schema'"
    )


def test_constructing_loads_no_model_library() -> None:
    """Neither importing nor constructing needs torch."""
    done = python(
        "import sys\n"
        "from llama_index.embeddings.qwen_retrieval import QwenEmbedding\n"
        "from llama_index.postprocessor.qwen_retrieval import QwenRerank\n"
        "QwenEmbedding(), QwenRerank()\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_adds_little_to_llama_index() -> None:
    """Less than 100 ms of computing, in one of three tries."""
    program = (
        "import time, llama_index.core\n"
        "before = time.process_time()\n"
        "import llama_index.embeddings.qwen_retrieval, llama_index.postprocessor.qwen_retrieval\n"
        "print(time.process_time() - before)\n"
    )
    assert any(float(python(program).stdout) < 0.1 for _ in range(3))


def test_the_namespaces_of_llama_index_stay_open() -> None:
    """An ``__init__.py`` there would hide every other integration; each leaf is typed."""
    for module in (embeddings, postprocessor):
        leaf = Path(str(module.__file__)).parent
        assert (leaf / "py.typed").exists()
        assert not (leaf.parent / "__init__.py").exists()
        assert not (leaf.parent.parent / "__init__.py").exists()
