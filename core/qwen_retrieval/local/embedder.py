"""Local embedder."""


class LocalEmbedder:
    """Being written."""
