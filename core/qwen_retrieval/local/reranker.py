"""Local reranker."""


class LocalReranker:
    """Being written."""
