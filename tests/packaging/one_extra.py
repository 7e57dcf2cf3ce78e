"""What must hold where the wheel is installed with a single extra: run by ``nox -s contract``.

    python tests/packaging/one_extra.py langchain

A small program of that framework works with the tiny checkpoints, and the adapters of the other
two frameworks say which extra brings them. No test library is needed.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import requires
from pathlib import Path

TINY = Path(__file__).resolve().parents[1] / "tiny"
EMBEDDER, RERANKER = str(TINY / "embedder"), str(TINY / "reranker")

QUERY = "delete a folder and everything inside it"
ANSWER = "shutil.rmtree(path)\nRecursively delete a directory tree."
TEXTS = [
    "json.dumps(obj)\nSerialize obj to a JSON formatted string.",
    "math.sqrt(x)\nReturn the square root of x.",
    ANSWER,
    "random.shuffle(x)\nShuffle list x in place, and return None.",
    "socket.socket.connect(address)\nConnect the socket to a remote address.",
]

MODULES = {
    "langchain": ["langchain_qwen_retrieval"],
    "llama-index": [
        "llama_index.embeddings.qwen_retrieval",
        "llama_index.postprocessor.qwen_retrieval",
    ],
    "haystack": [
        "haystack_integrations.components.embedders.qwen_retrieval",
        "haystack_integrations.components.rankers.qwen_retrieval",
    ],
}


def langchain() -> list[str]:
    """Return the texts that a vector store and the reranker find, best first."""
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_qwen_retrieval import QwenEmbeddings, QwenReranker

    store = InMemoryVectorStore.from_texts(TEXTS, QwenEmbeddings(model=EMBEDDER))
    found = store.similarity_search(QUERY, k=4)
    best = QwenReranker(model=RERANKER, top_n=3).compress_documents(found, QUERY)
    return [document.page_content for document in best]


def llama_index() -> list[str]:
    """Return the texts that an index and the reranker find, best first."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode

    from llama_index.embeddings.qwen_retrieval import QwenEmbedding
    from llama_index.postprocessor.qwen_retrieval import QwenRerank

    nodes = [TextNode(text=text) for text in TEXTS]
    index = VectorStoreIndex(nodes, embed_model=QwenEmbedding(model=EMBEDDER))
    found = index.as_retriever(similarity_top_k=4).retrieve(QUERY)
    best = QwenRerank(model=RERANKER, top_n=3).postprocess_nodes(found, query_str=QUERY)
    return [node.node.get_content() for node in best]


def haystack() -> list[str]:
    """Return the texts that a pipeline finds, best first."""
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from haystack_integrations.components.embedders.qwen_retrieval import (
        QwenDocumentEmbedder,
        QwenTextEmbedder,
    )
    from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker

    store = InMemoryDocumentStore()
    documents = [Document(content=text) for text in TEXTS]
    store.write_documents(
        QwenDocumentEmbedder(model=EMBEDDER).run(documents=documents)["documents"]
    )
    pipeline = Pipeline()
    pipeline.add_component("embedder", QwenTextEmbedder(model=EMBEDDER))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=4))
    pipeline.add_component("ranker", QwenRanker(model=RERANKER, top_k=3))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")
    answer = pipeline.run({"embedder": {"text": QUERY}, "ranker": {"query": QUERY}})
    return [document.content for document in answer["ranker"]["documents"]]


PROGRAMS = {"langchain": langchain, "llama-index": llama_index, "haystack": haystack}


def check_missing(framework: str) -> None:
    """Fail unless the adapters of a framework that is not installed name its extra."""
    for module in MODULES[framework]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            said = str(error)
        else:
            said = "nothing: it imports"
        assert f"pip install 'qwen-retrieval[{framework}]'" in said, f"{module} says {said}"


def main(framework: str) -> None:
    """Check the installed wheel with the extra of this framework."""
    import qwen_retrieval

    assert "site-packages" in qwen_retrieval.__file__, "the wheel is not what is imported"
    assert any(framework in line for line in requires("qwen-retrieval") or [])
    best = PROGRAMS[framework]()
    assert best[0] == ANSWER, best
    assert len(best) == 3, best
    for other in PROGRAMS.keys() - {framework}:
        check_missing(other)
    sys.stdout.write(f"one extra: {framework} works, the other adapters name theirs\n")


if __name__ == "__main__":
    main(sys.argv[1])
