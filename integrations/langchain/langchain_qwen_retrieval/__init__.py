"""Qwen3 embedding and reranking for LangChain, right by default."""

try:
    import langchain_core  # noqa: F401 - asked for here, so that the error below comes first
except ModuleNotFoundError as error:
    if error.name != "langchain_core":
        raise
    raise ImportError(
        "langchain_qwen_retrieval needs langchain-core: pip install 'qwen-retrieval[langchain]'"
    ) from error

from langchain_qwen_retrieval.cache import QueryCache
from langchain_qwen_retrieval.cross_encoder import QwenCrossEncoder
from langchain_qwen_retrieval.embeddings import QwenEmbeddings
from langchain_qwen_retrieval.reranker import QwenReranker

__all__ = ["QueryCache", "QwenCrossEncoder", "QwenEmbeddings", "QwenReranker"]
