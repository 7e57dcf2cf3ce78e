"""What goes wrong is said: the value, the limit and the remedy; nothing is lost in silence."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_forward import PlainEmbedder, PlainReranker
from safetensors.torch import load_file, save_file
from samples import PASSAGES

import checkpoints
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import (
    ClosedError,
    MemoryWarning,
    ModelFilesError,
    ModelNotFoundError,
    NonFiniteError,
    NotTextError,
    PrefixedQueryError,
    SettingsError,
    TextError,
    TooLongError,
    TruncationWarning,
    WrongModelError,
)
from qwen_retrieval.local.embedder import LocalEmbedder
from qwen_retrieval.local.reranker import LocalReranker


@pytest.fixture(scope="module")
def embedder(embedder64: Path) -> Iterator[LocalEmbedder]:
    """A random embedder in float32."""
    opened = LocalEmbedder(EmbedderSettings(model=str(embedder64), dtype="float32", device="cpu"))
    opened.replicas()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reranker(causal: Path) -> Iterator[LocalReranker]:
    """A random reranker in float32."""
    opened = LocalReranker(RerankerSettings(model=str(causal), dtype="float32", device="cpu"))
    opened.replicas()
    yield opened
    opened.close()


def embed(model: object, texts: list[str] = ["x"], **settings: Any) -> Any:  # noqa: B006 - only read
    """Return what a fresh embedder gives; it is closed also when it raises."""
    values = {"dtype": "float32", "device": "cpu", **settings}
    opened = open_embedder(EmbedderSettings(model=str(model), **values))
    try:
        return opened.embed_documents(texts)
    finally:
        opened.close()


def score(model: object, **settings: Any) -> Any:
    """Return what a fresh reranker gives; it is closed also when it raises."""
    values = {"dtype": "float32", "device": "cpu", **settings}
    opened = open_reranker(RerankerSettings(model=str(model), **values))
    try:
        return opened.score([("query", "document")])
    finally:
        opened.close()


class TestTexts:
    """What stands where a text belongs."""

    @pytest.mark.parametrize("bad", [None, 7, b"bytes", ["list"], float("nan")])
    def test_other_things_than_str(
        self, embedder: LocalEmbedder, reranker: LocalReranker, bad: Any
    ) -> None:
        """The place and the type are named, in every position."""
        kind = type(bad).__name__
        with pytest.raises(NotTextError, match=f"document 1 is {kind}"):
            embedder.embed_documents(["fine", bad])
        with pytest.raises(NotTextError, match=f"query 0 is {kind}"):
            embedder.embed_queries([bad])
        with pytest.raises(NotTextError, match=f"query is {kind}"):
            reranker.rerank(bad, ["fine"])
        with pytest.raises(NotTextError, match=f"document 0 is {kind}"):
            reranker.rerank("fine", [bad])
        with pytest.raises(NotTextError, match=f"query of pair 0 is {kind}"):
            reranker.score([(bad, "fine")])
        if bad is not None:
            with pytest.raises(NotTextError, match=f"instruction is {kind}"):
                embedder.embed_queries(["fine"], instruction=bad)
            with pytest.raises(NotTextError, match=f"instruction is {kind}"):
                reranker.rerank("fine", ["fine"], instruction=bad)

    def test_lone_surrogates(self, embedder: LocalEmbedder, reranker: LocalReranker) -> None:
        """Code point, position and remedy are named, in instructions too."""
        message = r"U\+DC80 at position 2; decode the source with errors='replace'"
        with pytest.raises(TextError, match=f"document 0 .*{message}"):
            embedder.embed_documents(["ab\udc80"])
        with pytest.raises(TextError, match=f"instruction .*{message}"):
            embedder.embed_queries(["a"], instruction="ab\udc80")
        with pytest.raises(TextError, match=f"query .*{message}"):
            reranker.rerank("ab\udc80", ["a"])
        with pytest.raises(TextError, match=f"instruction .*{message}"):
            reranker.rerank("a", ["a"], instruction="ab\udc80")

    def test_one_str_instead_of_a_list(
        self, embedder: LocalEmbedder, reranker: LocalReranker
    ) -> None:
        """A str would be taken apart into characters."""
        with pytest.raises(NotTextError, match=r"not one str: give \['hello'\]"):
            embedder.embed_documents("hello")
        with pytest.raises(NotTextError, match=r"not one str: give \['hello'\]"):
            reranker.rerank("query", "hello")

    def test_odd_texts_are_valid(
        self, embedder: LocalEmbedder, reranker: LocalReranker, embedder64: Path, causal: Path
    ) -> None:
        """Empty, blank, NUL, control characters and private use reach the model as they are."""
        odd = [
            "",
            " ",
            "\n",
            "\t\r\n",
            "\0",
            "a\0b",
            "\x7f\x1b[0m",
            "\ufeffbom",
            "\ue000",
            "\U0010ffff",
        ]
        expected = PlainEmbedder(embedder64).vectors(odd)
        assert np.abs(embedder.embed_documents(odd) - expected).max() < 1e-5
        pairs = [(text, text) for text in odd]
        assert np.abs(reranker.score(pairs) - PlainReranker(causal).scores(pairs)).max() < 1e-5
        assert len({bytes(row) for row in embedder.embed_documents(odd).round(4)}) == len(odd)

    def test_a_megabyte(self, embedder: LocalEmbedder, reranker: LocalReranker) -> None:
        """Large strings are cut with a warning, whether of one word or of many."""
        for text in ("a" * 2**20, PASSAGES[0] * 2**15):
            with pytest.warns(TruncationWarning, match="1 of 1"):
                assert embedder.embed_documents([text]).shape == (1, 64)
            with pytest.warns(TruncationWarning, match="1 of 1"):
                assert reranker.score([("query", text)]).shape == (1,)

    def test_nothing_in_nothing_out(self, embedder: LocalEmbedder, reranker: LocalReranker) -> None:
        """Empty input gives empty output of the right shape."""
        assert embedder.embed_documents([]).shape == (0, 64)
        assert embedder.embed_queries([]).shape == (0, 64)
        assert embedder.embed_documents([]).dtype == np.float32
        assert reranker.rerank("query", []) == []
        assert reranker.score([]).shape == (0,)
        assert reranker.rerank("query", PASSAGES, top_n=0) == []


class TestLength:
    """Texts beyond max_length."""

    def test_cut_with_one_warning_that_names_how_many(self, embedder64: Path) -> None:
        """Repeated texts count as often as they were given, and the first place is named."""
        long = PASSAGES[1] * 20
        with pytest.warns(TruncationWarning) as caught:
            embed(embedder64, ["short", long, "short", long, long + "x"], max_length=32)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert "3 of 5 texts (first: 1) are longer than 32 tokens" in message
        assert "raise max_length" in message

    def test_the_last_token_that_fits_is_no_cut(self, embedder64: Path) -> None:
        """Exactly max_length, EOS included, is neither cut nor warned of."""
        tokenizer = PlainEmbedder(embedder64).tokenizer
        limit = len(tokenizer(PASSAGES[1])["input_ids"])
        embed(embedder64, [PASSAGES[1]], max_length=limit)
        with pytest.warns(TruncationWarning):
            embed(embedder64, [PASSAGES[1]], max_length=limit - 1)

    def test_refused_by_setting(self, embedder64: Path, causal: Path) -> None:
        """`too_long="refuse"` raises instead, with the same facts."""
        with pytest.raises(TooLongError, match=r"1 of 2 texts \(first: 1\).*32 tokens; split"):
            embed(embedder64, ["a", PASSAGES[1] * 20], max_length=32, too_long="refuse")
        opened = open_reranker(
            RerankerSettings(model=str(causal), dtype="float32", max_length=400, too_long="refuse")
        )
        with pytest.raises(TooLongError, match=r"1 of 2 texts \(first: 1\).*400 tokens; split"):
            opened.rerank("query", ["a", PASSAGES[1] * 20])
        opened.close()

    def test_a_query_that_leaves_no_room_for_a_document(self, causal: Path) -> None:
        """The query is named with its tokens and the limit; nothing is scored."""
        opened = open_reranker(RerankerSettings(model=str(causal), dtype="float32", max_length=300))
        long = "What is the capital of China? " * 40
        with pytest.raises(
            TooLongError, match=r"query 'What is.*takes \d+ tokens.*max_length=300.*no room for a"
        ):
            opened.score([("short", "a"), ("short", "a"), (long, "document")])
        opened.close()

    def test_more_than_the_model_takes(self, embedder64: Path, causal: Path) -> None:
        """The model's own context is the limit."""
        with pytest.raises(
            SettingsError, match=r"max_length is 513, .*context of 512 tokens; give"
        ):
            embed(embedder64, max_length=513)
        with pytest.raises(
            SettingsError, match=r"max_length is 513, .*context of 512 tokens; give"
        ):
            score(causal, max_length=513)

    def test_less_than_the_prompt_takes(self, embedder64: Path, causal: Path) -> None:
        """A limit that holds the prompt alone would make all texts equal."""
        opened = open_embedder(
            EmbedderSettings(model=str(embedder64), dtype="float32", max_length=12)
        )
        with pytest.raises(SettingsError, match=r"max_length is 12, .*take \d+ tokens; raise it"):
            opened.embed_queries(["query"])
        opened.close()
        with pytest.raises(TooLongError, match=r"max_length=20 .*raise max_length"):
            score(causal, max_length=20)


class TestQueries:
    """Queries that carry an instruction already."""

    prefixed = "Instruct: Find cats\nQuery:black ones"

    def test_refused(self, embedder: LocalEmbedder) -> None:
        """Doubling would be silent otherwise."""
        with pytest.raises(PrefixedQueryError, match=r"query 1 .*'Instruct: Find.*'as_is'"):
            embedder.embed_queries(["fine", self.prefixed])

    def test_taken_as_it_is_by_setting(self, embedder64: Path) -> None:
        """`prefixed_query="as_is"` adds nothing to it and still serves the others."""
        opened = open_embedder(
            EmbedderSettings(model=str(embedder64), dtype="float32", prefixed_query="as_is")
        )
        found = opened.embed_queries([self.prefixed, "Instruct: only half"])
        opened.close()
        task = checkpoints.TASK
        expected = PlainEmbedder(embedder64).vectors(
            [self.prefixed, f"Instruct: {task}\nQuery:Instruct: only half"]
        )
        assert np.abs(found - expected).max() < 1e-5

    def test_documents_may_look_like_queries(self, embedder: LocalEmbedder) -> None:
        """Only queries carry instructions, so a document is never refused for it."""
        assert embedder.embed_documents([self.prefixed]).shape == (1, 64)

    def test_an_instruction_for_a_call_replaces_a_prompt(self, embedder64: Path) -> None:
        """A prompt from the settings does not swallow what the call asks for."""
        opened = open_embedder(
            EmbedderSettings(model=str(embedder64), dtype="float32", query_prompt="search: ")
        )
        found = np.concatenate(
            [
                opened.embed_queries(["cats"]),
                opened.embed_queries(["cats"], instruction="Find dogs"),
                opened.embed_queries(["cats"], instruction=""),
            ]
        )
        opened.close()
        seen = ["search: cats", "Instruct: Find dogs\nQuery:cats", "cats"]
        assert np.abs(found - PlainEmbedder(embedder64).vectors(seen)).max() < 1e-5


class TestNumbers:
    """Dimensions, top_n, thresholds."""

    @pytest.mark.parametrize("dimensions", [1, 31, 65, 10_000])
    def test_dimensions_of_a_folder_are_checked_when_it_is_loaded(
        self, embedder64: Path, dimensions: int
    ) -> None:
        """The range of the model in the folder is named."""
        with pytest.raises(SettingsError, match=rf"dimensions is {dimensions}, .*32 to 64; choose"):
            embed(embedder64, dimensions=dimensions)
        opened = open_embedder(EmbedderSettings(model=str(embedder64), dimensions=dimensions))
        with pytest.raises(SettingsError, match="32 to 64"):
            _ = opened.dimensions
        opened.close()

    @pytest.mark.parametrize("top_n", [-1, True, 2.0])
    def test_bad_top_n(self, reranker: LocalReranker, top_n: Any) -> None:
        """Refused also where there is nothing to rank."""
        for documents in (PASSAGES, []):
            with pytest.raises(SettingsError, match=r"top_n is .*; give None for all"):
                reranker.rerank("query", documents, top_n=top_n)

    def test_bad_threshold(self, reranker: LocalReranker) -> None:
        """NaN compares as False with everything."""
        with pytest.raises(SettingsError, match="score_threshold is nan"):
            reranker.rerank("query", PASSAGES, score_threshold=float("nan"))

    def test_top_n_and_threshold_together(self, reranker: LocalReranker) -> None:
        """The best of those that pass."""
        every = reranker.rerank("query", PASSAGES)
        assert len(every) == len(PASSAGES)
        line = every[4].score
        assert reranker.rerank("query", PASSAGES, score_threshold=line) == every[:5]
        assert reranker.rerank("query", PASSAGES, top_n=2, score_threshold=line) == every[:2]
        assert reranker.rerank("query", PASSAGES, top_n=99) == every


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


class TestFiles:
    """Checkpoints that are not whole."""

    def test_no_such_folder(self, tmp_path: Path) -> None:
        """A path is not taken for a hub id."""
        for path in (tmp_path / "nothing", "./nothing", "~/nothing-here"):
            with pytest.raises(ModelNotFoundError, match=r"no folder .*nothing.*; check the path"):
                embed(path)
            with pytest.raises(ModelNotFoundError, match=r"no folder .*nothing.*; check the path"):
                score(path)

    def test_no_such_repository(self) -> None:
        """Unknown names and an unreachable hub are one case without network."""
        for name in ("nobody/no-such-model", "nobody-at-all"):
            with pytest.raises(ModelNotFoundError, match=rf"{name} .*check the name and the net"):
                embed(name)
            with pytest.raises(ModelNotFoundError, match=rf"{name} .*local folder"):
                score(name, local_files_only=True)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        """No config.json, no model."""
        with pytest.raises(ModelFilesError, match=r"has no config\.json, .*give the folder"):
            embed(tmp_path)

    def test_corrupt_config(self, embedder64: Path, tmp_path: Path) -> None:
        """Half a JSON file is named."""
        folder = _copy(embedder64, tmp_path / "x")
        (folder / "config.json").write_text('{"model_type": "qw')
        with pytest.raises(ModelFilesError, match=r"config\.json is no valid JSON .*again"):
            embed(folder)

    @pytest.mark.parametrize("left", [0, 5, 100, -1, -1000])
    def test_truncated_weights(
        self, embedder64: Path, causal: Path, tmp_path: Path, left: int
    ) -> None:
        """A half download is recognised by its length, wherever it ends."""
        for source, use in ((embedder64, embed), (causal, score)):
            folder = _copy(source, tmp_path / source.name)
            weights = folder / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:left])
            with pytest.raises(
                ModelFilesError, match=r"model\.safetensors .*download(ed)? .*again"
            ):
                use(folder)

    def test_corrupt_weights(self, embedder64: Path, tmp_path: Path) -> None:
        """A header that is no JSON is no safetensors file."""
        folder = _copy(embedder64, tmp_path / "x")
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[8:40] = b"\xff" * 32
        weights.write_bytes(content)
        with pytest.raises(ModelFilesError, match="no safetensors file or is corrupt; download"):
            embed(folder)

    def test_trailing_garbage(self, embedder64: Path, tmp_path: Path) -> None:
        """More bytes than the header promises are as wrong as fewer."""
        folder = _copy(embedder64, tmp_path / "x")
        with (folder / "model.safetensors").open("ab") as file:
            file.write(b"more")
        with pytest.raises(ModelFilesError, match=r"has \d+ bytes where its header promises \d+"):
            embed(folder)

    def test_missing_shard(self, embedder64: Path, tmp_path: Path) -> None:
        """A file that the index names must be there."""
        folder = _copy(embedder64, tmp_path / "x")
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(tensors)
        halves = [names[: len(names) // 2], names[len(names) // 2 :]]
        files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        for file, half in zip(files, halves, strict=True):
            save_file({n: tensors[n] for n in half}, folder / file, metadata={"format": "pt"})
        index = {n: file for file, half in zip(files, halves, strict=True) for n in half}
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": index})
        )
        assert np.array_equal(embed(folder), embed(embedder64)), "both shards are enough"
        (folder / files[1]).unlink()
        with pytest.raises(ModelFilesError, match=rf"lacks \['{files[1]}'\].*download again"):
            embed(folder)

    def test_missing_tensor(self, embedder64: Path, tmp_path: Path) -> None:
        """What transformers would fill at random is refused by name."""
        folder = _copy(embedder64, tmp_path / "x")
        tensors = load_file(folder / "model.safetensors")
        lost = next(name for name in sorted(tensors) if "layers.1.mlp" in name)
        del tensors[lost]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelFilesError, match=r"lacks 1 weights .*layers\.1\.mlp.*random"):
            embed(folder)

    def test_no_weights(self, embedder64: Path, tmp_path: Path) -> None:
        """A folder of small files alone."""
        folder = _copy(embedder64, tmp_path / "x")
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelFilesError, match=r"has no weights .*download the model again"):
            embed(folder)

    def test_pickled_weights_only(self, embedder64: Path, tmp_path: Path) -> None:
        """Pickles can run code, so they are taken only when asked for."""
        folder = _copy(embedder64, tmp_path / "x")
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelFilesError, match=r"only pickled weights .*safetensors_only=False"):
            embed(folder)
        found = embed(folder, safetensors_only=False)
        assert np.array_equal(found, embed(embedder64))

    def test_missing_tokenizer(self, embedder64: Path, causal: Path, tmp_path: Path) -> None:
        """Without a tokenizer there is nothing to compute."""
        for source, use in ((embedder64, embed), (causal, score)):
            folder = _copy(source, tmp_path / source.name)
            (folder / "tokenizer.json").unlink()
            with pytest.raises(ModelFilesError, match=r"has no tokenizer .*copy the model's"):
                use(folder)

    def test_corrupt_tokenizer(self, embedder64: Path, tmp_path: Path) -> None:
        """Half a tokenizer is an error of this library too."""
        folder = _copy(embedder64, tmp_path / "x")
        content = (folder / "tokenizer.json").read_text()
        (folder / "tokenizer.json").write_text(content[: len(content) // 2])
        with pytest.raises(ModelFilesError, match=r"download it again"):
            embed(folder)

    def test_a_tokenizer_of_another_model(self, embedder64: Path, tmp_path: Path) -> None:
        """A tokenizer without Qwen3's control tokens cannot close a text."""
        folder = _copy(embedder64, tmp_path / "x")
        state = json.loads((folder / "tokenizer.json").read_text())
        state["added_tokens"] = []
        state["post_processor"] = None
        (folder / "tokenizer.json").write_text(json.dumps(state))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config |= {"eos_token": None, "pad_token": None}
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFilesError, match=r"no token '<\|endoftext\|>'.*tokenizer\.json"):
            embed(folder)


class TestKinds:
    """Checkpoints of another kind."""

    @pytest.mark.parametrize("form", ["causal", "logit_score", "converted"])
    def test_a_reranker_given_to_the_embedder(
        self, form: str, request: pytest.FixtureRequest
    ) -> None:
        """Refused in every form."""
        folder = request.getfixturevalue(form)
        with pytest.raises(WrongModelError, match=rf"{folder.name} .*reranker"):
            embed(folder)

    def test_an_embedder_given_to_the_reranker(self, embedder64: Path) -> None:
        """It would score anything somehow."""
        with pytest.raises(WrongModelError, match=r"embedding model; .*EmbedderSettings"):
            score(embedder64)

    def test_other_models_given_to_the_reranker(self, minilm: Path, tmp_path: Path) -> None:
        """A BERT knows nothing of this prompt, pooled or not."""
        with pytest.raises(WrongModelError, match=r"embedding model; .*EmbedderSettings"):
            score(minilm)
        bare = _copy(minilm, tmp_path / "bert")
        (bare / "modules.json").unlink()
        with pytest.raises(WrongModelError, match=r"is a BertModel \(bert\).*CrossEncoder"):
            score(bare)

    def test_a_bare_qwen3_given_to_the_reranker(self, embedder64: Path, tmp_path: Path) -> None:
        """A backbone without any head."""
        bare = _copy(embedder64, tmp_path / "bare")
        (bare / "modules.json").unlink()
        with pytest.raises(WrongModelError, match=r"Qwen3Model; .*Qwen3ForCausalLM or"):
            score(bare)

    def test_a_conversion_without_its_head(self, converted: Path, tmp_path: Path) -> None:
        """Transformers would make one up."""
        folder = _copy(converted, tmp_path / "x")
        tensors = load_file(folder / "model.safetensors")
        del tensors["score.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelFilesError, match=r"lacks 1 weights .*score\.weight.*random"):
            score(folder)

    @pytest.mark.parametrize("labels", [2, 3])
    def test_a_classifier_of_several_classes(
        self, causal: Path, tmp_path: Path, labels: int
    ) -> None:
        """Which class would be yes?"""
        folder = checkpoints.write_sequence_classification(tmp_path / "x", causal, labels=labels)
        with pytest.raises(WrongModelError, match=rf"has {labels} classes; .*yes − no"):
            score(folder)

    def test_already_loaded_models_of_another_kind(
        self, embedder64: Path, causal: Path, minilm: Path, tmp_path: Path
    ) -> None:
        """They are checked as folders are."""
        from sentence_transformers import CrossEncoder, SentenceTransformer

        cross = CrossEncoder(str(causal), device="cpu")
        two = checkpoints.write_sequence_classification(tmp_path / "x", causal, labels=2)
        cases: list[tuple[Any, str]] = [
            (SentenceTransformer(str(embedder64), device="cpu"), "is a SentenceTransformer"),
            (CrossEncoder(str(two), device="cpu"), "has 2 classes"),
            (object(), "is a object"),
        ]
        for loaded, message in cases:
            opened = open_reranker(RerankerSettings(), loaded=loaded)
            with pytest.raises(WrongModelError, match=message):
                opened.score([("a", "b")])
            opened.close()
        other = open_embedder(EmbedderSettings(), loaded=cross)  # type: ignore[arg-type] # on purpose
        with pytest.raises(WrongModelError, match="is a CrossEncoder; an embedder needs"):
            other.embed_documents(["a"])
        other.close()

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
    def test_an_adapter_that_fits_nothing(
        self, embedder64: Path, embedder_lora: Path, tmp_path: Path
    ) -> None:
        """An adapter whose weights find no place would leave the base as it was."""
        folder = _copy(embedder_lora, tmp_path / "x")
        tensors = load_file(folder / "adapter_model.safetensors")
        renamed = {name.replace("layers", "blocks"): value for name, value in tensors.items()}
        save_file(renamed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelFilesError, match=r"adapter"):
            embed(folder)

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
    def test_an_adapter_of_another_size(
        self, embedder64: Path, embedder128: Path, embedder_lora: Path, tmp_path: Path
    ) -> None:
        """An adapter over a base of other shapes is refused with the names of both."""
        folder = _copy(embedder_lora, tmp_path / "x")
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = str(embedder128)
        (folder / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFilesError, match=r"embedder128|x cannot be loaded"):
            embed(folder)

    def test_an_adapter_without_a_base(self, embedder_lora: Path, tmp_path: Path) -> None:
        """The base is named in the adapter's configuration, or nowhere."""
        folder = _copy(embedder_lora, tmp_path / "x")
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = None
        (folder / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFilesError, match=r"names no base model; add base_model_name"):
            embed(folder)


class TestComputing:
    """What goes wrong while computing."""

    def test_out_of_memory(self, embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
        """Results are the same in smaller batches, and it is said once."""
        texts = [f"{passage} {n}" for n in range(6) for passage in PASSAGES]
        expected = embedder.embed_documents(texts)
        replica = embedder.replicas()[0]
        compute, refused = replica.compute, []

        def small(items: Any) -> Any:
            if len(items) > 5:
                refused.append(len(items))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return compute(items)

        monkeypatch.setattr(replica, "compute", small)
        with pytest.warns(MemoryWarning) as caught:
            found = embedder.embed_documents(texts)
        assert len(caught) == 1
        assert "batch_tokens" in str(caught[0].message)
        assert refused[0] > 10
        assert np.abs(found - expected).max() < 1e-5

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_numbers_that_are_none(self, embedder64: Path, tmp_path: Path, bad: float) -> None:
        """The text whose vector is not finite is named by its place in the input."""
        folder = _copy(embedder64, tmp_path / "x")
        tokenizer = PlainEmbedder(folder).tokenizer
        (poisoned,) = tokenizer("é", add_special_tokens=False)["input_ids"][-1:]
        tensors = load_file(folder / "model.safetensors")
        tensors["embed_tokens.weight"][poisoned] = bad
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        texts = ["fine", "fine", "good", "é", "fine", "é"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(NonFiniteError, match=r"text 3 .*2 of 6.*dtype='float32'"):
                embed(folder, texts)

    def test_scores_that_are_none(self, causal: Path, tmp_path: Path) -> None:
        """The pair whose score is not finite is named by its place in the input."""
        folder = _copy(causal, tmp_path / "x")
        tokenizer = PlainReranker(causal).tokenizer
        (poisoned,) = tokenizer("é", add_special_tokens=False)["input_ids"][-1:]
        tensors = load_file(folder / "model.safetensors")
        tensors["model.embed_tokens.weight"][poisoned] = float("nan")
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        opened = open_reranker(RerankerSettings(model=str(folder), dtype="float32"))
        with pytest.raises(NonFiniteError, match=r"pair 2 .*1 of 3"):
            opened.rerank("query", ["fine", "fine", "é"])
        opened.close()

    def test_extreme_logits_are_probabilities(
        self, reranker: LocalReranker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Very sure models give 0 and 1 without overflowing."""
        logits = iter([np.array([-2000.0, 2000.0, 0.0], np.float32)])
        monkeypatch.setattr(reranker.replicas()[0], "compute", lambda items: next(logits))
        found = reranker.score([("q", "aaa aaa"), ("q", "bb bb"), ("q", "c")])
        assert sorted(found) == [0.0, 0.5, 1.0]


class TestClosed:
    """Use after close."""

    async def test_every_call_raises(self, embedder64: Path, causal: Path) -> None:
        """The model is named, and the remedy; closing twice is fine."""
        embedder = open_embedder(EmbedderSettings(model=str(embedder64)))
        reranker = open_reranker(RerankerSettings(model=str(causal)))
        embedder.embed_documents(["x"])
        await embedder.aclose()
        embedder.close()
        reranker.close()
        await reranker.aclose()
        for call in (
            lambda: embedder.embed_documents(["x"]),
            lambda: embedder.embed_queries(["x"]),
            lambda: embedder.embed_documents([]),
            lambda: embedder.dimensions,
            lambda: reranker.rerank("x", ["x"]),
            lambda: reranker.rerank("x", []),
            lambda: reranker.score([("x", "x")]),
        ):
            with pytest.raises(ClosedError, match=r"closed; open it again"):
                call()
        for acall in (
            lambda: embedder.aembed_documents(["x"]),
            lambda: embedder.aembed_queries(["x"]),
            lambda: reranker.arerank("x", ["x"]),
            lambda: reranker.ascore([("x", "x")]),
        ):
            with pytest.raises(ClosedError, match=r"closed; open it again"):
                await acall()
