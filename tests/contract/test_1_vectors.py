"""Promise 1: shape, float32, finite, unit length; cut first, then normalised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import ServerError, SettingsError
from qwen_retrieval.vectors import calibrate, quantize

from .faces import array
from .reference import ReferenceEmbedder
from .texts import RAGGED


def test_vectors_are_finite_floats_of_unit_length(embedder: Any) -> None:
    """Promise 1: (n, d), float32 values, finite, unit length, for both roles."""
    face = embedder()
    texts = embedder.subject.usable(RAGGED)
    for found in (face.queries(texts), face.documents(texts)):
        assert len(found) == len(texts)
        assert len({len(row) for row in found}) == 1
        if face.subject.arrays:
            assert found.dtype == np.float32
        else:
            assert all(type(value) is float for row in found for value in row)
        values = array(found)
        assert np.array_equal(values, values.astype(np.float32))
        assert np.isfinite(values).all()
        assert np.linalg.norm(values, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_width_is_the_models_own_by_default(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 1: without `dimensions`, d is the model's width."""
    face = computing_embedder()
    assert len(face.queries(["a"])[0]) == reference_embedder.width
    assert len(face.documents(["a"])[0]) == reference_embedder.width


def test_normalize_false_leaves_the_length_alone(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 1: unit length unless `normalize=False`, and then the model's own numbers."""
    if not computing_embedder.subject.local:
        with pytest.raises(SettingsError, match="normalize is False, but servers"):
            computing_embedder(normalize=False)
        return
    face = computing_embedder(normalize=False)
    expected = [reference_embedder.vector(text, normalize=False) for text in RAGGED]
    scale = max(np.linalg.norm(row) for row in expected)
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(array(face.documents(RAGGED)), expected, atol=1e-5 * scale)
    asked = [reference_embedder.query(text, normalize=False) for text in RAGGED]
    np.testing.assert_allclose(array(face.queries(RAGGED)), asked, atol=1e-5 * scale)


def test_normalize_false_leaves_the_doubles_length_alone(embedder: Any) -> None:
    """Promise 1: the same direction, another length."""
    if not embedder.subject.local:
        return  # refused, see above
    raw = array(embedder(normalize=False).documents(RAGGED))
    unit = array(embedder().documents(RAGGED))
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(norms - 1).max() > 0.1
    np.testing.assert_allclose(raw / norms, unit, atol=1e-6)


@pytest.mark.parametrize("dimensions", [32, 100])
def test_vectors_are_cut_and_then_normalised(embedder: Any, dimensions: int) -> None:
    """Promise 1: cut to d first, then normalised, at several d."""
    # A vector of unit length has the same direction, where there is no other.
    whole = embedder(**({"normalize": False} if embedder.subject.local else {}))
    face = embedder(dimensions=dimensions)
    texts = embedder.subject.usable(RAGGED)
    for verb in ("queries", "documents"):
        cut = array(getattr(whole, verb)(texts))[:, :dimensions]
        expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        found = array(getattr(face, verb)(texts))
        assert found.shape == (len(texts), dimensions)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cut_vectors_equal_the_plain_forward(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 1: the cut vector is that of transformers' own hidden state."""
    face = computing_embedder(dimensions=64)
    texts = computing_embedder.subject.usable(RAGGED)
    expected = [reference_embedder.vector(text, dimensions=64) for text in texts]
    np.testing.assert_allclose(array(face.documents(texts)), expected, atol=1e-5)
    asked = [reference_embedder.query(text, dimensions=64) for text in texts]
    np.testing.assert_allclose(array(face.queries(texts)), asked, atol=1e-5)


def test_no_text_gives_no_vector(embedder: Any) -> None:
    """Promise 1: empty input gives (0, d); a framework's list is then empty."""
    face = embedder(dimensions=64)
    found = [face.documents([])]
    if face.subject.many_queries:
        found.append(face.queries([]))
    for vectors in found:
        if face.subject.arrays:
            assert vectors.shape == (0, 64)
            assert vectors.dtype == np.float32
        else:
            assert vectors == []


def test_several_queries_are_refused_where_one_is_asked_for(embedder: Any) -> None:
    """Promise 1, refused: a framework that embeds one query a call does not take a list."""
    if embedder.subject.many_queries:
        assert len(embedder().queries(["a", "b"])) == 2
        return
    with pytest.raises(TypeError, match="give a str"):
        embedder().queries([["a", "b"]])


@pytest.mark.parametrize("outside", [0, -1, 31, 4096])
def test_dimensions_outside_the_range_are_refused(
    embedder: Any, reference_embedder: ReferenceEmbedder, outside: int
) -> None:
    """Promise 1: d outside the model's range is refused with the range named."""
    if outside == 31 and not embedder.subject.computes:
        assert len(embedder(dimensions=outside).documents(["a"])[0]) == outside
        return  # the doubles are cut to any width
    if embedder.subject.own_model and outside > 0:
        with pytest.raises(ServerError, match="dimension"):  # only the server knows its range
            embedder(dimensions=outside).documents(["a"])
        return
    with pytest.raises(SettingsError, match=f"dimensions is {outside}") as caught:
        embedder(dimensions=outside).documents(["a"])
    if outside > 0:
        width = reference_embedder.width if embedder.subject.computes else 256
        least = 32 if embedder.subject.computes else 1
        assert f"{least} to {width}" in str(caught.value)


def test_dimensions_outside_a_released_models_range_are_refused_when_it_is_made(
    embedder: Any,
) -> None:
    """Promise 1: the range of a released model is known before it is loaded."""
    if embedder.subject.own_model:  # which has a range of its own
        assert embedder(model="Qwen/Qwen3-Embedding-0.6B", dimensions=1025)
        return
    with pytest.raises(SettingsError, match=r"dimensions is 1025.*32 to 1024"):
        embedder(model="Qwen/Qwen3-Embedding-0.6B", dimensions=1025)


@pytest.mark.parametrize("vector_type", ["float16", "int8", "uint8", "binary", "ubinary"])
def test_other_vector_types_are_a_step_after_the_contract(
    embedder: Any, direct: Any, vector_type: str
) -> None:
    """Promise 1: adapters hand out quantised vectors; the contract itself stays float32."""
    texts = embedder.subject.usable(RAGGED)
    if not embedder.subject.computes:
        vectors = embedder().documents(texts)
    else:
        vectors = direct("embedder", dimensions=64).embed_documents(texts)
    ranges = calibrate(vectors) if vector_type in {"int8", "uint8"} else None
    given = {"vector_type": vector_type, "vector_ranges": ranges}
    if embedder.subject.computes:
        given["dimensions"] = 64
    found = embedder(**given).documents(texts)
    if not embedder.subject.quantizes:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, atol=1e-5)
        return
    expected = quantize(vectors, vector_type, ranges)
    kind = float if vector_type == "float16" else int
    assert all(type(value) is kind for row in found for value in row)
    step = 1e-3 if vector_type == "float16" else 1  # a rounding may fall either way
    assert np.abs(array(found) - expected.astype(np.float64)).max() <= step
    assert np.mean(array(found) == expected.astype(np.float64)) > 0.99
