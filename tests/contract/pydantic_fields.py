"""Fields of LangChain's and LlamaIndex's classes, which are pydantic models."""

from __future__ import annotations

from typing import Any


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return each field that a user can give, with its default."""
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }
