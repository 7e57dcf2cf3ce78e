"""What the Haystack components of qwen-retrieval share."""

try:
    import haystack  # noqa: F401 - asked for here, so that the error below is the first one seen
except ModuleNotFoundError as error:
    if error.name != "haystack":
        raise
    raise ImportError(
        "the Haystack components need haystack-ai: pip install 'qwen-retrieval[haystack]'"
    ) from error
