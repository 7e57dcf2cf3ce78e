"""Published instructions go by name, and a name that is none is not taken for an instruction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.flow import with_preset
from qwen_retrieval.instructions import PRESETS, find_preset, instruction_text

SCIFACT = "Given a scientific claim, retrieve documents that support or refute the claim"


@pytest.mark.parametrize("name", ["SciFact", "scifact", "SCIFACT"])
def test_a_preset_is_found_in_any_case(name: str) -> None:
    """Task names are spelt in many ways."""
    assert instruction_text(name) == SCIFACT


@pytest.mark.parametrize(
    "instruction",
    ["Find cats", "", "检索相关段落", "Find the manual page.", "find_it in the manual"],
)
def test_free_words_are_an_instruction(instruction: str) -> None:
    """A sentence, none at all, or a language without spaces is taken as it is."""
    assert instruction_text(instruction) == instruction
    assert find_preset(instruction) is None


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A single word is a name, since an instruction is a sentence."""
    with pytest.raises(SettingsError, match=r"no preset 'sci-fact' .*did you mean SciFact"):
        instruction_text("sci-fact")
    with pytest.raises(SettingsError, match=r"no preset 'xyzzy' among the instructions\. An"):
        instruction_text("xyzzy")


def test_a_preset_with_words_for_documents_gives_them_too() -> None:
    """Two published tasks put the instruction before documents as well; own prompts win."""
    plain = with_preset(EmbedderSettings(query_instruction="scifact"))
    both = with_preset(EmbedderSettings(query_instruction="arguana"))
    own = with_preset(EmbedderSettings(query_instruction="arguana", document_prompt="d: "))
    claim = "Given a claim, find documents that refute the claim"
    assert (plain.query_instruction, plain.document_prompt) == (SCIFACT, None)
    assert (both.query_instruction, both.document_prompt) == (claim, f"Instruct: {claim}\nQuery:")
    assert own.document_prompt == "d: "


def test_presets_are_the_published_ones(material: Path) -> None:
    """Word for word, with their slips."""
    path = material.parent / "qwen3" / "configs" / "task_instructions.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    for name, words in published.items():
        if name.startswith("_"):
            continue
        query, document = (
            (words["query"], words["passage"]) if isinstance(words, dict) else (words, None)
        )
        assert (PRESETS[name].query, PRESETS[name].document) == (query, document)
    assert set(PRESETS) - set(published) == {"default", "default-reranker"}
    assert PRESETS["default-reranker"].query == published["_default_reranker_eval"]
    assert PRESETS["default"].query == published["_default_query_prompt_of_sentence_transformers"]
