"""From Haystack documents to the texts that a model reads."""

from collections.abc import Sequence

from haystack import Document

from qwen_retrieval.errors import NotTextError


def texts_of(
    documents: Sequence[Document], meta_fields: Sequence[str] | None, separator: str
) -> list[str]:
    """Return each document's metadata fields and content, unchanged, joined by the separator.

    A field that a document lacks or that is None is left out. A document without content counts as
    its metadata alone.

    Raises:
        NotTextError: `documents` is no list of documents, or one has neither content nor one of the
            fields: an image without a caption, say.
    """
    if not isinstance(documents, list | tuple):
        raise NotTextError(
            f"documents is one {type(documents).__name__}; give a list of haystack Documents"
            " (QwenTextEmbedder takes a string)."
        )
    return [
        _text(document, place, meta_fields, separator) for place, document in enumerate(documents)
    ]


def check_fields(meta_fields: Sequence[str] | None) -> None:
    """Refuse one name in place of a list, whose letters would be looked up one by one."""
    if isinstance(meta_fields, str):
        raise NotTextError(f"meta_fields_to_embed is {meta_fields!r}; give a list of such names.")


def _text(document: Document, place: int, meta_fields: Sequence[str] | None, separator: str) -> str:
    if not isinstance(document, Document):
        raise NotTextError(
            f"document {place} is {type(document).__name__} ({document!r:.60}); give a haystack"
            " Document."
        )
    named = [document.meta.get(field) for field in meta_fields or ()]
    parts = [str(value) for value in named if value is not None]
    if document.content is not None:
        parts.append(document.content)
    if not parts:
        raise NotTextError(
            f"document {place} (id {document.id!r}) has no content and none of the metadata fields"
            f" {list(meta_fields or ())}; give it content, name a field in meta_fields_to_embed, or"
            " leave it out."
        )
    return separator.join(parts)
