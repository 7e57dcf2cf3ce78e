"""Steps on finished vectors, and the order of finished scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qwen_retrieval.checks import check_threshold, check_top_n
from qwen_retrieval.errors import NonFiniteError, NotTextError, SettingsError, TextError
from qwen_retrieval.ranking import rank
from qwen_retrieval.texts import check_pairs, check_texts, unique
from qwen_retrieval.vectors import calibrate, check_finite, cut_and_normalize, quantize

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
VECTORS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**100), 2.0**100, width=32))


class TestCutAndNormalize:
    """First the cut, then unit length."""

    @given(vectors=VECTORS, data=st.data())
    def test_unit_length_after_the_cut(self, vectors: np.ndarray, data: st.DataObject) -> None:
        """Whatever the length before, it is one after; only a zero vector stays zero."""
        dimensions = data.draw(st.integers(1, vectors.shape[1]))
        before = vectors.copy()
        found = cut_and_normalize(vectors, dimensions, normalize=True)
        assert found.dtype == np.float32
        assert found.shape == (len(vectors), dimensions)
        # Below float32's normal range a number has few digits left, so its length is rough.
        sizes = np.abs(vectors[:, :dimensions]).max(axis=1)
        norms = np.linalg.norm(found.astype(np.float64), axis=1)
        assert np.allclose(norms[sizes > 1e-30], 1, atol=1e-6)
        assert (found[sizes == 0] == 0).all()
        assert np.array_equal(vectors, before), "the input is not changed"

    @given(vectors=VECTORS)
    def test_without_normalising_only_the_cut(self, vectors: np.ndarray) -> None:
        """`normalize=False` keeps the numbers."""
        found = cut_and_normalize(vectors, 1, normalize=False)
        assert np.array_equal(found, vectors[:, :1])


class TestFinite:
    """NaN and infinity."""

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_names_the_first_place(self, bad: float) -> None:
        """The text's index, how many, and the remedy."""
        values = np.ones((5, 3), np.float32)
        values[2, 1] = values[4, 0] = bad
        with pytest.raises(NonFiniteError, match=r"text 2 .*2 of 5 .*dtype='float32'"):
            check_finite(values, "the vector of text")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cut = cut_and_normalize(values, 3, normalize=True)
        with pytest.raises(NonFiniteError, match="text 2 "):
            check_finite(cut, "the vector of text")

    def test_finite_values_pass(self) -> None:
        """Nothing is raised for numbers, nor for none."""
        check_finite(np.ones((2, 2), np.float32), "x")
        check_finite(np.empty(0, np.float32), "x")


class TestQuantize:
    """The smaller types are sentence-transformers' own."""

    vectors = np.random.default_rng(0).normal(size=(50, 24)).astype(np.float32)

    @pytest.mark.parametrize("kind", ["int8", "uint8"])
    def test_calibrated_bytes(self, kind: str) -> None:
        """Equal to `quantize_embeddings` with the same ranges, whatever the batch."""
        from sentence_transformers.util import quantize_embeddings

        ranges = calibrate(self.vectors)
        expected = quantize_embeddings(self.vectors, kind, ranges=np.array(ranges, np.float32))
        found = quantize(self.vectors, kind, ranges)  # type: ignore[arg-type] # parametrized
        assert found.dtype == np.dtype(kind)
        assert np.array_equal(found, expected)
        alone = [quantize(self.vectors[n : n + 1], kind, ranges)[0] for n in range(50)]  # type: ignore[arg-type] # the same
        assert np.array_equal(found, np.stack(alone)), "a code may not depend on the batch"

    @pytest.mark.parametrize("kind", ["binary", "ubinary"])
    def test_bits(self, kind: str) -> None:
        """Eight signs a byte."""
        from sentence_transformers.util import quantize_embeddings

        found = quantize(self.vectors, kind, None)  # type: ignore[arg-type] # parametrized
        assert found.shape == (50, 3)
        assert np.array_equal(found, quantize_embeddings(self.vectors, kind))

    def test_floats(self) -> None:
        """float32 is returned as it is, float16 is rounded."""
        assert quantize(self.vectors, "float32", None) is self.vectors
        half = quantize(self.vectors, "float16", None)
        assert half.dtype == np.float16
        assert np.allclose(half, self.vectors, atol=2e-3)

    def test_calibrated_ranges_are_the_extremes(self) -> None:
        """Smallest and largest of each dimension, as settings can hold them."""
        low, high = calibrate(np.array([[1, -2], [3, 5]], np.float32))
        assert (low, high) == ((1.0, -2.0), (3.0, 5.0))

    def test_wrong_ranges_and_samples_are_refused(self) -> None:
        """Ranges of another width, or a sample of one, are no use."""
        with pytest.raises(SettingsError, match=r"shape \(2, 3\).*need \(2, 24\); calibrate"):
            quantize(self.vectors, "int8", calibrate(self.vectors[:, :3]))
        with pytest.raises(SettingsError, match=r"shape \(1, 24\); give at least 2"):
            calibrate(self.vectors[:1])


class TestRank:
    """The order of scores."""

    @given(
        scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(-9, 9, width=32)),
        top_n=st.none() | st.integers(0, 12),
        threshold=st.none() | st.floats(-9, 9, width=32),
    )
    @example(scores=[0.25, 0.5], top_n=0, threshold=None)
    @example(scores=[-0.25, 0.5], top_n=None, threshold=0.0)
    def test_equals_a_naive_stable_sort(
        self, scores: list[float], top_n: int | None, threshold: float | None
    ) -> None:
        """Best first, ties in input order, threshold before the number."""
        naive = sorted(enumerate(scores), key=lambda pair: -pair[1])
        if threshold is not None:
            naive = [pair for pair in naive if pair[1] >= threshold]
        if top_n is not None:
            naive = naive[:top_n]
        found = rank(np.array(scores, np.float32), top_n, threshold)
        assert [(each.index, each.score) for each in found] == naive

    @pytest.mark.parametrize("top_n", [-1, True, False, 1.0, "3"])
    def test_bad_top_n(self, top_n: object) -> None:
        """Neither negative nor a truth value nor a fraction."""
        with pytest.raises(SettingsError, match=r"top_n is .*; give None for all, or a whole"):
            check_top_n(top_n)  # type: ignore[arg-type] # on purpose

    @pytest.mark.parametrize("threshold", [float("nan"), "0.5", [0.5]])
    def test_bad_threshold(self, threshold: object) -> None:
        """NaN would drop everything without a word."""
        with pytest.raises(SettingsError, match=r"score_threshold is .*; give a number or None"):
            check_threshold(threshold)  # type: ignore[arg-type] # on purpose


class TestTexts:
    """What users hand in."""

    @given(texts=st.lists(st.text()))
    def test_texts_are_unchanged(self, texts: list[str]) -> None:
        """Every str without lone surrogates passes as it is, empty and odd ones too."""
        assert check_texts(texts, "document") == texts

    @pytest.mark.parametrize("bad", [None, 5, 1.5, b"bytes", ["nested"], float("nan")])
    def test_other_things_are_named(self, bad: object) -> None:
        """The place and the type are in the message."""
        with pytest.raises(NotTextError, match=rf"document 1 is {type(bad).__name__} .*give a str"):
            check_texts(["fine", bad], "document")  # type: ignore[list-item] # on purpose

    def test_one_str_is_no_list(self) -> None:
        """A str is a sequence of characters, hardly what was meant."""
        with pytest.raises(NotTextError, match=r"list of query texts is needed, not one str: give"):
            check_texts("hello", "query")

    @pytest.mark.parametrize("bad", ["\ud800", "ok \udfff end", "é\udc80"])
    def test_lone_surrogates(self, bad: str) -> None:
        """The code point, its position and the remedy are in the message."""
        at = next(n for n, c in enumerate(bad) if "\ud800" <= c <= "\udfff")
        with pytest.raises(TextError, match=rf"document 0 .*U\+D.* position {at}; decode"):
            check_texts([bad], "document")

    @pytest.mark.parametrize("bad", ["ab", ("a",), ("a", "b", "c"), ("a", 5)])
    def test_pairs_are_two_texts(self, bad: object) -> None:
        """A str of two characters is no pair either."""
        with pytest.raises(NotTextError, match="1"):
            check_pairs([("a", "b"), bad])  # type: ignore[list-item] # on purpose

    @given(items=st.lists(st.integers(0, 5)))
    def test_unique_restores_the_input(self, items: list[int]) -> None:
        """Each distinct item once, and the way back."""
        distinct, inverse = unique(items)
        assert len(distinct) == len(set(items))
        assert [distinct[place] for place in inverse] == items
