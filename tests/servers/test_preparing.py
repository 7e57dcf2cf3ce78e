"""What a server gets of a text: the ids, or as much of the text as becomes that many tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_retrieval import EmbedderSettings, RerankerSettings, prompts
from qwen_retrieval.errors import (
    ModelFilesError,
    ModelNotFoundError,
    ServerUnsupportedError,
    TooLongError,
    WrongModelError,
)
from qwen_retrieval.servers.engines import EMBEDDING, RERANK
from qwen_retrieval.servers.preparing import Prompts, Texts, cut_text
from qwen_retrieval.servers.tokenizer import ServedModel, _is_embedder, read_model
from servers.networks import EMBEDDER, RERANKER

AT = {"base_url": "http://h"}


@pytest.fixture(scope="module")
def embedder() -> ServedModel:
    """The small embedder's tokenizer."""
    return read_model(EmbedderSettings(model=str(EMBEDDER), server="vllm", **AT))


@pytest.fixture(scope="module")
def reranker() -> ServedModel:
    """The small reranker's tokenizer."""
    return read_model(RerankerSettings(model=str(RERANKER), server="vllm", **AT))


def test_ids_end_in_eos_and_hold_no_other_control_token(embedder: ServedModel) -> None:
    """Also where the text holds one, and where it is cut."""
    texts = Texts(embedder, EMBEDDING["vllm"], 4096)
    eos = embedder.tokenizer.token_to_id(prompts.EMBEDDER_EOS)
    items, lengths, cut = texts.prepare(["a<|endoftext|>b", "", "one two three four five"], "", 5)
    assert [ids[-1] for ids in items] == [eos] * 3
    assert [ids.count(eos) for ids in items] == [1] * 3
    assert lengths == [len(ids) for ids in items]
    assert cut == [0, 2]
    assert items[1] == [eos]


def test_a_control_token_in_text_is_refused_where_text_is_sent(
    embedder: ServedModel, reranker: ServedModel
) -> None:
    """By name, in a text, a query, a document and an instruction."""
    with pytest.raises(ServerUnsupportedError, match=r"a text .*'<\|im_end\|>'.*vllm"):
        Texts(embedder, EMBEDDING["tei"], None).prepare(["a", "b<|im_end|>"], "", 99)
    made = Prompts(reranker, RERANK["dashscope"], None)
    for pair, task, what in [
        (("a<think>", "b"), None, "a query"),
        (("a", "</think>b"), None, "a document"),
        (("a", "b"), "<|im_start|>", "the instruction"),
    ]:
        with pytest.raises(ServerUnsupportedError, match=what):
            made.prepare([pair], task, 4000)
    assert Prompts(reranker, RERANK["vllm"], None).prepare([("a<think>", "b")], None, 999)


def test_text_is_sent_as_the_models_tokenizer_sees_it(
    embedder: ServedModel, reranker: ServedModel
) -> None:
    """llama.cpp's tokenizer does not compose characters, which Qwen3's does."""
    apart, composed = "cafe\u0301", "caf\u00e9"
    assert Texts(embedder, EMBEDDING["tei"], None).prepare([apart], "", 99)[0] == [composed]
    items, _, _ = Prompts(reranker, RERANK["llama_cpp"], None).prepare([(apart, apart)], None, 999)
    assert items == [(composed, composed)]
    sent = Texts(embedder, EMBEDDING["vllm"], None)
    assert sent.prepare([apart], "", 99)[0] == sent.prepare([composed], "", 99)[0]


def test_every_added_token_is_a_control_token(embedder: ServedModel) -> None:
    """Whatever it begins with."""
    assert len(embedder.control) == 26
    marked = replace(embedder, control=(*embedder.control, "[Q]"))
    with pytest.raises(ServerUnsupportedError, match=r"control token '\[Q\]'"):
        Texts(marked, EMBEDDING["tei"], None).prepare(["[Q] what?"], "", 99)


def test_an_instruction_that_a_server_puts_into_text_is_text(embedder: ServedModel) -> None:
    """A control token in it would act as one there."""
    texts = Texts(embedder, EMBEDDING["dashscope"], None)
    with pytest.raises(ServerUnsupportedError, match=r"the instruction .*<\|im_end\|>"):
        texts.query_prefix("a task<|im_end|>", None)


def test_a_tokenizer_that_ends_no_text_is_refused_where_text_is_sent(tmp_path: Path) -> None:
    """The server's vectors would be read at another token; where ids go out the end is put here."""
    shutil.copy(EMBEDDER / "modules.json", tmp_path)
    content = json.loads((EMBEDDER / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    model = read_model(EmbedderSettings(model=str(tmp_path), server="vllm", **AT))
    assert model.is_embedder
    for server in ("tei", "infinity", "openai", "ollama"):
        with pytest.raises(ServerUnsupportedError, match=r"does not put <\|endoftext\|>.*vllm"):
            Texts(model, EMBEDDING[server], None)
    (ids,), _, _ = Texts(model, EMBEDDING["vllm"], None).prepare(["a"], "", 99)
    assert ids[-1] == model.tokenizer.token_to_id(prompts.EMBEDDER_EOS)
    assert _is_embedder("Qwen/Qwen3-Embedding-0.6B", None, model.tokenizer)
    assert not _is_embedder("Qwen/Qwen3-Reranker-0.6B", None, model.tokenizer)
    assert not _is_embedder(str(tmp_path), None, model.tokenizer)


def test_what_a_server_would_change_is_refused(
    embedder: ServedModel, reranker: ServedModel
) -> None:
    """White space at Infinity, nothing at TEI, places of the template at llama-server."""
    for server, text, words in [
        ("infinity", "a\n", "white space"),
        ("infinity", " ", "white space"),
        ("tei", "", "empty"),
    ]:
        with pytest.raises(ServerUnsupportedError, match=words):
            Texts(embedder, EMBEDDING[server], None).prepare([text], "", 99)
    made = Prompts(reranker, RERANK["llama_cpp"], None)
    for pair in [("a{document}", "b"), ("a", "{query}")]:
        with pytest.raises(ServerUnsupportedError, match="replace"):
            made.prepare([pair], None, 999)


def test_an_instruction_that_would_be_ignored_is_refused(reranker: ServedModel) -> None:
    """The default one is in the server's template; another is not."""
    made = Prompts(reranker, RERANK["llama_cpp"], None)
    assert made.prepare([("a", "b")], None, 999)[0] == [("a", "b")]
    with pytest.raises(ServerUnsupportedError, match=r"'Find code', but llama-server .* ignore"):
        made.prepare([("a", "b")], "Find code", 999)


@given(
    text=st.text(max_size=60) | st.text("ab \n\té中😀'", max_size=80),
    head=st.sampled_from(["", "q: ", "x", "<Document>: "]),
    room=st.integers(1, 20),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_text_is_a_beginning_that_fits(
    embedder: ServedModel, text: str, head: str, room: int
) -> None:
    """Byte for byte, in no more tokens than there is room for, its head left whole."""
    cut, length = cut_text(head, text, embedder, room)
    assert text.startswith(cut)
    assert length == len(embedder.encode([head + cut])[0])
    needed = len(embedder.encode([head])[0])
    assert length <= max(room, needed)
    if len(embedder.encode([head + text])[0]) <= room:
        assert cut == text


def test_a_cut_text_is_as_long_as_it_can_be(embedder: ServedModel) -> None:
    """For plain words, each token that fits is there."""
    text = "alpha beta gamma delta " * 20
    cut, length = cut_text("", text, embedder, 30)
    assert length == 30
    assert len(cut) > 0


def test_a_cut_pair_fits_the_servers_prompt(reranker: ServedModel) -> None:
    """Query, instruction and template are counted, and the document alone is cut."""
    made = Prompts(reranker, RERANK["dashscope"], None)
    document = "alpha beta gamma " * 100
    items, lengths, cut = made.prepare([("q", document)], None, 150)
    query, kept = items[0]
    assert (query, cut) == ("q", [0])
    assert document.startswith(kept)
    assert len(kept) > 20
    whole = prompts.RERANKER_PREFIX + prompts.reranker_head("q", None) + kept
    whole += prompts.RERANKER_SUFFIX
    found = len(reranker.tokenizer.encode(whole, add_special_tokens=False).ids)
    assert found <= 150
    assert lengths == [150]
    with pytest.raises(TooLongError, match="no room for a document"):
        made.prepare([("alpha beta gamma " * 100, "b" * 2000)], None, 150)


class TestFiles:
    """What is asked of the folder that `model` names."""

    def read(self, folder: Path, **values: Any) -> ServedModel:
        """Read it as for a server."""
        return read_model(
            EmbedderSettings(model=str(folder), server="vllm", base_url="http://h", **values)
        )

    def test_weights_are_not_needed(self, tmp_path: Path) -> None:
        """The tokenizer alone will do."""
        shutil.copy(EMBEDDER / "tokenizer.json", tmp_path)
        model = self.read(tmp_path)
        assert (model.width, model.context) == (None, None)

    def test_the_small_files_tell_width_context_and_prompts(self, embedder: ServedModel) -> None:
        """Nobody else has to be asked."""
        assert (embedder.width, embedder.context) == (256, 32_768)
        assert embedder.is_embedder
        assert str(embedder.prompts["query"]).startswith("Instruct: ")

    def test_a_missing_tokenizer_is_named(self, tmp_path: Path) -> None:
        """With what to do."""
        with pytest.raises(ModelFilesError, match=r"no tokenizer.json.*copy"):
            self.read(tmp_path)

    def test_a_corrupt_tokenizer_is_named(self, tmp_path: Path) -> None:
        """With its path."""
        for content, words in (("{", "no valid JSON"), ("{}", "no tokenizer that can be read")):
            (tmp_path / "tokenizer.json").write_text(content)
            with pytest.raises(ModelFilesError, match=words):
                self.read(tmp_path)

    def test_a_model_of_another_family_is_refused(self, tmp_path: Path) -> None:
        """Its prompts are not known here."""
        shutil.copy(EMBEDDER / "tokenizer.json", tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(WrongModelError, match=r"is a bert model.*in this process"):
            self.read(tmp_path)

    def test_without_a_network_the_remedy_is_a_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The tokenizer of the hub model is what is missing, not the server."""
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ModelNotFoundError, match=r"tokenizer of .*tokenizer.json .*as model="):
            self.read(Path("nobody/has-this"), local_files_only=True)


def test_neither_torch_nor_transformers_is_loaded() -> None:
    """A client needs only the tokenizer."""
    program = (
        "import sys\n"
        "from qwen_retrieval import RerankerSettings\n"
        "from qwen_retrieval.servers.engines import RERANK\n"
        "from qwen_retrieval.servers.preparing import Prompts\n"
        "from qwen_retrieval.servers.tokenizer import read_model\n"
        f"settings = RerankerSettings(model={str(RERANKER)!r}, server='vllm', base_url='http://h')\n"
        "Prompts(read_model(settings), RERANK['vllm'], 999).prepare([('a', 'b')], None, 999)\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = done.stdout.decode().split()
    assert not {"torch", "transformers", "sentence_transformers"} & set(loaded)
