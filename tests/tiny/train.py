"""Makes both tiny checkpoints: `python tests/tiny/train.py` with QWEN_RETRIEVAL_MATERIAL set.

Stages, each skipped where its result lies in the work folder (TINY_WORK) already:

1. a byte-level BPE vocabulary;
2. the teacher's vectors of tokens and texts;
3. token tables, with sentence-transformers' trainer: weakly supervised pairs first, then triplets
   with hard negatives and instructions, then, for the reranker only, the teacher's vectors too;
4. the two networks, built from their tables (`start_embedder`, `start_reranker`).
"""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

if __package__ in {None, ""}:  # run as a plain script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = "tiny"

from tiny import corpus, judged, network, prompts, questions, static, tasks, tokens, vocabulary
from tiny.settings import (
    EMBEDDER,
    EMBEDDER_FOLDER,
    INSTRUCTIONS,
    RERANKER,
    RERANKER_FOLDER,
    SEED,
    VOCABULARY,
    WORK_FOLDER,
)
from tiny.start_embedder import WIDTH, start_embedder
from tiny.start_instructions import Sample, fit_instructions
from tiny.start_reranker import centre, start_reranker
from tiny.synonyms import Thesaurus
from tiny.tasks import Function, Row
from tiny.teacher import Teacher

log = logging.getLogger("tiny")

PACKAGES = 70_000
OTHERS = {"debian": 45_000, "shell": 25_000, "gloss": 100_000, "example": 40_000}
SPREAD = 2.0  # deviation of the reranker's logits over training pairs

#: Rows, epochs, rate and the weight of the teacher, stage by stage.
WEAK = (120_000, static.Plan(1, 2e-2, 0.0))
EMBEDDER_SUPERVISED = (70_000, static.Plan(1, 4e-3, 0.0))
RERANKER_WEAK = (400_000, static.Plan(1, 4e-3, 0.0))
RERANKER_TAUGHT = (100_000, static.Plan(2, 2e-3, 10.0))
RERANKER_SUPERVISED = (200_000, static.Plan(1, 3e-3, 10.0))


class Material:
    """All training rows, made once; a fixed part of the functions is held out."""

    def __init__(self) -> None:
        """Read everything."""
        rng = random.Random(SEED)
        thesaurus = Thesaurus.from_material()
        self.library, packages = tasks.library_functions(), tasks.package_functions()
        rng.shuffle(self.library)
        rng.shuffle(packages)
        self.held_out, self.library = self.library[:400], self.library[400:]
        self.packages = packages[1500:][:PACKAGES]
        self.library_rows = tasks.function_rows(self.library, thesaurus, rng, 3)
        self.package_rows = tasks.function_rows(self.packages, thesaurus, rng)
        self.other_rows = tasks.other_rows(rng, OTHERS)
        texts = {entry.id: entry.text for entry in judged.entries()}
        code = {function.title: function.code for function in self.library}
        titles = {entry.id: entry.title[:120] for entry in judged.entries()}
        self.written = [
            (query, texts[entry][: tasks.DOCUMENT_CHARACTERS], code.get(titles[entry], ""))
            for query, entry in questions.written_questions()[0]
        ]

    def weak(self, seed: int) -> list[Row]:
        """Return pairs of all sources, without instructions."""
        rows = self.library_rows * 2 + self.other_rows
        rows += [row for row in self.package_rows if row.task == "web"]
        pairs = [Row("", row.query, row.positive) for row in rows]
        pairs += [Row("", query, text) for query, text, _ in self.written] * 8
        random.Random(seed).shuffle(pairs)
        return pairs

    def supervised(self, seed: int) -> list[Row]:
        """Return rows with their task; where a function has both kinds of text, triplets."""
        rng = random.Random(seed)
        rows = self.library_rows * 2 + self.package_rows[:60_000]
        rows += rng.sample(self.other_rows, min(len(self.other_rows), 50_000))
        for query, text, code in self.written:
            rows += [Row("web", query, text, code)] * 8
            rows += [Row("code", query, code, text)] * 4 if code else []
        rng.shuffle(rows)
        return rows

    def taught(self, teacher: Teacher) -> tuple[list[str], NDArray[np.float32]]:
        """Return texts and the teacher's centred vectors of them."""
        texts = [row.query for row in self.library_rows]
        texts += [function.entry() for function in self.library]
        texts += [query for query, _, _ in self.written] * 3
        texts += [row.query for row in self.package_rows if row.task == "web"][:12_000]
        texts += [row.positive for row in self.package_rows if row.task == "web"][:5_000]
        random.Random(SEED).shuffle(texts)
        vectors = teacher.encode(texts)
        return texts, vectors - vectors.mean(0)


def main() -> None:
    """Run every stage."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    tokenizer = _tokenizer()
    teacher = Teacher(WORK_FOLDER / "teacher")
    material = Material()
    _make_embedder(tokenizer, _embedder_table(tokenizer, teacher, material), material)
    _make_reranker(tokenizer, _reranker_table(tokenizer, teacher, material), material)


def _tokenizer() -> Tokenizer:
    path = WORK_FOLDER / "tokenizer" / "tokenizer.json"
    if not path.exists():
        texts = corpus.tokenizer_texts(SEED)
        made = vocabulary.train_tokenizer(texts, VOCABULARY, INSTRUCTIONS.values())
        vocabulary.save_tokenizer(made, path.parent, append_end=False)
    return Tokenizer.from_file(str(path))


def _start(tokenizer: Tokenizer, teacher: Teacher, material: Material) -> NDArray[np.float32]:
    rows = material.package_rows + material.library_rows
    rows = random.Random(SEED).sample(rows, min(len(rows), 60_000))
    counts = tokens.token_counts(tokenizer, [text for r in rows for text in (r.query, r.positive)])
    return tokens.starting_vectors(tokenizer, teacher, counts, WIDTH)


def _stage(  # noqa: PLR0913 - a stage is what these six say
    name: str,
    tokenizer: Tokenizer,
    start: NDArray[np.float32],
    rows: list[Row],
    plan: static.Plan,
    taught: tuple[list[str], NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    path = WORK_FOLDER / f"{name}.npy"
    if not path.exists():
        log.info("stage %s: %d rows", name, len(rows))
        nothing: tuple[list[str], NDArray[np.float32]] = ([], np.zeros((0, 384), np.float32))
        given = nothing if taught is None else taught
        table = static.train_table(tokenizer, start, rows, given, plan, WORK_FOLDER / name)
        np.save(path, table)
    loaded: NDArray[np.float32] = np.load(path)
    return loaded


def _embedder_table(
    tokenizer: Tokenizer, teacher: Teacher, material: Material
) -> NDArray[np.float32]:
    count, plan = WEAK
    start = _start(tokenizer, teacher, material)
    weak = _stage("embedder-weak", tokenizer, start, material.weak(5)[:count], plan)
    count, plan = EMBEDDER_SUPERVISED
    rows = material.supervised(8)[:count]
    return _stage("embedder-supervised", tokenizer, weak, rows, plan)


def _reranker_table(
    tokenizer: Tokenizer, teacher: Teacher, material: Material
) -> NDArray[np.float32]:
    taught = material.taught(teacher)
    count, plan = RERANKER_WEAK
    table = _start(tokenizer, teacher, material)
    table = _stage("reranker-weak", tokenizer, table, material.weak(5)[:count], plan)
    count, plan = RERANKER_TAUGHT
    table = _stage("reranker-taught", tokenizer, table, material.weak(7)[:count], plan, taught)
    count, plan = RERANKER_SUPERVISED
    rows = material.supervised(8)[:count]
    return _stage("reranker-supervised", tokenizer, table, rows, plan, taught)


def _make_embedder(tokenizer: Tokenizer, table: NDArray[np.float32], material: Material) -> None:
    model = start_embedder(tokenizer, table, EMBEDDER, seed=1)
    rng = random.Random(1)
    rows = material.library_rows + material.package_rows[:20_000] + material.other_rows
    samples = {}
    for task in INSTRUCTIONS:
        known = [row for row in rows if row.task == task]
        if not known:  # a machine without the material may lack a task
            continue
        drawn = rng.sample(known, min(200, len(known)))
        samples[task] = Sample([row.query for row in drawn], [row.positive[:300] for row in drawn])
    fit_instructions(model, tokenizer, samples, table, EMBEDDER)
    network.save_network(model, tokenizer, EMBEDDER_FOLDER, reranker=False)


def _make_reranker(tokenizer: Tokenizer, table: NDArray[np.float32], material: Material) -> None:
    kind = table[tokenizer.token_to_id(static.KINDS["web"])]
    model = start_reranker(tokenizer, table, kind, RERANKER, seed=1)
    others: list[Function] = random.Random(1).sample(material.library, 40)
    pairs = [(query, text) for query, text, _ in material.written[:40]]
    pairs += [(query, other.entry()) for (query, _), other in zip(pairs, others, strict=True)]
    rendered = [
        prompts.reranker_prompt(INSTRUCTIONS["web"], query, text[:220]) for query, text in pairs
    ]
    centre(model, tokenizer, rendered, SPREAD)
    network.save_network(model, tokenizer, RERANKER_FOLDER, reranker=True)


if __name__ == "__main__":
    main()
