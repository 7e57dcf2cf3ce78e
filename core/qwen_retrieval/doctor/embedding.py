"""The checks of embedders."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import numpy as np

from qwen_retrieval.catalog import MIN_DIMENSIONS
from qwen_retrieval.doctor import golden
from qwen_retrieval.doctor.candidates import NEAR_COSINE, cosines
from qwen_retrieval.doctor.checks import Check, fix, gets_ids, listed, reachable, serves
from qwen_retrieval.doctor.probes import (
    ANSWERS,
    INSTRUCTION,
    QUERIES,
    TEXTS,
    TRAPS,
    long_text,
    sentence_tokens,
)
from qwen_retrieval.doctor.report import Finding, failed, passed, skipped
from qwen_retrieval.doctor.subject import EmbedderSubject
from qwen_retrieval.errors import ServerRefusedError

SAME_COSINE = 0.999
"""Of two computations of the same sequence, in whatever precision."""

UNIT = 1e-3
"""How far a vector's length may be from one."""

NO_REFERENCE = "needs a copy of the model to compare with: --local FOLDER"


def kind(subject: EmbedderSubject) -> Finding:
    """See whether texts are embedded at all."""
    subject.text_vectors(TEXTS[:1])
    return passed("embeds")


def width(subject: EmbedderSubject) -> Finding:
    """Compare the width with the model's."""
    found, expected = subject.text_vectors(TEXTS[:1]).shape[1], subject.model.width
    if expected is None or found == expected or subject.is_foreign:
        return passed(f"{found}")
    return failed(f"{found} instead of {expected}", fix(subject, "model"))


def eos(subject: EmbedderSubject) -> Finding:
    """See whether texts end with the end token, once."""
    diagnosis, ids = subject.diagnosis, subject.server_ids(TEXTS[0])
    if diagnosis is not None and diagnosis.agrees and "EOS" in diagnosis.nearest:
        return failed(
            f"{diagnosis.nearest}: cosine {diagnosis.best:.4f} to that,"
            f" {diagnosis.right:.4f} to the right vectors",
            fix(subject, "EOS"),
        )
    if diagnosis is not None and diagnosis.agrees:
        return passed("texts end with <|endoftext|>, once")
    if ids is None:
        return skipped(NO_REFERENCE)
    if ids[-1:] == [subject.eos] and ids[-2:-1] != [subject.eos]:
        return passed("the server's tokenizer appends <|endoftext|>")
    return failed(f"the server makes {ids[-3:]} of a text's end", fix(subject, "EOS"))


def pooling(subject: EmbedderSubject) -> Finding:
    """See whether the last token's state is the vector."""
    diagnosis, told = subject.diagnosis, _told_pooling(subject)
    if diagnosis is not None and diagnosis.agrees and "pooling" in diagnosis.nearest:
        return failed(
            f"{diagnosis.nearest}: cosine {diagnosis.right:.4f} to the right vectors",
            fix(subject, "pooling"),
        )
    if told is not None and told not in {"last_token", "last"}:
        return failed(f"the server says {told}", fix(subject, "pooling"))
    if told is not None:
        return passed(f"the server says {told}")
    if subject.copy is None:
        return skipped(NO_REFERENCE)
    return passed("the last token's")


def doubled(subject: EmbedderSubject) -> Finding:
    """See whether the server puts a text of its own before texts."""
    ids, right = subject.server_ids(TEXTS[0]), subject.ids(TEXTS[0])
    if ids is not None:
        place = next((n for n in range(len(ids)) if ids[n : n + len(right)] == right), None)
        if place:
            added = subject.model.tokenizer.decode(ids[:place])
            return failed(
                f"the server puts {added!r:.60} before every text",
                fix(subject, "instruction doubled"),
            )
    diagnosis = subject.diagnosis
    if diagnosis is not None and diagnosis.agrees and diagnosis.nearest == "instruction":
        return failed(
            "the server puts the query instruction before every text",
            fix(subject, "instruction doubled"),
        )
    if ids is None and diagnosis is None:
        return skipped(NO_REFERENCE)
    return passed("nothing stands before a text")


def same_model(subject: EmbedderSubject) -> Finding:
    """Compare vectors with the copy's, or with published ones."""
    if subject.copy is not None:
        wanted = subject.copy.last([[*subject.ids(text), subject.eos] for text in TEXTS])
        found = np.asarray(subject.client.embed_documents(TEXTS))
        if found.shape != wanted.shape:
            return failed(f"{found.shape[1]} numbers, {wanted.shape[1]}", fix(subject, "model"))
        near = float(cosines(found, wanted).min())
        words = f"smallest cosine to the copy {near:.6f}"
        return passed(words) if near >= NEAR_COSINE else failed(words, fix(subject, "model"))
    known = None if subject.is_foreign else golden.similarities(subject.settings.model)
    if known is None:
        return skipped(NO_REFERENCE)
    queries = subject.client.embed_queries(known.queries)
    found = queries @ np.asarray(subject.client.embed_documents(known.documents)).T
    apart = float(np.abs(found - known.values).max())
    words = f"similarities {apart:.3f} from the published ones"
    return (
        passed(words) if apart <= golden.NEAR_SIMILARITY else failed(words, fix(subject, "model"))
    )


def batch(subject: EmbedderSubject) -> Finding:
    """Compare texts alone with the same texts in a ragged batch."""
    together = subject.text_vectors(TEXTS)
    alone = np.concatenate([subject.text_vectors([text]) for text in TEXTS])
    near = float(cosines(together, alone).min())
    words = f"smallest cosine of alone and together {near:.6f}"
    return passed(words) if near >= SAME_COSINE else failed(words, fix(subject, "batch"))


def long(subject: EmbedderSubject) -> Finding:
    """See whether a long text is read to its end, and one that is too long is refused."""
    limit = subject.served.context if subject.settings.server is not None else None
    room = min(limit or 2048, 2048, subject.settings.max_length or 2048)
    each = sentence_tokens(subject.ids)
    ends = [long_text((room - 16) // each, last) for last in ("It is open.", "It has burnt down.")]
    tokens = len(subject.ids(ends[0]))
    try:
        first, second = subject.text_vectors(ends)
    except ServerRefusedError:
        if limit is not None:
            raise
        return passed(f"{tokens} tokens are refused, not cut: set max_length to what it takes")
    near = float(cosines(first[None], second[None])[0])
    if near >= 1 - 1e-6:
        return failed(
            f"two texts of {tokens} tokens with different ends get one vector",
            fix(subject, "long text"),
        )
    words = f"{tokens} tokens read to the end"
    if limit is None or limit > 40_960:  # noqa: PLR2004 - the longest context of the models
        return passed(words)
    try:
        subject.text_vectors([long_text(limit // each + 2, "")])
    except ServerRefusedError:
        return passed(f"{words}, more than {limit} refused")
    # This library cuts before, to what the server says that it takes.
    found = failed(f"more than {limit} tokens are cut in silence", fix(subject, "long text"))
    return replace(found, others_only=True)


def matryoshka(subject: EmbedderSubject) -> Finding:
    """Compare a vector that the server cuts with its full one, cut here."""
    if subject.dialect.dimensions == "ignores":
        return skipped(f"{subject.client.engine.title} ignores a width; this library cuts itself")
    full = subject.text_vectors(TEXTS)
    half = _half(full.shape[1])
    try:
        found = subject.text_vectors(TEXTS, half)
    except ServerRefusedError as error:
        words = " ".join(str(error).split("(", 1)[-1].split())
        return failed(f"{half} numbers are refused: {words:.90}", fix(subject, "Matryoshka"))
    if found.shape[1] != half:
        return failed(f"{half} asked, {found.shape[1]} given", fix(subject, "Matryoshka"))
    near = float(cosines(found, full[:, :half]).min())
    words = f"cosine {near:.6f} to the first {half} of {full.shape[1]}"
    return passed(words) if near >= SAME_COSINE else failed(words, fix(subject, "Matryoshka"))


def unit(subject: EmbedderSubject) -> Finding:
    """Measure the length of full vectors and of cut ones."""
    full = subject.text_vectors(TEXTS)
    off = float(np.abs(np.linalg.norm(full, axis=1) - 1).max())
    if off > UNIT:
        return failed(f"lengths are up to {off:.3f} from 1", fix(subject, "unit norm"))
    if subject.dialect.dimensions != "cuts":
        return passed(f"{off:.1e} from 1; cut here, not by the server, which does not scale them")
    half = _half(full.shape[1])
    cut = subject.text_vectors(TEXTS, half)
    off_cut = float(np.abs(np.linalg.norm(cut, axis=1) - 1).max())
    if off_cut > UNIT:
        return failed(
            f"cut to {half}, lengths are up to {off_cut:.3f} from 1", fix(subject, "unit norm")
        )
    return passed(f"{max(off, off_cut):.1e} from 1, cut or not")


def traps(subject: EmbedderSubject) -> Finding:
    """Embed what came out as NaN elsewhere."""
    kept = [each for each in TRAPS if each == each.strip() or not _strips(subject)]
    for text in kept:
        try:
            fine = bool(np.isfinite(subject.text_vectors([text])).all())
        except ServerRefusedError as error:
            if error.status != 500:  # noqa: PLR2004 - that is how some servers say NaN
                raise
            fine = False
        if not fine:
            return failed(f"{text!r:.40} comes out as NaN or infinity", fix(subject, "trap texts"))
    return passed(f"{len(kept)} texts are finite")


def known_answers(subject: EmbedderSubject) -> Finding:
    """See whether each question's answer comes first."""
    found = subject.client.embed_queries(QUERIES) @ subject.client.embed_documents(ANSWERS).T
    right = int((found.argmax(axis=1) == np.arange(len(QUERIES))).sum())
    words = f"{right} of {len(QUERIES)} questions find their answer"
    return passed(words) if right == len(QUERIES) else failed(words, fix(subject, "known answers"))


def instructed(subject: EmbedderSubject) -> Finding:
    """See whether another instruction gives another vector."""
    default = subject.client.embed_queries(QUERIES[:1])
    other = subject.client.embed_queries(QUERIES[:1], instruction=INSTRUCTION)
    near = float(cosines(default, other)[0])
    words = f"cosine {near:.4f} between two instructions"
    return passed(words) if near < 1 - 1e-5 else failed(words, fix(subject, "instruction"))


def variance(subject: EmbedderSubject) -> Finding:
    """See whether different texts get different vectors."""
    vectors = subject.text_vectors(TEXTS)
    near = float(cosines(vectors[:-1], vectors[1:]).max())
    words = f"largest cosine of different texts {near:.4f}"
    return passed(words) if near < 1 - 1e-5 else failed(words, fix(subject, "vectors vary"))


def speed(subject: EmbedderSubject) -> Finding:
    """Measure a batch of documents, and queries one by one."""
    texts = [f"{text} ({n})" for n in range(13) for text in TEXTS]
    began = time.perf_counter()
    subject.client.embed_documents(texts)
    many = time.perf_counter() - began
    waits = []
    for n in range(5):
        began = time.perf_counter()
        subject.client.embed_queries([f"{QUERIES[0]} {n}"])
        waits.append(time.perf_counter() - began)
    return passed(f"{len(texts) / many:,.0f} short texts/s; a query {1000 * median(waits):.0f} ms")


def _half(full: int) -> int:
    return max(full // 2, min(MIN_DIMENSIONS, full))


def _cuts_here(subject: EmbedderSubject) -> bool:
    """Say whether this library cuts what the server sends, which it cannot where models differ."""
    return serves(subject) and not subject.client.engine.own_model


def _strips(subject: EmbedderSubject) -> bool:
    return subject.settings.server is not None and subject.client.engine.strips


def _told_pooling(subject: EmbedderSubject) -> str | None:
    if subject.settings.server != "tei":
        return None
    from qwen_retrieval.servers.engine import Request  # noqa: PLC0415

    told = subject.ask(Request("/info"))
    try:
        return str(told["model_type"]["embedding"]["pooling"])
    except (KeyError, TypeError):  # not every version tells it, nor what stands for one
        return None


_ASKED = ("reachable", "embedder")
_VALUES = (
    *_ASKED,
    "width",
    "variance",
    "batch equals single",
    "EOS",
    "pooling",
    "instruction not doubled",
)
CHECKS = (
    Check("reachable", reachable, "reachable"),
    Check("model and version", listed, "listed", ("reachable",)),
    Check("embedder", kind, "embedder", ("reachable",)),
    Check("width", width, "model", _ASKED),
    Check("variance", variance, "vectors vary", _ASKED),
    Check("batch equals single", batch, "batch", _ASKED),
    Check("EOS", eos, "EOS", (*_ASKED, "width", "variance"), others_only=gets_ids),
    Check("pooling", pooling, "pooling", (*_ASKED, "width", "variance")),
    Check(
        "instruction not doubled",
        doubled,
        "instruction doubled",
        (*_ASKED, "width"),
        others_only=gets_ids,
    ),
    Check("same model", same_model, "model", _VALUES),
    Check("long text", long, "long text", (*_ASKED, "variance", "EOS")),
    Check("Matryoshka", matryoshka, "Matryoshka", _ASKED, others_only=_cuts_here),
    Check("unit norm", unit, "unit norm", (*_ASKED, "Matryoshka"), others_only=serves),
    Check("trap texts", traps, "trap texts", _ASKED),
    Check("known answers", known_answers, "known answers", (*_VALUES, "same model")),
    Check("instruction honoured", instructed, "instruction", (*_ASKED, "variance")),
    Check("speed", speed, "reachable", _ASKED, is_slow=True),
)
"""In the order of the table."""
