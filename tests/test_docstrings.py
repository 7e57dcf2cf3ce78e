"""Every example in a docstring of the packages runs, over the doubles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from qwen_retrieval.testing import doubles

ROOT = Path(__file__).parents[1]

# What surrounds an example in a user's program, by the name of the class or module that shows it.
GIVEN = {
    "testing": """
        from langchain_core.runnables import RunnableLambda
        from langchain_qwen_retrieval import QwenEmbeddings

        def build_my_chain():
            return RunnableLambda(QwenEmbeddings().embed_query)
    """,
    "QwenEmbeddings": """
        from langchain_core.vectorstores import InMemoryVectorStore
        from langchain_qwen_retrieval import QwenEmbeddings
    """,
    "QueryCache": """
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_core.stores import InMemoryByteStore
        from langchain_qwen_retrieval import QueryCache, QwenEmbeddings

        embeddings, store = QwenEmbeddings(), InMemoryByteStore()
    """,
    "QwenEmbedding": """
        from llama_index.core import VectorStoreIndex
        from llama_index.core.schema import TextNode
        from llama_index.embeddings.qwen_retrieval import QwenEmbedding

        nodes = [TextNode(text="a")]
    """,
    "QwenRerank": """
        from functools import partial

        from llama_index.core import VectorStoreIndex
        from llama_index.core.llms import MockLLM
        from llama_index.core.schema import TextNode
        from llama_index.embeddings.qwen_retrieval import QwenEmbedding
        from llama_index.postprocessor.qwen_retrieval import QwenRerank

        index = VectorStoreIndex([TextNode(text="a")], embed_model=QwenEmbedding())
        index.as_query_engine = partial(index.as_query_engine, llm=MockLLM())
    """,
    "QwenTextEmbedder": """
        from haystack import Pipeline
        from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack_integrations.components.embedders.qwen_retrieval import QwenTextEmbedder

        pipeline = Pipeline()
        pipeline.add_component("retriever", InMemoryEmbeddingRetriever(InMemoryDocumentStore()))
    """,
}


@dataclass(frozen=True)
class Example:
    """A block that follows ``::`` in a docstring, and the name of what it documents."""

    name: str
    code: str


def examples() -> Iterator[Example]:
    """Yield the examples in the docstrings of the packages; drawings of trees are none."""
    for folder in ("core", "integrations"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                ):
                    continue
                name = path.stem if isinstance(node, ast.Module) else node.name
                doc = ast.get_docstring(node) or ""
                for block in re.findall(r"::\n\n((?: +.*\n|\n)+)", f"{doc}\n"):
                    if "├──" not in block:
                        yield Example(name, dedent(block))


EXAMPLES = list(examples())


def test_the_examples_are_found() -> None:
    """Whatever is prepared here is shown somewhere."""
    assert set(GIVEN) <= {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_an_example_in_a_docstring_runs(example: Example) -> None:
    """A reader who copies an example into the program that surrounds it meets no error."""
    names: dict[str, object] = {}
    with doubles():
        exec(dedent(GIVEN.get(example.name, "")), names)  # noqa: S102 - our own text
        exec(example.code, names)  # noqa: S102 - the same
