"""Steps on finished vectors: cut, normalise, check, quantise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval.errors import NonFiniteError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.contract import Vectors
    from qwen_retrieval.settings import Ranges, VectorType


def cut_and_normalize(vectors: Vectors, dimensions: int, *, normalize: bool) -> Vectors:
    """Return the first `dimensions` of each vector, then scaled to unit length.

    The order matters: a normalised vector that is cut afterwards is shorter than one (Matryoshka
    representation learning, Kusupati et al. 2022). A zero vector stays zero.

    Args:
        vectors: of shape (n, width).
        dimensions: d, at most the width.
        normalize: False leaves the cut vectors' length alone.

    Returns:
        float32 of shape (n, d).
    """
    cut = np.ascontiguousarray(vectors[:, :dimensions], dtype=np.float32)
    if not normalize:
        return cut
    norms = np.linalg.norm(cut.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity over infinity: `check_finite` names the text
        return (cut / np.where(norms == 0, 1, norms)).astype(np.float32)


OVERFLOW = "the usual cause is float16 overflow: set dtype='float32' or 'bfloat16'"


def check_finite(values: Vectors, name: str, remedy: str = OVERFLOW) -> None:
    """Raise `NonFiniteError` naming the first input whose vector or score is NaN or infinite."""
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        place = int(np.argmin(finite))
        raise NonFiniteError(
            f"{name} {place} came out as NaN or infinity ({int((~finite).sum())} of {len(values)}"
            f" do); {remedy}."
        )


def calibrate(vectors: Vectors) -> Ranges:
    """Return the ranges for "int8" and "uint8" vectors, from a sample of float32 document vectors.

    Take a few thousand typical documents; the result goes into ``vector_ranges`` and then stays
    with the index, since other ranges give other codes.

    Args:
        vectors: of shape (n, d), n at least 2.

    Returns:
        (smallest, largest) value of each dimension.
    """
    if vectors.ndim != 2 or len(vectors) < 2:  # noqa: PLR2004 - a range needs two vectors
        raise SettingsError(
            f"the sample has shape {vectors.shape}; give at least 2 vectors, better some thousand."
        )
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    return tuple(map(float, low)), tuple(map(float, high))


def quantize(vectors: Vectors, vector_type: VectorType, ranges: Ranges | None) -> NDArray[Any]:
    """Return the vectors in the type asked for, by sentence-transformers' quantiser.

    Args:
        vectors: float32 of shape (n, d).
        vector_type: "float32" returns them as they are; "binary" and "ubinary" pack eight
            dimensions into one number: (n, ceil(d / 8)).
        ranges: from `calibrate`, needed for "int8" and "uint8".

    Raises:
        SettingsError: the ranges have another width than the vectors.
    """
    if vector_type == "float32":
        return vectors
    if vector_type == "float16":
        return vectors.astype(np.float16)
    limits = None if ranges is None else np.asarray(ranges, dtype=np.float32)
    if limits is not None and limits.shape != (2, vectors.shape[1]):
        raise SettingsError(
            f"vector_ranges has shape {limits.shape}, but the vectors need (2, {vectors.shape[1]});"
            " calibrate with vectors of the same dimensions."
        )
    from sentence_transformers.util import quantize_embeddings  # noqa: PLC0415 - loads torch

    return np.asarray(quantize_embeddings(vectors, vector_type, ranges=limits))
