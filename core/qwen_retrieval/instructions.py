"""The published task instructions, by name.

Source: the task prompts of Qwen3-Embedding's own evaluation (QwenLM/Qwen3-Embedding,
``evaluation/task_prompts.json``, as repeated in HKUST-KnowComp/Reasoning-Embedding), word for word
with their slips, since the published figures were measured with them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import SettingsError

_SIMILAR = "Retrieve semantically similar text"
_CODE = "Given a question about coding, retrieval code or passage that can solve user's question"
_COMMENT = "Given a code snippet, retrieve the comment corresponding to that code."
_CHINESE = "Given a Chinese search query, retrieve web passages that answer the question"
_PASSAGE = "Retrieval the relevant passage for the given query"
_DUPLICATES = (
    "Given a question, retrieve detailed question descriptions from Stackexchange that are"
    " duplicates to the given question"
)
_REFUTE = "Given a claim, find documents that refute the claim"


@dataclass(frozen=True, slots=True)
class Preset:
    """A task's published instruction.

    Attributes:
        query: what queries carry.
        document: what documents carry in the same template; None, the rule, for nothing.
    """

    query: str
    document: str | None = None


PRESETS: dict[str, Preset] = {
    "default": Preset(DEFAULT_INSTRUCTION),
    "default-reranker": Preset("Given the user query, retrieval the relevant passages"),
    "AILAStatutes": Preset("Identifying the most relevant statutes for a given situation"),
    "AppsRetrieval": Preset(
        "Given a question about code problem, retrieval code that can solve user's problem"
    ),
    "ArguAna": Preset(_REFUTE, _REFUTE),
    "AskUbuntuDupQuestions": Preset("Retrieve duplicate questions from AskUbuntu forum"),
    "Banking77Classification": Preset(
        "Given a online banking query, find the corresponding intents"
    ),
    "BelebeleRetrieval": Preset(_PASSAGE),
    "COIRCodeSearchNetRetrieval": Preset(_COMMENT),
    "CQADupstackGamingRetrieval": Preset(_DUPLICATES, _DUPLICATES),
    "CodeSearchNetRetrieval": Preset(_COMMENT),
    "CosQA": Preset(_CODE),
    "DuRetrieval": Preset(_CHINESE),
    "FiQA2018": Preset(
        "Given a financial question, retrieve user replies that best answer the question"
    ),
    "FloresBitextMining": Preset("Retrieve parallel sentences"),
    "LEMBPasskeyRetrieval": Preset(_PASSAGE),
    "MIRACLRetrievalHardNegatives": Preset("Retrieval relevant passage for the given query"),
    "MLQARetrieval": Preset(_PASSAGE),
    "MSMARCO": Preset(DEFAULT_INSTRUCTION),
    "NFCorpus": Preset(
        "Given a question, retrieve relevant documents that best answer the question"
    ),
    "SCIDOCS": Preset(
        "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper"
    ),
    "STSB": Preset(_SIMILAR),
    "STSBenchmark": Preset(_SIMILAR),
    "STSBenchmarkMultilingualSTS": Preset(_SIMILAR),
    "SciDocsRR": Preset(
        "Given a title of a scientific paper, retrieve the titles of other relevant papers"
    ),
    "SciFact": Preset(
        "Given a scientific claim, retrieve documents that support or refute the claim"
    ),
    "StackOverflowDupQuestions": Preset("Retrieve duplicate questions from StackOverflow forum"),
    "StackOverflowQA": Preset(_CODE),
    "T2Retrieval": Preset(_CHINESE),
    "TRECCOVID": Preset("Given a query on COVID-19, retrieve documents that answer the query"),
    "Tatoeba": Preset("Retrieve parallel sentences"),
    "TwentyNewsgroupsClustering": Preset("Identify the topic or theme of the given news articles"),
}
"""Task names of MTEB, and two defaults; looked up without regard to case."""

_BY_FOLDED_NAME = {name.casefold(): preset for name, preset in PRESETS.items()}
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")


def find_preset(instruction: str) -> Preset | None:
    """Return the preset of that name in any case, or None for an instruction in free words.

    A single word of ASCII letters, digits, hyphens, underscores and dots is a name, because an
    instruction is a sentence; anything else is taken as the instruction itself.

    Raises:
        SettingsError: it is a name, but of no preset; the message suggests the nearest.
    """
    preset = _BY_FOLDED_NAME.get(instruction.casefold())
    if preset is not None or _NAME.fullmatch(instruction) is None:
        return preset
    folded = {name.casefold(): name for name in PRESETS}
    near = difflib.get_close_matches(instruction.casefold(), folded, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(folded[name] for name in near)}?" if near else "."
    raise SettingsError(
        f"there is no preset {instruction!r} among the instructions{meant} An instruction of your"
        " own is a sentence; `qwen-retrieval instructions` lists the presets."
    )


def instruction_text(instruction: str | None) -> str | None:
    """Return what queries are to carry for a preset's name or an instruction in free words.

    None and "" come back as they are: the model's default, and no instruction.
    """
    preset = None if instruction is None else find_preset(instruction)
    return instruction if preset is None else preset.query
