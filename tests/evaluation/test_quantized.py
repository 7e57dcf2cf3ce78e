"""Search over vectors of fewer bits: as an index that stores them would answer."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sentence_transformers.util import quantize_embeddings

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation import quantized
from qwen_retrieval.evaluation.quantized import search_stored
from qwen_retrieval.evaluation.search import block_of
from qwen_retrieval.evaluation.setting import Grid, Precision, Setting
from qwen_retrieval.vectors import calibrate, cut_and_normalize, quantize

RANDOM = np.random.default_rng(3)
DOCUMENTS = RANDOM.normal(size=(300, 48)).astype(np.float32)
QUERIES = (DOCUMENTS[:20] + RANDOM.normal(size=(20, 48)) * 0.8).astype(np.float32)
WIDTH = 40


def cut(vectors: np.ndarray) -> np.ndarray:
    """Vectors as every precision begins with them."""
    return cut_and_normalize(vectors, WIDTH, normalize=True)


def best(scores: np.ndarray, k: int) -> list[list[int]]:
    """The places of the k largest of each row."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()


def test_int8_is_sentence_transformers_codes_restored() -> None:
    """Documents count as their codes in the calibrated ranges tell them."""
    documents = cut(DOCUMENTS)
    low, high = documents.min(axis=0), documents.max(axis=0)
    codes = quantize_embeddings(documents, "int8", ranges=np.stack([low, high]))
    restored = low + (codes.astype(np.float32) + 128) * ((high - low) / 255)
    found = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, "int8")
    assert found.places.tolist() == best(cut(QUERIES) @ restored.T, 10)


def test_binary_finds_by_bits_and_scores_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many by differing bits, then the float32 query over the documents' signs."""
    monkeypatch.setattr(quantized, "RESCORED", 20)
    bits_asked, bits = cut(QUERIES) > 0, cut(DOCUMENTS) > 0
    differing = (bits_asked[:, None] != bits[None]).sum(axis=2)
    found = search_stored(QUERIES, DOCUMENTS, 5, WIDTH, "binary")
    for query, places in enumerate(found.places):
        candidates = np.argsort(differing[query], kind="stable")[:20]
        scores = np.where(bits[candidates], 1, -1) @ cut(QUERIES)[query]
        assert places.tolist() == candidates[np.argsort(-scores, kind="stable")[:5]].tolist()


def test_binary_rescores_as_many_however_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of a long ranking are those of a short one: the grid's depths change nothing."""
    monkeypatch.setattr(quantized, "RESCORED", 4)
    short = search_stored(QUERIES, DOCUMENTS, 5, WIDTH, "binary")
    long = search_stored(QUERIES, DOCUMENTS, 50, WIDTH, "binary")
    assert long.places[:, :5].tolist() == short.places.tolist()


def test_float16_is_nearly_float32() -> None:
    """Half precision changes scores by less than a thousandth."""
    full = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, "float32")
    half = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, "float16")
    assert np.allclose(half.scores, full.scores, atol=1e-3)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_blocks_do_not_matter(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many documents and queries are compared at once, the answer is one."""
    whole = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, precision)
    monkeypatch.setattr(quantized, "BLOCK", 7)
    monkeypatch.setattr(quantized, "QUERIES", 3)
    parts = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, precision)
    assert parts.places.tolist() == whole.places.tolist()


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_vectors_on_disk_are_mapped_block_by_block(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same, and no mapping of the whole file keeps it in memory."""
    stored = np.memmap(tmp_path / "rows", np.float32, "w+", shape=DOCUMENTS.shape)
    stored[:] = DOCUMENTS
    stored.flush()
    monkeypatch.setattr(quantized, "BLOCK", 100)
    read = np.memmap(tmp_path / "rows", np.float32, "r", shape=DOCUMENTS.shape)
    blocks: list[np.ndarray] = []

    def noted(*where: object) -> np.ndarray:
        blocks.append(block_of(*where))
        return blocks[-1]

    monkeypatch.setattr(quantized, "block_of", noted)
    found = search_stored(QUERIES, read, 10, WIDTH, precision)
    expected = search_stored(QUERIES, DOCUMENTS, 10, WIDTH, precision)
    assert found.places.tolist() == expected.places.tolist()
    assert [len(block) for block in blocks] == [100] * 6
    assert all(block.base is not read.base for block in blocks[:3])


@pytest.mark.parametrize("dimensions", [8, 20, 48])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_bytes_are_those_of_the_codes(precision: Precision, dimensions: int) -> None:
    """What a setting is said to take is what its quantised vectors take."""
    vectors = DOCUMENTS[:, :dimensions]
    codes = quantize(vectors, precision, calibrate(vectors) if precision == "int8" else None)
    setting = Setting(model="m", instruction="none", dimensions=dimensions, precision=precision)
    assert setting.bytes_per_document * len(vectors) == codes.nbytes


class TestGrid:
    """What is combined."""

    def test_every_choice_with_every_other(self) -> None:
        """Two widths, two instructions, three precisions, and 0 and 5 by two rerankers."""
        grid = Grid(dimensions=(32, 64), depths=(0, 5)).for_model(64, takes_instructions=True)
        found = list(grid.settings("m", ["r", "s"]))
        assert len(found) == len(set(found)) == 2 * 2 * 3 * (1 + 2)
        assert {(each.reranker, each.depth) for each in found} == {(None, 0), ("r", 5), ("s", 5)}

    def test_widths_by_default(self) -> None:
        """The model's own and its halves down to 32."""
        assert Grid().widths(1024) == [32, 64, 128, 256, 512, 1024]
        assert Grid().widths(384) == [48, 96, 192, 384]
        assert Grid().widths(20) == [20]

    def test_width_that_no_model_has(self) -> None:
        """Widths beyond the model are left out; none left is an error."""
        assert Grid(dimensions=(64, 4096)).widths(256) == [64]
        with pytest.raises(SettingsError, match="but the model has 256"):
            Grid(dimensions=(512,)).widths(256)

    def test_instructions_only_where_there_is_a_template(self) -> None:
        """A model without one is asked in its own way alone."""
        grid = Grid().for_model(64, takes_instructions=False)
        assert grid.instructions == ("default",)

    @pytest.mark.parametrize(
        ("field", "value", "match"),
        [
            ("precisions", ("int4",), "precision is 'int4'"),
            ("depths", (0, -1), "depths holds -1"),
            ("dimensions", (0,), "dimensions holds 0"),
            ("instructions", (), "instructions is empty"),
        ],
    )
    def test_what_cannot_be_meant(self, field: str, value: tuple[object], match: str) -> None:
        """The error names the field and the value."""
        with pytest.raises(SettingsError, match=match):
            Grid(**{field: value})
