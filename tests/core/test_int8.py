"""8-bit integers: what they cost in accuracy on trained weights, and where they are refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_forward import TASK, PlainEmbedder, get_detailed_instruct
from samples import PASSAGES

import checkpoints
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.local import int8_product
from qwen_retrieval.local.int8 import FineInt8Linear, Int8Linear, products
from qwen_retrieval.local.int8_product import FULL, HALF, WAYS, Way, fastest_exact
from qwen_retrieval.local.reducing import INPUTS, WHOLE, large_channels, noise

TINY = Path(__file__).resolve().parents[1] / "tiny"
TEXTS = [
    line
    for path in sorted(Path(__file__).parent.glob("*.py"))
    for line in path.read_text(encoding="utf-8").split("\n\n")
    if len(line) > 40 and "<" not in line
][:200]
HINDI = """भारत की राजधानी नई दिल्ली है।
गंगा उत्तर भारत की सबसे लंबी नदी है।
हिमालय दुनिया की सबसे ऊँची पर्वत श्रृंखला है।
ताजमहल आगरा में यमुना के किनारे बना है।
पानी सौ डिग्री सेल्सियस पर उबलता है।
चंद्रमा पृथ्वी का एकमात्र प्राकृतिक उपग्रह है।
आम गर्मियों में पकने वाला मीठा फल है।
मुंबई देश का सबसे बड़ा बंदरगाह है।
शतरंज दो लोगों के बीच खेला जाता है।
किताबें पढ़ने से ज्ञान बढ़ता है।
रेलगाड़ी सुबह छह बजे स्टेशन से चलती है।
किसान बरसात में धान बोते हैं।""".splitlines()
"""In a language that the tiny reranker hardly knows: its logits differ by thousandths."""
HINDI_QUERIES = ["सबसे लंबी नदी कौन सी है?", "मीठा फल कब पकता है?", "राजधानी का नाम क्या है?"]
QUERIES = ["memory that ends", "tokens of a prompt", "a model that is not there", "device", "ids"]


def embedder(**values: Any) -> Any:
    """The tiny trained embedder in integers."""
    return open_embedder(
        EmbedderSettings(
            model=str(TINY / "embedder"), device="cpu", max_length=256, precision="int8", **values
        )
    )


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Return the rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (left, right)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.fixture
def untried() -> Iterator[None]:
    """What was chosen before is forgotten, and so is what the test has chosen."""
    fastest_exact.cache_clear()
    yield
    fastest_exact.cache_clear()


class TestProduct:
    """One layer."""

    @pytest.mark.parametrize("name", list(WAYS))
    @pytest.mark.parametrize("whole", [None, torch.tensor([3, 9])])
    def test_the_product_of_integers_is_exact(self, name: str, whole: torch.Tensor | None) -> None:
        """Also where every number is as large as it may be, on CPUs that add in 16 bits."""
        way, (_, largest) = WAYS[name], fastest_exact()
        if not int8_product._is_exact(way, largest):
            pytest.skip(f"this torch or CPU computes no exact {name} with weights up to {largest}")
        assert largest in {FULL, HALF}
        generator = torch.Generator().manual_seed(0)
        weights = torch.randint(-largest, largest + 1, (48, 1024), generator=generator).float()
        weights[:, 0] = largest  # so that every row's scale is 1
        weights[0] = largest
        rows = torch.randint(-FULL, FULL + 1, (9, 1024), generator=generator).float()
        rows[:, 0] = FULL
        rows[0] = FULL
        found = Int8Linear(weights, whole, way, largest)(rows)
        torch.testing.assert_close(found, rows @ weights.T, rtol=1e-6, atol=0.5)

    @pytest.mark.parametrize("whole", [None, torch.tensor([3, 9])])
    def test_two_bytes_are_finer_than_one(self, whole: torch.Tensor | None) -> None:
        """The second one holds what the first has lost, to a 254th; and rows stay as they are."""
        way, largest = fastest_exact()
        generator = torch.Generator().manual_seed(0)
        weights = torch.randint(-largest, largest + 1, (48, 1024), generator=generator).float()
        weights[:, 0] = largest  # so that every row's scale is 1
        rows = torch.randn(2, 9, 1024, generator=generator)
        before = rows.clone()
        exact = rows.double() @ weights.double().T
        one, two = (
            (kind(weights, whole, way, largest)(rows) - exact).abs().max()
            for kind in (Int8Linear, FineInt8Linear)
        )
        assert two < one / 200
        assert torch.equal(rows, before)

    def test_rows_are_rounded_on_their_own(self) -> None:
        """A large neighbour changes nothing, nor does a channel that is left alone."""
        rows = torch.tensor([[7.0, 0.5, -1.0], [9.0, 500.0, -1000.0]])

        def rounded(whole: torch.Tensor | None) -> Any:
            return Int8Linear(torch.ones(4, 3), whole, *fastest_exact()).rounded(rows.clone())

        found, scales, whole = rounded(torch.tensor([0]))
        assert found.tolist() == [[128, 192, 1], [128, 192, 1]]
        assert whole.tolist() == [[7.0], [9.0]]
        assert scales.flatten().tolist() == pytest.approx([1 / FULL, 1000 / FULL])
        found, scales, whole = rounded(None)
        assert found.tolist() == [[255, 137, 110], [129, 192, 1]]
        assert whole is None
        assert scales.flatten().tolist() == pytest.approx([7 / FULL, 1000 / FULL])

    @pytest.mark.parametrize("kind", [Int8Linear, FineInt8Linear])
    def test_layers_share_what_is_rounded_once(self, kind: type[Int8Linear]) -> None:
        """Each gets what it would alone, though the rows are used up."""
        random = torch.Generator().manual_seed(0)
        rows = torch.randn(5, 64, generator=random)
        layers = [
            kind(torch.randn(n, 64, generator=random), torch.tensor([3, 9]), *fastest_exact())
            for n in (48, 96)
        ]
        alone = [layer(rows) for layer in layers]
        for found, expected in zip(products(rows, layers), alone, strict=True):
            assert torch.equal(found, expected)

    @pytest.mark.usefixtures("untried")
    def test_the_fastest_exact_way_is_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A faster one that adds up wrongly, or leaves scales out, is not."""
        right, _ = fastest_exact()
        fastest_exact.cache_clear()

        def slowly(*operands: torch.Tensor) -> torch.Tensor:
            time.sleep(0.05)
            return right.multiply(*operands)

        def unscaled(rows: Any, packed: Any, scales: torch.Tensor, zeros: Any) -> torch.Tensor:
            return right.multiply(rows, packed, torch.ones_like(scales), zeros)

        ways = {
            "slow": Way(right.pack, slowly),
            "right": right,
            "wrong": Way(right.pack, lambda *operands: 2 * right.multiply(*operands)),
            "unscaled": Way(right.pack, unscaled),
        }
        monkeypatch.setattr(int8_product, "WAYS", ways)
        assert fastest_exact()[0] is right
        fastest_exact.cache_clear()
        monkeypatch.setattr(int8_product, "WAYS", {n: ways[n] for n in ("slow", "unscaled")})
        assert fastest_exact()[0] is ways["slow"]

    @pytest.mark.usefixtures("untried")
    def test_a_machine_without_an_exact_product_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is computed with a wrong one."""
        monkeypatch.setattr(int8_product, "WAYS", {})
        with pytest.raises(SettingsError, match="no exact 8-bit product"):
            fastest_exact()


class TestChoice:
    """What is left as it is, and what takes 16 bits."""

    def test_large_channels_are_found_where_there_are_any(self) -> None:
        """Those that would leave the others a fraction of the steps; none where all are alike."""
        rows = torch.rand(20, 4 * WHOLE, generator=torch.Generator().manual_seed(0)) - 0.5
        rows[:, 0] = 0.5  # the largest of what is left
        assert large_channels(rows) is None
        rows[:, [7, 20, 66, 90]] = 0.5 * 1.45
        assert large_channels(rows) is None
        rows[:, [7, 20, 66, 90]] = -0.5 * 1.55
        found = large_channels(rows)
        assert found is not None
        assert found.tolist() == [7, 20, 66, 90]

    def test_noise_is_beside_what_tells_tokens_apart(self) -> None:
        """Not beside what all have in common; a channel that is left alone adds none."""
        random = torch.Generator().manual_seed(0)
        rows = torch.rand(50, 64, generator=random) - 0.5
        weights = [torch.randn(96, 64, generator=random)]
        # Numbers of ±.5 in steps of 1/254, whose errors are spread evenly.
        assert noise([rows], weights, None) == pytest.approx(1 / 254, rel=0.05)
        alike = torch.rand(64, generator=random) - 0.5 + rows / 100
        assert noise([rows, alike], weights, None) == pytest.approx(1 / 2.54, rel=0.1)
        rows[:, 5] = 50
        assert noise([rows], weights, None) == pytest.approx(1 / 2.54, rel=0.1)
        assert noise([rows], weights, torch.tensor([5])) == pytest.approx(1 / 254, rel=0.05)
        reading = torch.zeros(96, 64)
        rows[:, 6] /= 100
        reading[:, 6] = 1  # what one layer reads is lost, and another does not see it
        assert noise([rows], [*weights, reading], torch.tensor([5])) > 0.3

    def test_a_token_unlike_all_others_hides_nothing(self) -> None:
        """Models have one to rest attention on; the median is that of the others."""
        random = torch.Generator().manual_seed(0)
        weights = [torch.randn(96, 64, generator=random)]
        alike = torch.rand(64, generator=random) - 0.5
        rows = alike + (torch.rand(20, 64, generator=random) - 0.5) / 100
        expected = noise([rows], weights, None)
        for place in (0, 7):
            rows[place] = 50
            assert noise([rows], weights, None) == pytest.approx(expected, rel=0.2)

    def test_places_of_the_tiny_models(self) -> None:
        """The embedder's queries are read from a channel that a byte's steps cannot hold.

        Behind attention in both, and in an MLP of the reranker, tokens of scripts that they do not
        know are alike.
        """
        attention, mlp = (*INPUTS[0], *INPUTS[1]), (*INPUTS[2], *INPUTS[3])
        opened: Any = embedder()
        opened.embed_queries(["a"])
        inner = opened.replicas()[0]._model.transformers_model
        assert fine_places(inner.layers) == {(1, name) for name in attention}
        opened.close()
        settings = RerankerSettings(model=str(TINY / "reranker"), device="cpu", precision="int8")
        scoring: Any = open_reranker(settings)
        scoring.score([("a", "b")])
        inner = scoring.replicas()[0]._model.transformers_model.model
        expected = {(2, name) for name in mlp}
        assert fine_places(inner.layers) == expected | {(n, INPUTS[1][0]) for n in (1, 2)}
        scoring.close()


def fine_places(layers: Any) -> set[tuple[int, str]]:
    """Return the numbers of layers and the names of their linear ones whose input has 16 bits."""
    return {
        (number, name)
        for number, layer in enumerate(layers)
        for names in INPUTS
        for name in names
        if type(layer.get_submodule(name)) is FineInt8Linear
    }


class TestAccuracy:
    """Against float32 on trained weights."""

    def test_vectors_stay_close(self) -> None:
        """Cosine of at least 0.998 for every text."""
        opened = embedder()
        plain = PlainEmbedder(TINY / "embedder").vectors(TEXTS, 256)
        with pytest.warns(match="longer than"):
            found = opened.embed_documents([*TEXTS, "x " * 300])[:-1]
        opened.close()
        assert (found * plain).sum(1).min() >= 0.998

    def test_a_vector_does_not_depend_on_its_neighbours(self) -> None:
        """Each token has its own scale."""
        opened = embedder()
        texts = [text for text in TEXTS if len(text) < 200][:30]
        together = opened.embed_documents(texts)
        alone = np.concatenate([opened.embed_documents([text]) for text in texts])
        opened.close()
        assert np.abs(together - alone).max() < 1e-5

    def test_scores_keep_their_order(self) -> None:
        """Spearman of at least 0.99, with a shared prefix and pair by pair alike."""
        pairs = [(query, text[:300]) for query in QUERIES for text in TEXTS[:40]]
        plain, narrow = self.scores(pairs)
        for start in range(0, len(pairs), 40):
            assert spearman(plain[start : start + 40], narrow[start : start + 40]) >= 0.99

    def test_vectors_that_hardly_differ_are_told_apart(self) -> None:
        """A question's cosines with Hindi texts differ by thousandths, as one byte changes them."""
        opened = embedder()
        narrow = opened.embed_queries(HINDI_QUERIES) @ opened.embed_documents(HINDI).T
        opened.close()
        plain = PlainEmbedder(TINY / "embedder")
        instructed = [get_detailed_instruct(TASK, query) for query in HINDI_QUERIES]
        wide = plain.vectors(instructed, 256) @ plain.vectors(HINDI, 256).T
        for one, other in zip(wide, narrow, strict=True):
            assert np.abs(one - other).max() < one.std() / 10 < 0.001

    def test_scores_that_hardly_differ_keep_their_order(self) -> None:
        """What tells them apart would be lost in one byte: .73 to .85."""
        size = len(HINDI)
        plain, narrow = self.scores([(query, text) for query in HINDI_QUERIES for text in HINDI])
        for start in range(0, len(plain), size):
            chosen = slice(start, start + size)
            assert plain[chosen].std() < 0.01
            assert spearman(plain[chosen], narrow[chosen]) >= 0.93

    def scores(self, pairs: list[tuple[str, str]]) -> list[np.ndarray]:
        """Return the logits in float32 and in integers, and see that these are alike alone."""
        scores = []
        for precision in (None, "int8"):
            settings = RerankerSettings(
                model=str(TINY / "reranker"),
                device="cpu",
                dtype="float32",
                precision=precision,
                score_type="logit",
            )
            reranker = open_reranker(settings)
            scores.append(reranker.score(pairs))
            if precision:
                alone = np.concatenate([reranker.score([pair]) for pair in pairs[:20]])
                assert np.abs(alone - scores[1][:20]).max() < 1e-2 * np.ptp(scores[0])
            reranker.close()
        return scores


def test_where_transformers_computes(embedder64: Path, tmp_path: Path) -> None:
    """A Qwen3 embedder with another pooling has its layers in integers all the same."""
    folder = checkpoints.write_mean_pooling(tmp_path / "mean", embedder64)
    found = []
    for precision in (None, "int8"):
        settings = EmbedderSettings(
            model=str(folder), precision=precision, dtype="float32", device="cpu"
        )
        opened: Any = open_embedder(settings)
        found.append(opened.embed_queries(PASSAGES))
        assert opened.replicas()[0]._shared is None
        opened.close()
    assert 0.99 < (found[0] * found[1]).sum(1).min() < 0.999_999


class TestRefusals:
    """Where it cannot be had."""

    def test_with_another_dtype(self) -> None:
        """The integers are made of float32."""
        with pytest.raises(SettingsError, match="leave one of the two out"):
            embedder(dtype="bfloat16")

    def test_a_model_of_another_kind(self, minilm: Path) -> None:
        """Other models are computed by sentence-transformers as they are."""
        settings = EmbedderSettings(model=str(minilm), device="cpu", precision="int8")
        with pytest.raises(SettingsError, match="no Qwen3 model"):
            open_embedder(settings).embed_documents(["a"])

    def test_a_loaded_model(self) -> None:
        """It belongs to its owner, and is used as it is."""
        settings = EmbedderSettings(model="mine", precision="int8")
        with pytest.raises(SettingsError, match="used as it is"):
            open_embedder(settings, loaded=object())

    def test_with_transformers_own_attention(self) -> None:
        """The forward pass that shares nothing is left in the weights' own precision."""
        with pytest.raises(SettingsError, match="eager"):
            embedder(attention="eager").embed_documents(["a"])

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
    def test_over_an_adapter(self, reranker_lora: Path) -> None:
        """LoRA's layers are no plain ones."""
        settings = RerankerSettings(model=str(reranker_lora), device="cpu", precision="int8")
        with pytest.raises(SettingsError, match="merge"):
            open_reranker(settings).score([("a", "b")])
